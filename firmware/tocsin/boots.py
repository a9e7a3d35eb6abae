# sans-I/O
# hwsim: no-float
"""Keep the record of starts: is the bracelet in a loop of resets, what ended it last, and which part did (risks.py).
Beside it, for the next start: is the modem known to be off?

Pure except for the two places that it is given. The clock's memory outlives a reset and is lost with the supply;
nothing guards it, so it has a checksum. Non-volatile storage (NVS) outlives both and wears, so it is written only when
the supply was lost, when that start has lived, and when there is another error to remember. The marks of parts go there
only when the supply was lost in a start that had not lived, or when a mark is there already.
"""

from binascii import crc32

from tocsin.risks import SIZE as _RISKS
from tocsin.risks import Risks

LIMIT = 4  # after so many starts in a row that did not live, the next one is in safe mode
LIVED_MS = 120000  # a loop of resets goes round faster; nobody starts a bracelet so often on purpose
SAFE_MS = 3600000  # safe mode lasts so long, then everything is tried once more

POWER_ON, DEEP_SLEEP = 1, 4  # machine.PWRON_RESET, machine.DEEPSLEEP_RESET
CAUSES = ("unknown", "power_on", "hard", "watchdog", "deep_sleep", "soft")

_MAGIC = b"TCB2"  # 1: without the risks
_CHECKED = 10 + _RISKS
SIZE = _CHECKED + 4  # magic, starts, resets, crash, risks, checksum
_MOST = 255
_STARTS_MOST = 127  # it shares its octet with
_MODEM_OFF = 128  # which is not set in a record of firmware that did not know it: the modem may be on


class Boots:
    """The record of starts. `rtc` is machine.RTC(), `cause` machine.reset_cause(); `starts`, `crash` and `risks` each
    keep one number: floor.Floor."""

    def __init__(self, rtc, cause, starts, crash, risks=None):
        self._rtc = rtc
        self._kept_starts = starts
        self._kept_crash = crash
        self._kept_risks = risks
        self.cause = cause if 0 <= cause < len(CAUSES) else 0
        found = self._read()
        if found:
            self._starts, self.modem_off, self.resets, self.crash, kept = found
        else:
            self.modem_off = self.cause == POWER_ON  # its supply came with the chip's
            kept = None
            self._starts = self.resets = min(max(starts.read(), 0), _STARTS_MOST)
            self.crash = crash.read() & 0xFFFFFFFF
            if self._starts > LIMIT:  # in safe mode somebody took the supply away: try everything once more
                self._starts = 0
        number = risks.read() if risks else 0
        woken = self.cause == DEEP_SLEEP
        self.risks = Risks(kept, number, not woken, woken)
        # From here on NVS keeps the marks, too: the clock's memory was lost, and the start before had not lived.
        self._careful = not woken and (number != 0 or (kept is None and self._starts > 0))
        if woken:  # a start that ended in sleep had lived, and had switched the modem off
            self._forget_starts()
            self.modem_off = True
        else:
            self.resets = min(self.resets + 1, _MOST)
        self.safe = self._starts >= LIMIT
        self.lacks = False  # is a part left out?
        self._starts = min(self._starts + 1, _STARTS_MOST)
        self._write()
        if not found:
            starts.write(self._starts)
        self._keep_risks(self._careful)

    def lived(self):
        """Note that this start has gone well, or ends on purpose."""
        self._forget_starts()
        self.risks.ended()
        self._write()
        self._keep_risks(True)

    def modem_may_be_on(self):
        """Note that the modem has answered, or that its key is about to be pressed."""
        if self.modem_off:
            self.modem_off = False
            self._write()

    def marked(self):
        """Store the risks, which have changed."""
        self._write()
        self._keep_risks(self._careful)

    def _keep_risks(self, keep):
        if keep and self._kept_risks:
            number, kept = self.risks.number(), self._kept_risks.read()
            if number != kept and (kept or self._careful):
                self._kept_risks.write(number)

    def crashed(self, number):
        """Note an error that ended the firmware, or a task of it, by its crash.number()."""
        if number != self.crash:
            self.crash = number
            self._write()
            self._kept_crash.write(number - (number >> 31 << 32))  # as a signed number of 32 bits

    def report(self):
        """Return (cause, resets, crash, mode) as a heartbeat says it."""
        return self.cause, self.resets, self.crash, int(self.safe or self.lacks)

    def told(self, report):
        """Note that the broker has a heartbeat that said this."""
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
        checked = octets[:_CHECKED]
        if len(octets) < SIZE or octets[:4] != _MAGIC or crc32(checked) != int.from_bytes(octets[_CHECKED:], "big"):
            return None
        starts, crash = octets[4], int.from_bytes(octets[6:10], "big")
        return starts & _STARTS_MOST, starts >= _MODEM_OFF, octets[5], crash, octets[10:_CHECKED]

    def _write(self):
        starts = self._starts | (_MODEM_OFF if self.modem_off else 0)
        octets = _MAGIC + bytes((starts, self.resets)) + self.crash.to_bytes(4, "big") + self.risks.octets()
        self._rtc.memory(octets + crc32(octets).to_bytes(4, "big") + others(self._rtc))


def others(rtc):
    """Return what others keep in the clock's memory, behind the record of starts."""
    octets = bytes(rtc.memory())
    return octets[SIZE:] if octets[:4] == _MAGIC else octets


def keep_others(rtc, octets):
    """Replace what others keep there."""
    mine = bytes(rtc.memory())
    rtc.memory((mine[:SIZE] if mine[:4] == _MAGIC else b"") + octets)
