"""Turn an error into one number that a heartbeat can carry: CRC-32 of its type and place, never of its text.

`hwsim crash NUMBER` finds type and place again, by trying all of the firmware's.
"""

import io
import sys
from binascii import crc32

PACKAGE = "tocsin/"


def where(error):
    """Return "<type>:<file>:<line>" of the innermost place in our own code, as in "KeyError:tocsin/app.py:33"; only the
    type of an error that came from elsewhere."""
    buffer = io.StringIO()
    sys.print_exception(error, buffer)
    file = line = ""
    for text in buffer.getvalue().split("\n"):
        if text.startswith('  File "') and PACKAGE in text:  # the innermost comes last
            file, _, rest = text[8:].partition('", line ')
            file = PACKAGE + file.split(PACKAGE)[-1]
            line = rest.partition(",")[0]
    return "%s:%s:%s" % (type(error).__name__, file, line)


def number(error):
    """Return the number of an error; never 0, which stands for no error."""
    try:
        text = where(error)
    except MemoryError:
        text = "%s::" % type(error).__name__
    return crc32(text.encode()) & 0xFFFFFFFF or 1
