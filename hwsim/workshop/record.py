"""Write what stays of a bracelet's way over the bench: a record for machines, a label for its box.

The record names the key id, never the wearer (the relay links it to a code name) nor the chip's address, which anyone
in reach of its radio can hear.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import segno
from PIL import Image, ImageDraw, ImageFont

_SCALE = 8  # pixels a module: legible from 203 dpi label printers on
_LARGE, _SMALL = 56, 28  # pixels; a key id is what people compare


def write(folder: Path, record: dict[str, Any]) -> tuple[Path, Path, segno.QRCode]:
    """Write record and label, named by the key id."""
    folder.mkdir(parents=True, exist_ok=True)
    file, label = folder / f"{record['kid']}.json", folder / f"{record['kid']}.png"
    file.write_text(json.dumps(record, indent=1) + "\n")
    code = segno.make(text(record), error="m", micro=False)
    _drawn(code, record).save(label)
    return file, label, code


def _drawn(code: segno.QRCode, record: dict[str, Any]) -> Image.Image:
    """Draw the code, and below it the same words for people."""
    octets = io.BytesIO()
    code.save(octets, kind="png", scale=_SCALE, border=4)
    picture = Image.open(octets).convert("L")
    lines = [
        (record["kid"], _LARGE),
        (record["board"], _SMALL),
        (f"firmware {record['firmware']['version']}, {record['date']}", _SMALL),
    ]
    fonts = [(text, ImageFont.load_default(size)) for text, size in lines]
    wide = max(picture.width, *(round(font.getlength(text)) + 8 * _SCALE for text, font in fonts))
    label = Image.new("L", (wide, picture.height + sum(round(1.4 * size) for _, size in lines)), 255)
    label.paste(picture, ((wide - picture.width) // 2, 0))
    draw, top = ImageDraw.Draw(label), picture.height - 2 * _SCALE
    for (text, font), (_, size) in zip(fonts, lines, strict=True):
        draw.text((wide // 2, top), text, fill=0, font=font, anchor="ma")
        top += round(1.3 * size)
    return label


def text(record: dict[str, Any]) -> str:
    """Return the text of the label's QR code."""
    return f"TOCSIN {record['kid']} {record['board']} {record['firmware']['version']} {record['date']}"
