"""The script that the interpreter starts, with the number of its end of the link. Of all shims only this one stays
source, and is no module: each import within an import takes 5 KB of the interpreter's stack on a desktop (4 KB of them
for its path buffer, PATH_MAX), and the firmware's own imports nest deep enough for the 32-bit interpreter's 40 KB.
"""

import sys

import _hw

_hw.connect(int(sys.argv[1]))

import _run  # noqa: E402 - the link comes first: a flash that can't be mounted may lose its supply

_run.run()
