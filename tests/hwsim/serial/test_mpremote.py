"""Stock mpremote works on a simulated bracelet as on a real one."""

from __future__ import annotations

import hashlib
import json

from .conftest import PATIENCE, offer


def test_exec_eval_run(mpremote, usb, tmp_path):
    assert mpremote("eval", "6 * 7") == "42\n"
    assert mpremote("exec", "import machine; print(machine.unique_id().hex())") == usb.unique_id + "\n"
    script = tmp_path / "script.py"
    script.write_text("import time\nfor n in range(3):\n    time.sleep_ms(10)\n    print('line', n)\nnot_there\n")
    said = mpremote("run", str(script), status=1)
    assert said.startswith("line 0\nline 1\nline 2\nTraceback (most recent call last):\n")
    assert said.rstrip().endswith("NameError: name 'not_there' isn't defined")
    assert '"<stdin>", line 5' in said
    assert "_repl" not in said


def test_files(mpremote, tmp_path):
    content = bytes(range(256)) * 9 + b"\xff" * 20000  # of which mpremote sends four characters an octet
    source, back = tmp_path / "source.bin", tmp_path / "back.bin"
    source.write_bytes(content)
    mpremote("fs", "mkdir", ":box")
    mpremote("fs", "cp", str(source), ":box/a.bin")
    assert hashlib.sha256(content).hexdigest() in mpremote("fs", "sha256sum", ":box/a.bin")
    mpremote("fs", "cp", ":box/a.bin", str(back))
    assert back.read_bytes() == content
    text = "first\nsecond, ümlaut\n"
    source.write_text(text)
    mpremote("fs", "cp", str(source), ":box/b.txt")
    assert mpremote("fs", "cat", ":box/b.txt") == text
    assert mpremote("fs", "ls", ":box").split() == ["ls", ":box", "22304", "a.bin", "22", "b.txt"]
    tree = mpremote("fs", "tree")
    assert "├── box\n│   ├── a.bin\n│   └── b.txt\n" in tree
    assert "slots.mpy" in tree  # compiled, as flashed; all else is in the bundle
    assert "firmware.bin" in tree
    assert ".sim" not in tree
    mpremote("fs", "rm", ":box/a.bin")
    mpremote("fs", "rm", ":box/b.txt")
    mpremote("fs", "rmdir", ":box")
    assert "box" not in mpremote("fs", "ls")


def test_a_soft_reset_forgets_the_heap_and_runs_no_main(mpremote, usb):
    assert mpremote("exec", "kept = 5", "+", "exec", "print(kept)") == "5\n"
    starts = usb.boots
    mpremote("soft-reset")
    assert usb.boots > starts
    said = mpremote("resume", "exec", "import machine; print(machine.reset_cause(), 'kept' in globals())")
    assert said == "5 False\n"  # machine.SOFT_RESET
    booted = [event for event in usb.world.trace if event.who == "firmware" and event.what == "boot"]
    assert len(booted) == 1  # main.py only ran when the power came


def test_a_reset_starts_the_firmware_again(mpremote, usb):
    mpremote("reset")
    usb.world.expect("firmware", "blank", within=PATIENCE)
    assert mpremote("eval", "1") == "1\n"


def test_a_bracelet_is_provisioned_over_the_cable(mpremote, usb, tmp_path):
    """What a workshop does: the offer goes on the bracelet, its answer comes back."""
    (tmp_path / "offer.json").write_text(json.dumps(offer(usb.world)))
    mpremote("fs", "cp", str(tmp_path / "offer.json"), ":offer.json", "+", "reset")
    usb.world.expect("firmware", "provisioned", within=PATIENCE)
    usb.world.expect("firmware", "armed", within=PATIENCE)
    answer = json.loads(mpremote("fs", "cat", ":answer.json"))
    assert answer["kid"] == "c0ffee01"
    assert "offer.json" not in mpremote("fs", "ls")
    assert "secret" not in usb.world.format_trace()
