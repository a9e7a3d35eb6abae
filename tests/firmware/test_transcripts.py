"""What the pure machines do in CPython, where they are tested, they do in the bracelet's interpreter."""

import contextlib
import io
import os
import subprocess
from pathlib import Path

from hwsim.toolchain import micropython
from tests.firmware import transcripts

HERE = Path(__file__).resolve().parent
FIRMWARE = HERE.parents[1] / "firmware"


def test_same_transcript_in_both_interpreters():
    here = io.StringIO()
    with contextlib.redirect_stdout(here):
        transcripts.main()
    there = subprocess.run(
        [*micropython(), "-X", "heapsize=4m", "-c", "import transcripts; transcripts.main()"],
        env={**os.environ, "MICROPYPATH": f"{FIRMWARE}:{HERE}:.frozen"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert there.stderr == ""
    ours, theirs = here.getvalue().splitlines(), there.stdout.splitlines()
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert a == b, f"line {number}"
    assert len(ours) == len(theirs)
    assert len(ours) > 4000
