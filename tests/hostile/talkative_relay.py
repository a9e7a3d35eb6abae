"""A relay that logs all it can: `talkative_relay.py run --data FOLDER --log-json`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.cli import main

if __name__ == "__main__":
    sys.argv[0] = "relay"
    main([*sys.argv[1:], "--verbose"])
