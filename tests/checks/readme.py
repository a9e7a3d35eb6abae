"""The commands of the README, so that what is checked is what people are told to type.

python -m tests.checks.readme 1|2
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def commands(text: str) -> tuple[str, str]:
    """The two `sh` blocks of the README: see it work, run the tests."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(blocks) != 2:
        raise ValueError(f"the README has {len(blocks)} blocks of commands, not two")
    first, second = (block.strip() for block in blocks)
    return first, second


if __name__ == "__main__":
    print(commands((Path(__file__).parents[2] / "README.md").read_text())[int(sys.argv[1]) - 1])
