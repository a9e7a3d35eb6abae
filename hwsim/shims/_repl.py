"""MicroPython's prompt on the board's serial port: friendly, raw, and raw with flow control ("raw paste").

It follows shared/runtime/pyexec.c and docs/reference/repl.rst. Typed octets come over the link, answers go to standard
output, which is the port. As on the chip, Ctrl-C raises KeyboardInterrupt in a running program (here at its next access
to a peripheral) and is a character at the prompt; a soft reset forgets the heap and keeps the watchdog. Not here:
history, cursor keys, completion, indentation, sys.stdin.
"""

import builtins
import io
import sys
from binascii import hexlify, unhexlify

import _hw

_WINDOW = 128  # octets that raw paste takes without asking for more
_RAW = b"raw REPL; CTRL-B to exit\r\n"
_MACHINE = '; Generic ESP32 module with ESP32\r\nType "help()" for more information.\r\n'
_COMPOUND = ("@", "if", "while", "for", "try", "with", "def", "class", "async")

scope = {"__name__": "__main__"}  # boot.py, main.py and the prompt share it
_typed = b""
_running = True
_interrupted = False
_LAST = ("console", b"")
_out = sys.stdout.buffer


def start():
    _hw.on("console", _arrived)
    builtins.input = _input


def _arrived(event):
    # Deliver the other events first: an exception would leave them lying until something else comes.
    global _typed, _interrupted
    data = unhexlify(event[1])
    if _running and 3 in data:
        data = data.replace(b"\x03", b"")
        _interrupted = True
    _typed += data
    if _interrupted:
        if not _hw._queue:
            _interrupted = False
            raise KeyboardInterrupt
        if _hw._queue[-1] is not _LAST:
            _hw._queue.append(_LAST)


def _get():
    global _typed
    while not _typed:
        try:
            _hw.wait(_hw.FOREVER)
        except KeyboardInterrupt:
            raise
        except Exception as e:  # from an interrupt handler
            sys.print_exception(e)
    c = _typed[:1]
    _typed = _typed[1:]
    return c


def run_file(name):
    # Return True; False when the file asked for a soft reset, None when it raised.
    try:
        execfile(name, scope)  # noqa: F821 - MicroPython has it
    except SystemExit:
        return False
    except BaseException as e:
        report(e)
        return None
    return True


def report(e):
    text = io.StringIO()
    sys.print_exception(e, text)
    for line in text.getvalue().split("\n")[:-1]:
        if '"_repl.py"' not in line and '"_hw.py"' not in line:  # the simulator's own frames
            _out.write(line.encode() + b"\r\n")


def _execute(source, kind, raw=False):
    global _running
    error = None
    left = False
    _running = True
    try:
        exec(compile(str(source, "utf-8"), "<stdin>", kind), scope)
    except SystemExit:
        left = True
    except BaseException as e:
        error = e
    _running = False
    if raw:
        _out.write(b"\x04")
    if error is not None:
        report(error)
    if raw:
        _out.write(b"\x04")
    return not left


def serve(raw):
    # Serve prompts until a soft reset. Programs at the prompt run with the watchdog as it is.
    global _running
    _running = False
    while True:
        raw = _raw() if raw else _friendly()
        if raw is None:
            soft_reset(False)


def soft_reset(raw):
    _out.write(b"MPY: soft reboot\r\n")
    _hw.leave("softreset", [raw, hexlify(_typed).decode()])  # keeps the octets typed ahead


# -- raw


def _raw():
    # Return False for the friendly prompt; a soft reset comes back to this one.
    _out.write(_RAW + b">")
    line = b""
    while True:
        c = _get()
        if c == b"\x01":
            if line[:1] == b"\x05" and len(line) == 2:
                if not _raw_paste(line[1:]):
                    soft_reset(True)
                _out.write(b">")
            else:
                _out.write(_RAW + b">")
            line = b""
        elif c == b"\x02":
            _out.write(b"\r\n")
            return False
        elif c == b"\x03":
            line = b""
        elif c == b"\x04":
            _out.write(b"OK")
            if not line:
                _out.write(b"\r\n")
                soft_reset(True)
            if not _execute(line, "exec", True):
                soft_reset(True)
            line = b""
            _out.write(b">")
        else:
            line += c


def _raw_paste(kind):
    if kind != b"A":
        _out.write(b"R\x00")
        return True
    _out.write(b"R\x01" + bytes((_WINDOW & 255, _WINDOW >> 8)) + b"\x01")
    text = bytearray()  # a list of octets would spread over the heap and leave no long piece of it free
    left = _WINDOW
    while True:
        c = _get()
        if c == b"\x04" or c == b"\x03":
            _out.write(b"\x04")
            if c == b"\x03":
                _out.write(b"\x04")
                report(KeyboardInterrupt())
                _out.write(b"\x04")
                return True
            return _execute(bytes(text), "exec", True)
        text += c
        left -= 1
        if not left:
            _out.write(b"\x01")
            left = _WINDOW


# -- friendly


def _friendly():
    # Return True for the raw prompt, None for a soft reset.
    version = ".".join(str(n) for n in sys.implementation[1][:3])
    _out.write(("MicroPython v" + version + " on hwsim" + _MACHINE).encode())
    while True:
        kind = "single"
        text = _line(b">>> ")
        if text == b"\x01":
            _out.write(b"\r\n")
            return True
        if text == b"\x02":
            _out.write(b"\r\n")
            return False
        if text == b"\x04":
            _out.write(b"\r\n")
            return None
        if text == b"\x05":
            kind = "exec"
            text = _pasted()
        else:
            while text is not None and _continues(text):
                more = _line(b"... ")
                if more is not None and more[:1] in (b"\x01", b"\x02", b"\x04", b"\x05"):
                    more = b"" if more == b"\x04" else None
                text = None if more is None else text + b"\n" + more
        if text and not _execute(text, kind):
            return None


def _line(prompt):
    # Return the typed line, a control character alone, or None after Ctrl-C.
    _out.write(prompt)
    line = b""
    while True:
        c = _get()
        if c == b"\r":
            _out.write(b"\r\n")
            return line
        if c == b"\x03":
            _out.write(b"\r\n")
            return None
        if c in b"\x01\x02\x04\x05":
            if not line:
                return c
        elif c in b"\x08\x7f":
            if line:
                n = 1
                while n < len(line) and line[-n] & 0xC0 == 0x80:
                    n += 1
                line = line[:-n]
                _out.write(b"\x08 \x08")
        elif c == b"\x1b":
            if _get() in b"[O":
                while not 0x40 <= _get()[0] <= 0x7E:
                    pass
        elif c >= b" " or c == b"\t":
            line += c
            _out.write(c)


def _pasted():
    _out.write(b"\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
    text = b""
    while True:
        c = _get()
        if c == b"\x03" or c == b"\x04":
            _out.write(b"\r\n")
            return text if c == b"\x04" else None
        text += b"\n" if c == b"\r" else c
        _out.write(b"\r\n=== " if c == b"\r" else c)


def _continues(text):
    # As py/repl.c: open brackets or quotes, a backslash at the end, or a block without the empty line that ends it.
    quote = b""
    depth = at = 0
    while at < len(text):
        c = text[at : at + 1]
        if quote:
            if text[at : at + len(quote)] == quote:
                at += len(quote) - 1
                quote = b""
            elif c == b"\\":
                at += 1
            elif c == b"\n" and len(quote) == 1:
                quote = b""
        elif c in b"'\"":
            quote = c * 3 if text[at : at + 3] == c * 3 else c
            at += len(quote) - 1
        elif c in b"([{":
            depth += 1
        elif c in b")]}":
            depth -= 1
        elif c == b"#":
            while at < len(text) and text[at : at + 1] != b"\n":
                at += 1
        at += 1
    if len(quote) == 3 or depth > 0 or text[-1:] == b"\\":
        return True
    word = text.split(b" ")[0].split(b":")[0].decode()
    return (word in _COMPOUND or text[:1] == b"@") and text[-1:] != b"\n"


def _input(prompt=""):
    line = _line(str(prompt).encode())
    if line is None:
        raise KeyboardInterrupt
    if line == b"\x04":
        raise EOFError
    return str(line, "utf-8")
