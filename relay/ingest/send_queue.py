# sans-I/O
"""Queue the messages that the modem has still to send: which is next, and when a failed one is tried again. Pure: the
driver in `relay.ingest.sms` gives the commands to the modem. The queue outlives the port, not the process.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

from relay.ingest import pdu
from relay.ingest.at import Command, Finished
from relay.ingest.reports import Outgoing, Report, Sent, Unsent

SEND_RETRY = (2.0, 5.0, 15.0, 60.0, 300.0)
_SHARES = 4
_TIMEOUT = 60.0  # 27.005 lets the network take its time


class SendQueue:
    """The messages for one modem, at most `most` of them; one is on its way at a time. The recipients take turns, and
    one recipient may have a quarter of the places: a message takes seconds, and a recipient who floods us must not
    delay the others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[Outgoing] = deque()
        self._sending: Outgoing | None = None
        self._turns: Counter[str] = Counter()  # messages sent to those who still wait for some
        self.closed()

    def closed(self) -> None:
        """Note that the port is gone. The message that was on its way is the first to be sent when the port is back."""
        self._hold_until = 0.0
        self._timeouts = 0
        if self._sending is not None:
            self._waiting.appendleft(self._sending)
            self._turns[self._sending.recipient] = min(self._turns.values(), default=0) - 1
            self._sending = None

    def __len__(self) -> int:
        return len(self._waiting) + (self._sending is not None)

    def has(self, message: Outgoing) -> bool:
        """Tell whether the same message is going to the same recipient already."""
        waiting = [*self._waiting, self._sending] if self._sending else self._waiting
        return any(m.recipient == message.recipient and m.octets == message.octets for m in waiting)

    def add(self, message: Outgoing) -> bool:
        """Add a message. Return False if it can't be sent, because nobody can be reached at its address, or there is no
        room for it."""
        try:
            pdu.encode_submit(pdu.Submit(message.recipient, message.octets))
        except pdu.PduError:
            return False
        to_same = sum(m.recipient == message.recipient for m in self._waiting)
        if len(self) >= self._most or to_same >= max(1, self._most // _SHARES):
            return False
        if not to_same:  # a new recipient is not before those who waited all the time
            self._turns[message.recipient] = min((self._turns[m.recipient] for m in self._waiting), default=0)
        self._waiting.append(message)
        return True

    def due(self) -> float | None:
        """Return the earliest time at which `start` has something to do, None when no message waits."""
        return max(self._hold_until, min(m.not_before for m in self._waiting)) if self._waiting else None

    def start(self, now: float) -> Command | None:
        """Return the command that sends the next message, None when none is due. Its outcome goes to `finished`."""
        if now < self._hold_until:
            return None
        due = [i for i, message in enumerate(self._waiting) if message.not_before <= now]
        if not due:
            return None
        at = min(due, key=lambda i: self._turns[self._waiting[i].recipient])  # of equals the first
        message = self._sending = self._waiting[at]
        del self._waiting[at]
        self._turns[message.recipient] += 1
        waiting = {m.recipient for m in self._waiting}
        for recipient in [r for r in self._turns if r not in waiting and r != message.recipient]:
            del self._turns[recipient]
        text, length = pdu.encode_submit(pdu.Submit(message.recipient, message.octets))
        return Command(f"AT+CMGS={length}", timeout=_TIMEOUT, prefix="+CMGS:", data=text)

    def finished(self, done: Finished, now: float) -> list[Report]:
        message, self._sending = self._sending, None
        if message is None:
            return []
        if done.ok:
            self._timeouts = 0
            return [Sent(message)]
        if done.error == "timeout":  # each such try delays reading
            self._hold_until = now + SEND_RETRY[min(self._timeouts, 3)]
            self._timeouts += 1
        tries = message.tries + 1
        if tries > len(SEND_RETRY):
            return [Unsent(message, done.error, final=True)]
        self._waiting.append(replace(message, tries=tries, not_before=now + SEND_RETRY[tries - 1]))
        return [Unsent(message, done.error, final=False)]
