"""What stays of a bracelet's way over the bench: a record for machines, a label for its box.

The record names the key id, never the wearer (the relay links it to a code name) nor the chip's address, which anyone
in reach of its radio can hear.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import segno

_SCALE = 8  # pixels a module: legible from 203 dpi label printers on


def write(folder: Path, record: dict[str, Any]) -> tuple[Path, Path, segno.QRCode]:
    """Record and label, named by the key id."""
    folder.mkdir(parents=True, exist_ok=True)
    file, label = folder / f"{record['kid']}.json", folder / f"{record['kid']}.png"
    file.write_text(json.dumps(record, indent=1) + "\n")
    code = segno.make(text(record), error="m", micro=False)
    code.save(str(label), scale=_SCALE, border=4)
    return file, label, code


def text(record: dict[str, Any]) -> str:
    """What the label's QR code says."""
    return f"TOCSIN {record['kid']} {record['board']} {record['firmware']['version']} {record['date']}"
