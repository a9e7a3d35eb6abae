"""SLIP framing (RFC 1055), as the ESP32's loader uses it: every frame begins and ends with END."""

from __future__ import annotations

END, ESCAPE, ESCAPED_END, ESCAPED_ESCAPE = 0xC0, 0xDB, 0xDC, 0xDD
LONGEST = 1 << 16  # esptool's longest frames have 0x4000 octets of data; a longer one is noise


def encode(payload: bytes) -> bytes:
    escaped = payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + escaped + b"\xc0"


class Decoder:
    """A decoder: octets in, payloads out. It drops a frame with a wrong escape or beyond LONGEST as a whole."""

    def __init__(self) -> None:
        self._frame = bytearray()
        self._escaped = False
        self._bad = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take octets and return the payloads that are complete now."""
        frames = []
        for octet in data:
            if octet == END:
                if self._frame and not self._bad and not self._escaped:
                    frames.append(bytes(self._frame))
                self._frame.clear()
                self._escaped = self._bad = False
            elif self._bad:
                continue
            elif self._escaped:
                self._escaped = False
                if octet == ESCAPED_END:
                    self._frame.append(END)
                elif octet == ESCAPED_ESCAPE:
                    self._frame.append(ESCAPE)
                else:
                    self._bad = True
            elif octet == ESCAPE:
                self._escaped = True
            else:
                self._frame.append(octet)
                self._bad = len(self._frame) > LONGEST
        return frames
