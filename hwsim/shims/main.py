"""What the interpreter starts, with the number of its end of the link. It is the only shim that stays source, and a
script, not a module: each import within an import takes 5 KB of the interpreter's stack on a desktop (of its path
buffer, 4 KB are PATH_MAX), and the firmware's own nest deep enough for the 40 KB that the 32-bit one has.
"""

import sys

import _hw

_hw.connect(int(sys.argv[1]))

import _run  # noqa: E402 - the link comes first: a flash that can't be mounted may lose its supply

_run.run()
