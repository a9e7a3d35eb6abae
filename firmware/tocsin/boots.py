# hwsim: no-float
"""How the bracelet has been starting: is it in a loop of resets, and what ended it last.

Pure but for the two places that it is given. The clock's memory outlives a reset and is lost with the supply; nothing
guards it, so it has a checksum. Non-volatile storage (NVS) outlives both and wears, so it is written only when the
supply was lost, when that start has lived, and when there is another error to remember.
"""

from binascii import crc32

LIMIT = 4  # so many starts in a row that did not live: the next one is in safe mode
LIVED_MS = 120000  # a loop of resets goes round faster; nobody starts a bracelet so often on purpose
SAFE_MS = 3600000  # safe mode lasts so long, then everything is tried once more

DEEP_SLEEP = 4  # machine.DEEPSLEEP_RESET
CAUSES = ("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft")

_MAGIC = b"TCB1"
SIZE = 14  # magic, starts, resets, crash, checksum
_MOST = 255


class Boots:
    """`rtc` is machine.RTC(), `cause` machine.reset_cause(); `starts` and `crash` each keep one number: floor.Floor."""

    def __init__(self, rtc, cause, starts, crash):
        self._rtc = rtc
        self._kept_starts = starts
        self._kept_crash = crash
        self.cause = cause if 0 <= cause < len(CAUSES) else 0
        found = self._read()
        if found:
            self._starts, self.resets, self.crash = found
        else:
            self._starts = self.resets = min(max(starts.read(), 0), _MOST)
            self.crash = crash.read() & 0xFFFFFFFF
            if self._starts > LIMIT:  # in safe mode somebody took the supply away: try everything once more
                self._starts = 0
        if self.cause == DEEP_SLEEP:  # whoever went to sleep had lived
            self._forget_starts()
        else:
            self.resets = min(self.resets + 1, _MOST)
        self.safe = self._starts >= LIMIT
        self._starts = min(self._starts + 1, _MOST)
        self._write()
        if not found:
            starts.write(self._starts)

    def lived(self):
        """This start has gone well."""
        self._forget_starts()
        self._write()

    def crashed(self, number):
        """An error ended the firmware, or a task of it: crash.number() of it."""
        if number != self.crash:
            self.crash = number
            self._write()
            self._kept_crash.write(number - (number >> 31 << 32))  # as a signed number of 32 bits

    def report(self):
        """(cause, resets, crash, mode) as a heartbeat says it."""
        return self.cause, self.resets, self.crash, int(self.safe)

    def told(self, report):
        """The broker has a heartbeat that said this."""
        self.resets = max(self.resets - report[1], 0)
        if report[2] and report[2] == self.crash:
            self.crash = 0
            self._kept_crash.write(0)
        self._write()

    def _forget_starts(self):
        self._starts = 0
        if self._kept_starts.read():
            self._kept_starts.write(0)

    def _read(self):
        octets = bytes(self._rtc.memory()[:SIZE])
        if len(octets) < SIZE or octets[:4] != _MAGIC or crc32(octets[:10]) != int.from_bytes(octets[10:], "big"):
            return None
        return octets[4], octets[5], int.from_bytes(octets[6:10], "big")

    def _write(self):
        octets = _MAGIC + bytes((self._starts, self.resets)) + self.crash.to_bytes(4, "big")
        self._rtc.memory(octets + crc32(octets).to_bytes(4, "big") + others(self._rtc))


def others(rtc):
    """What others keep in the clock's memory, behind the record of starts."""
    octets = bytes(rtc.memory())
    return octets[SIZE:] if octets[:4] == _MAGIC else octets


def keep_others(rtc, octets):
    """Replace that."""
    mine = bytes(rtc.memory())
    rtc.memory((mine[:SIZE] if mine[:4] == _MAGIC else b"") + octets)
