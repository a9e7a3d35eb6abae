# sans-I/O
"""The relay's half of the wire format: parse, decrypt, verify, and nothing else.

This package is written from firmware/wire.md and firmware/wire.cddl, deliberately not from the firmware's code: the
vectors in tests/vectors bind the two. Every function is a pure function of its arguments. It reads no clock, no file
and no database, and it changes no state: a successful call returns the *new* state of a chain, and the pipeline
decides whether to keep that state.
"""

from relay.verify.envelope import (
    Envelope,
    OpenedAlarm,
    OpenedHeartbeat,
    open_alarm,
    open_down,
    open_heartbeat,
    open_receipt,
    parse,
)
from relay.verify.keys import RelayKeys, Roots, agree, roots
from relay.verify.payload import Alarm, Cell, Fix, Heartbeat
from relay.verify.ratchet import ChainState
from relay.verify.reasons import SENTENCES, Reason, Refused

__all__ = [
    "SENTENCES",
    "Alarm",
    "Cell",
    "ChainState",
    "Envelope",
    "Fix",
    "Heartbeat",
    "OpenedAlarm",
    "OpenedHeartbeat",
    "Reason",
    "Refused",
    "RelayKeys",
    "Roots",
    "agree",
    "open_alarm",
    "open_down",
    "open_heartbeat",
    "open_receipt",
    "parse",
    "roots",
]
