"""The flash partition that is the journal's own: `journal` in the chip's partition table (see firmware/flash.md)."""

from esp32 import Partition


def journal():
    """Return the journal's block device. OSError (ENODEV) on a chip that was flashed without it."""
    found = Partition.find(Partition.TYPE_DATA, label="journal")
    if not found:
        raise OSError(19)
    return found[0]
