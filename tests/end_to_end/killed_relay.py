"""A relay that kills itself at the boundary named in a file, and without that file is the ordinary one:
`killed_relay.py FILE run --data FOLDER --log-json`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from relay.cli import main
from tests.relay.service import crashing

if __name__ == "__main__":
    boundary = Path(sys.argv[1])
    if boundary.exists():
        crashing.serve(boundary.read_text(), sys.argv[sys.argv.index("--data") + 1])
    else:
        sys.argv[:2] = ["relay"]
        main()
