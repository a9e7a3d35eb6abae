# sans-I/O
# hwsim: no-float
"""Conversation with a cellular modem by AT commands (ITU-T V.250, 3GPP TS 27.005/27.007), without the serial port.

Sans-I/O: octets and a time in milliseconds go in, octets and events come out. One command is in flight at a time, and
it ends by its final result or its time-out, never by being forgotten. Unsolicited lines may come at any moment, even
in the middle of a response; their prefix tells them from the response. The driver knows what commands mean
(drivers/modem.py).
"""

from tocsin.nmea import days

LINE_MAX = 400  # the longest line we use is a PDU: 2 * (11 + 12 + 11 + 140) hexadecimal digits
LINES_MAX = 24
PROMPT_MS = 10000  # the prompt is the modem's own doing: only what follows it waits for the network
BARE_MS = 100  # after a ">" alone: the rest of the prompt would have come (3GPP TS 27.005, 3.5.1: it ends with a space)
AGAIN_MS = 1500  # between two questions whether it is still there
URC = (
    "+CMTI:", "+CMT:", "+CDS:", "+CDSI:", "+CBM:", "+CREG:", "+CGREG:", "+CEREG:", "+CTZV:", "+CTZE:", "+CTZDST:",
    "+CRING:", "+CLIP:", "RING", "NO CARRIER", "RDY", "Call Ready", "SMS Ready", "SMS DONE", "PB DONE", "+CFUN:",
    "+CPIN:", "NORMAL POWER DOWN", "UNDER-VOLTAGE", "OVER-VOLTAGE", "*PSUTTZ:", "DST:", "^", "+QIND:", "APP RDY",
    "POWERED DOWN", "*ATREADY", "START", "+SYSSTART", "+SHUTDOWN", "SMS FULL",
)  # words, several a line # fmt: skip
STARTED = ("RDY", "APP RDY", "*ATREADY", "START", "+SYSSTART")  # of the above: the words of a modem that starts
READIER = ("SMS ", "PB DONE", "Call Ready", "+CPIN:", "+CFUN:", "+QIND:")  # its words later, and at other times
ENDED = ("NORMAL POWER DOWN", "POWERED DOWN", "+SHUTDOWN")
DIALLED = ("CONNECT", "NO CARRIER", "NO DIALTONE", "NO ANSWER", "BUSY")  # ends of ATD (V.250, 5.7.1)
TWO_LINES = ("+CMT:", "+CDS:", "+CBM:")  # an unsolicited line followed by its PDU
CTRL_Z = b"\x1a"
ESC = b"\x1b"
NONE, HOME, UNKNOWN, ROAMING = 0, 1, 4, 5  # registration
REGISTERED = (HOME, ROAMING)
_STATES = (0, 1, 2, 3, 4, 5, 1, 5, 3, 1, 5)
UNKNOWN_DBM = 255


class Command:
    """A command and its answer. `expect` is the prefix of its information lines (else they would be unsolicited ones);
    `data` is sent at the prompt. After `doubt` ms of silence from then on the modem is asked whether it is still there:
    one that has started anew would never answer; an OK without any information line gives it away."""

    def __init__(self, text, expect=None, timeout=5000, data=None, doubt=None):
        self.text = text
        self.expect = expect
        self.timeout = timeout
        self.data = data
        self.doubt = doubt
        self.lines = []
        self.result = None  # "OK", "ERROR", "+CMS ERROR: 38", "timeout" ...

    @property
    def ok(self):
        return self.result == "OK"


class Engine:
    def __init__(self):
        self._line = bytearray()
        self._overlong = False
        self._out = bytearray()
        self._pdu_of = None  # an unsolicited line that waits for its second
        self._take_pdu = False  # the next line belongs to the last information line (it is a PDU)
        self.command = None
        self._deadline = 0
        self._prompt_at = None  # then a ">" alone is a prompt
        self._ask_at = None  # then the modem is asked whether it is still there
        self.asked = 0  # so often it was asked, in this command
        self.echoed = False  # the modem has echoed a command
        self.dropped = 0  # overlong, undecodable or unasked lines

    def start(self, command, now):
        """Send a command, which is allowed only when none is in flight."""
        if self.command is not None:
            raise RuntimeError("busy")
        self.command = command
        self._deadline = now + (command.timeout if command.data is None else min(PROMPT_MS, command.timeout))
        self._take_pdu = self.echoed = False
        self.asked = 0
        self._out.extend(command.text.encode() + b"\r")

    def output(self):
        """Return the octets to write to the modem."""
        out = bytes(self._out)
        self._out = bytearray()
        return out

    def feed(self, data, now):
        """Take octets from the modem. Returns events: ("urc", line), ("urc", line, pdu), ("done", command)."""
        events = []
        at = 0
        while at < len(data):
            # A receiver in the modem says hundreds of octets a second for ever: the interpreter's search finds lines.
            end = data.find(b"\n", at)
            if end < 0:
                end = len(data)
            again = data.find(b"\r", at, end)
            if again >= 0:
                end = again
            if not self._overlong:
                self._line.extend(data[at:end])
                while self._line[:2] in (b"> ", b">$"):  # the prompt has no line end; the receiver may cut in
                    rest = self._line[2 if self._line[1] == 32 else 1 :]
                    self._on_prompt(now)
                    self._line = rest
                if len(self._line) > LINE_MAX:
                    self.dropped += 1
                    self._overlong = True
                    self._line = bytearray()
            if end < len(data):
                if self._line == b">":
                    self._on_prompt(now)
                else:
                    self._end_line(events)
            at = end + 1
        if self._line != b">":
            self._prompt_at = None
        elif self._prompt_at is None:  # without echo nothing comes between a command and its prompt
            expected = self.command is not None and self.command.data is not None and not self.echoed
            self._prompt_at = now if expected else now + BARE_MS
        events.extend(self.time(now))
        return events

    def time(self, now):
        if self._prompt_at is not None and now >= self._prompt_at:
            self._on_prompt(now)
        if self._ask_at is not None and now >= self._ask_at:
            self.asked += 1
            self._ask_at = now + AGAIN_MS
            self._out.extend(b"AT\r")
        if self.command is not None and now >= self._deadline:
            if self.command.data is not None:
                self._out.extend(ESC)  # leave a prompt that came late
            return [self._done("timeout")]
        return []

    def restarted(self):
        """Forget the command in flight: the modem has started anew. Returns events."""
        return [] if self.command is None else [self._done("restarted")]

    def deadline(self):
        return None if self.command is None else self._deadline

    def next_at(self):
        """Return the latest time at which time() must be called, in ms, or None."""
        times = [at for at in (self.deadline(), self._prompt_at, self._ask_at) if at is not None]
        return min(times) if times else None

    def suspect(self, now):
        """Ask the modem at once whether it has started anew, if a command waits for an answer that may never come."""
        if self._ask_at is not None:
            self._ask_at = now

    # -- inside ---------------------------------------------------------------------------------------------------

    def _on_prompt(self, now):
        command = self.command
        self._line = bytearray()
        self._prompt_at = None
        if command is not None and command.data is not None:
            self._deadline = now + command.timeout
            self._ask_at = None if command.doubt is None else now + command.doubt
            self._out.extend(command.data + CTRL_Z)
            command.data = None
        else:
            self._out.extend(ESC)  # nobody asked for a prompt: get out of it

    def _end_line(self, events):
        raw = bytes(self._line)
        self._line = bytearray()
        if self._overlong:
            self._overlong = False
            return
        if not raw:
            return
        if raw[0] != 36:  # "$": a sentence has a checksum of its own
            for octet in raw:
                if octet < 32 or octet > 126:
                    self.dropped += 1
                    return
        try:
            line = raw.decode().strip()
        except UnicodeError:
            self.dropped += 1
            return
        if line:
            self._on_line(line, events)

    def _on_line(self, line, events):
        command = self.command
        if line[0] == "$":  # from the GNSS receiver in it, also between a line and its PDU
            events.append(("urc", line))
            return
        if self._pdu_of is not None and is_pdu(line):
            events.append(("urc", self._pdu_of, line))
            self._pdu_of = None
            return
        if command is not None:
            if line == command.text or (self.asked and line == "AT"):  # echo, until ATE0 worked
                self.echoed = True
                return
            dialled = command.text.startswith("ATD") and line.startswith(DIALLED)
            if dialled or line in ("OK", "ERROR", "ABORTED") or line.startswith(("+CME ERROR", "+CMS ERROR")):
                events.append(self._done(line))
                return
            if command.expect and line.startswith(command.expect):
                self._take(line)
                self._take_pdu = command.expect in ("+CMGR:", "+CMGL:")
                self._pdu_of = None
                return
        if line.startswith(URC):
            if line.startswith(TWO_LINES):
                self._pdu_of = line
            else:
                events.append(("urc", line))
        elif command is not None and (command.expect == "" or (self._take_pdu and is_pdu(line))):
            self._take(line)
            self._take_pdu = False
        else:
            self.dropped += 1

    def _take(self, line):
        if len(self.command.lines) < LINES_MAX:
            self.command.lines.append(line)
        else:
            self.dropped += 1

    def _done(self, result):
        command = self.command
        self.command = self._ask_at = None
        self._take_pdu = False
        command.result = result
        return ("done", command)


def is_pdu(line):
    """Tell whether a line is octets in hexadecimal. Modems say other things, too, between +CMGL: and its PDU."""
    return len(line) & 1 == 0 and not line.strip("0123456789abcdefABCDEF")


def fields(line):
    """Return the comma-separated values behind the prefix, without quotes: '+CMTI: "SM",3' -> ["SM", "3"]."""
    values = []
    current = ""
    quoted = False
    for char in line.partition(":")[2]:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            values.append(current.strip())
            current = ""
        else:
            current += char
    values.append(current.strip())
    return values


def registration(line, asked=None):
    """Return (state, lac or None, cell id or None) of a +CREG, +CGREG or +CEREG line.

    See 3GPP TS 27.007, 7.2, 10.1.20, 10.1.22. `asked`: was it the answer to a question, <n>,<stat>[,...], or did it
    come by itself, <stat>[,...]; None: not known. Up to three values tell that by their number, more by whether the
    second can be a state, then by `asked`. The state is one of 0..5 as on the wire: 6 and 9 are kinds of "home", 7 and
    10 of "roaming", and 8, emergency calls only, is as good as "denied". A placeholder, or something that may not be a
    cell, counts as none."""
    raw = [value.strip() for value in line.partition(":")[2].split(",")]
    count = len(raw)
    # Three may also be <n>,<stat> and something else: blank, or an access technology.
    answer = count in (2, 3) and _is_state(raw[1])
    if count == 3:
        bare = asked and raw[2][:1] == '"' != raw[1][:1]  # the area alone: the cell has no number
        answer = answer and (bare or len(raw[2].strip('" ')) < (3 if asked else 1))
    sure = True
    if count > 3 and _is_state(raw[1]):
        told = len(raw[3]) > 2 or (count > 4 and len(raw[4]) > 3)  # no access technology where a cell would be
        answer = asked is not False or told or not raw[2]
        sure = asked is True or told
    values = [value.strip('" ') for value in (raw[1:] if answer else raw)]
    state = _STATES[int(values[0])] if _is_state(values[0]) and int(values[0]) < len(_STATES) else UNKNOWN
    if len(values) > 3 and len(values[2]) < 3 and len(values[3]) > 3:  # <rac> between the two, as some say it
        values.pop(2)
    if not sure or len(values) < 3:
        return state, None, None
    lac, cid = _hex(values[1]), _hex(values[2])
    # LAC 0000 and FFFE are of no cell (3GPP TS 23.003, 4.1), and where a cell has no number it is all ones.
    if not 0 < lac < 0xFFFE or not 0 < cid < 0xFFFFFFF:
        return state, None, None
    return state, lac, cid


def _is_state(text):
    return text.isdigit() and len(text) < 4 and int(text) < 100


def _hex(text):
    """Return the value of hexadecimal digits, 0 for none."""
    for char in text:
        if char not in "0123456789abcdefABCDEF":
            return 0
    return int(text, 16) if 0 < len(text) < 10 else 0


def sim(command):
    """Return "ready", "missing", "locked" or "failed" by a finished AT+CPIN? (3GPP TS 27.007, 8.3 and 9.2.1)."""
    if command.ok and command.lines:
        return "ready" if fields(command.lines[0])[0] == "READY" else "locked"
    code = command.result.rpartition(" ")[2]
    return "missing" if code == "10" else "locked" if code in ("11", "12", "17", "18") else "failed"


def signal(line):
    """Return -dBm of a +CSQ line (3GPP TS 27.007, 8.5: 0 is -113 dBm or less, 31 -51 dBm or more), or UNKNOWN_DBM."""
    rssi = fields(line)[0]
    return 113 - 2 * int(rssi) if rssi.isdigit() and int(rssi) <= 31 else UNKNOWN_DBM


def network_time(line):
    """Return seconds since 1970 of '+CCLK: "yy/MM/dd,hh:mm:ss+zz"', a local time with its zone in quarters of an hour.
    ValueError without a zone, and before 2025 or after 2060: a clock that nobody has set begins there."""
    text = line.partition(":")[2].strip().strip('"')
    if not 19 <= len(text) <= 20 or text[17] not in "+-" or text[2] != "/" or text[8] != ",":
        raise ValueError
    year, month, day = int(text[0:2]), int(text[3:5]), int(text[6:8])
    hour, minute, second, zone = int(text[9:11]), int(text[12:14]), int(text[15:17]), int(text[18:20])
    if not (25 <= year <= 60 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and zone <= 56):
        raise ValueError
    seconds = days(2000 + year, month, day) * 86400 + hour * 3600 + minute * 60 + second
    return seconds - zone * 900 if text[17] == "+" else seconds + zone * 900


def memories(line):
    """Return the first list of '+CPMS: ("SM","ME"),("SM","ME"),("SM")': the memories that can be read and emptied."""
    names = [name.strip(' "') for name in line.partition("(")[2].partition(")")[0].split(",")]
    names = [name for name in names if name in ("SM", "ME", "MT", "SR")]
    if "SM" in names and "ME" in names:
        names = [name for name in names if name != "MT"]  # MT is both
    return names
