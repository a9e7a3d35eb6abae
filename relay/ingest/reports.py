# sans-I/O
"""Define what goes into the modem driver of `relay.ingest.sms` and what comes out of it: plain values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ref:
    """The place of a message in the modem, valid for one session with the modem. `index` is -1 when the message can't
    be named, and then it is not deleted; `memory` is empty when the message is in none."""

    session: int
    index: int
    text: str
    memory: str = ""


@dataclass(frozen=True)
class Incoming:
    """A message that was read from the SIM. Call `release(ref)` once it is on disk, `reject(ref)` if it is of no
    use."""

    ref: Ref
    sender: str
    octets: bytes


@dataclass(frozen=True)
class Outgoing:
    """A message to send. `tag` comes back in the report."""

    recipient: str
    octets: bytes
    tag: object = None
    tries: int = 0
    not_before: float = 0.0


@dataclass(frozen=True)
class Sent:
    """A message that the network took."""

    message: Outgoing


@dataclass(frozen=True)
class Unsent:
    """A message that was not sent. `final`: it was given up; else it is tried again."""

    message: Outgoing
    error: str
    final: bool


@dataclass(frozen=True)
class Ready:
    """The modem is set up, and the SIM's storage has been read."""

    messages: int


@dataclass(frozen=True)
class Trouble:
    """A trouble that an operator should read of in the log. `what` is a short name, `error` the modem's words. A
    trouble with a `hint`, which says what to do, will not get better by itself: it is an error, and not only a
    warning."""

    what: str
    error: str
    hint: str = ""


@dataclass(frozen=True)
class Recovered:
    """A trouble that was reported with a hint, and is over."""

    what: str


@dataclass(frozen=True)
class Silent:
    """The modem answers nothing any more: switch it off and on, open the port again, call `opened`."""


Report = Incoming | Sent | Unsent | Ready | Trouble | Recovered | Silent
