"""Write to the console: "@event key=value ...", one a line, for a person at the serial port and for test rigs.

Never private data: no position, number, name, key, password or message octets. Of an exception only its type and its
errno are shown, because its text may quote what it was about.
"""


def event(name, **values):
    line = "@" + name
    for key in sorted(values):
        line += " %s=%s" % (key, values[key])
    print(line)


def reason(error):
    """Return an exception in a word."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.args and isinstance(error.args[0], int):
        return "%s:%d" % (name, error.args[0])
    return name
