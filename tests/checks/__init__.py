"""Checks of the source itself: each is a small tool with its own tests, applied to this repository."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "firmware"


def firmware_modules() -> list[Path]:
    """Everything that goes onto a bracelet."""
    return sorted(FIRMWARE.rglob("*.py"))
