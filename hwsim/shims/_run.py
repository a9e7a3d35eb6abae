"""Boot of a simulated board: the work of the ESP32's `_boot.py` and the port's main, then the firmware's main.py. The
`mode` "files" is the workshop's access to the flash (put, get, list, remove) and runs no firmware.
"""

import sys

import _flash
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
            elif op == "tree":
                done.append(_tree(uos, "/", int(data), []))
            elif op == "fill":
                done.append(_fill(name))
            elif op == "remove":
                uos.remove(name)
                done.append(None)
        except OSError as e:
            done.append({"oserror": e.errno})
    _hw.leave("exit", done)


def _fill(name):
    # Write files of ever smaller size until not even 512 octets fit.
    size = 32768
    number = 0
    while size >= 512:
        try:
            with open(name + str(number), "wb") as f:
                f.write(bytes(size))
            number += 1
        except OSError:
            size //= 2


def _tree(uos, folder, size_max, found):
    from binascii import hexlify

    for entry in uos.ilistdir(folder):
        name = folder + entry[0]
        if entry[1] == 0x4000:
            _tree(uos, name + "/", size_max, found)
        elif entry[3] <= size_max:
            with open(name, "rb") as f:
                found.append([name, hexlify(f.read()).decode()])
    return found


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


def _count_heap(event):
    # For a measurement: report the octets of objects that are in use.
    import gc

    gc.collect()
    _hw.post("heap", gc.mem_alloc())


def firmware():
    import builtins
    import io

    import urandom
    import vfs

    host_print = print

    def console(*args, **kw):
        # Printed lines carry the device's time, so they go over the link. Output that bypasses print (tracebacks of
        # sys.print_exception) goes to the process's standard output.
        if "file" in kw and kw["file"] is not sys.stdout:
            return host_print(*args, **kw)
        kw.pop("file", None)
        text = io.StringIO()
        host_print(*args, file=text, **kw)
        _hw.post("console", text.getvalue(), _flash.chip.reads)

    import uos

    vfs.mount(vfs.VfsPosix(_hw.cfg["shims"]), "/.sim")
    sys.path[:] = ["", "/rom", "/.sim", ".frozen", "/lib"]
    if _hw.cfg["rom"]:  # else the firmware is on the flash
        import _romfs

        vfs.mount(vfs.VfsRom(_romfs.rom_ioctl(2)), "/rom")  # as MicroPython mounts the first image of such a partition
        sys.modules["vfs"] = _romfs
    if not _hw.realtime:
        urandom.seed(_hw.cfg["random"])
    # The chip has these modules built in and reads nothing from the flash for them.
    before = _flash.chip.reads
    import os  # noqa: F401
    import time  # noqa: F401

    _flash.chip.reads = before

    import esp32  # noqa: F401
    import machine  # noqa: F401

    _hw.on("heap", _count_heap)
    import _vtask

    sys.modules["_asyncio"] = _vtask
    if _hw.cfg.get("console"):
        return _prompt(uos)
    builtins.print = console
    failed = 0
    for name in ("boot.py", "main.py"):
        for folder in ("/", "/rom/"):  # a file on the flash goes before the image's
            try:
                uos.stat(folder + name)
            except OSError:
                continue
            if name == "main.py":
                _flash.chip.read_us = _hw.cfg.get("read_us", 0)  # reads before it are within BOOT_US
            try:
                execfile(folder + name, {"__name__": "__main__"})  # noqa: F821 - MicroPython has it
            except SystemExit:
                pass
            except BaseException as e:
                sys.print_exception(e)
                failed = 1
            break
    _hw.leave("exit", failed)


def _prompt(uos):
    # A board with somebody on its serial port: a program that ends, raises or is interrupted leaves to the prompt.
    import _repl

    _repl.start()
    try:
        _flash.mount(True)
    except KeyboardInterrupt as e:
        _repl.report(e)
    raw = _hw.cfg["raw"]
    for name in ("boot.py", "main.py"):
        if name == "main.py" and raw:
            break
        try:
            uos.stat("/" + name)
        except OSError:
            continue
        done = _repl.run_file("/" + name)
        if done is False:
            _repl.soft_reset(raw)
        if done is None:
            break
    _repl.serve(raw)


def run():
    get = _hw.cfg.get
    _flash.open_chip(get("flash"), get("wear"), get("ask"), get("partitions"), get("worn", False))
    if not get("console"):
        _flash.mount()
    if get("mode") == "files":
        files()
    else:
        firmware()
