"""Boot of a simulated board: what the ESP32's `_boot.py` and the port's main do, then the firmware's main.py.
Started by the world with the number of its end of the link; `mode` "files" is the workshop's access to the flash
(put, get, list, remove) and runs no firmware.
"""

import sys

import _hw


def files():
    from binascii import hexlify, unhexlify

    import uos

    done = []
    for op, name, data in _hw.cfg["operations"]:
        try:
            if op == "put":
                _put(uos, name, unhexlify(data))
                done.append(None)
            elif op == "get":
                with open(name, "rb") as f:
                    done.append(hexlify(f.read()).decode())
            elif op == "list":
                done.append([e[0] for e in uos.ilistdir(name)])
            elif op == "remove":
                uos.remove(name)
                done.append(None)
        except OSError as e:
            done.append({"oserror": e.errno})
    _hw.leave("exit", done)


def _put(uos, name, content):
    parts = name.split("/")[1:-1]
    for i in range(len(parts)):
        try:
            uos.mkdir("/" + "/".join(parts[: i + 1]))
        except OSError as e:
            if e.errno != 17:
                raise
    with open(name, "wb") as f:
        f.write(content)


def firmware():
    import builtins
    import io

    import urandom
    import vfs

    host_print = print

    def console(*args, **kw):
        # Printed lines carry the device's time, so they go over the link. What bypasses print (tracebacks of
        # sys.print_exception) comes out of the process's standard output.
        if "file" in kw and kw["file"] is not sys.stdout:
            return host_print(*args, **kw)
        kw.pop("file", None)
        text = io.StringIO()
        host_print(*args, file=text, **kw)
        _hw.post("console", text.getvalue())

    import uos

    vfs.mount(vfs.VfsPosix(_hw.cfg["shims"]), "/.sim")
    vfs.mount(vfs.VfsPosix(_hw.cfg["firmware"]), "/.fw")
    sys.path[:] = ["", "/.fw", "/.sim", ".frozen", "/lib"]
    if not _hw.realtime:
        urandom.seed(_hw.cfg["random"])
    import _vtask

    sys.modules["_asyncio"] = _vtask
    builtins.print = console
    failed = 0
    for name in ("boot.py", "main.py"):
        for folder in ("/", "/.fw/"):  # a file on the flash goes before the one of the firmware folder
            try:
                uos.stat(folder + name)
            except OSError:
                continue
            try:
                execfile(folder + name, {"__name__": "__main__"})  # noqa: F821 - MicroPython has it
            except SystemExit:
                pass
            except BaseException as e:
                sys.print_exception(e)
                failed = 1
            break
    _hw.leave("exit", failed)


_hw.connect(int(sys.argv[1]))
import _flash  # noqa: E402 - the link comes first: a flash that can't be mounted may lose its supply

_nor = _flash.mount(_hw.cfg["flash"], _hw.cfg.get("cut"))
if _hw.cfg.get("mode") == "files":
    files()
else:
    firmware()
