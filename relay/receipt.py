# sans-I/O
"""Makes receipts, which let a bracelet stop trying.

The relay seals a receipt once, in the transaction that puts the alarm on disk, and stores it beside the alarm. A
message that arrives again gets the stored octets: sealing anew would use up the down chain, and a bracelet that already
has the receipt would see a gap.
"""

from relay.verify.ratchet import ChainState
from relay.verify.seal import seal_receipt


def make(kid: bytes, down: ChainState, alarm_counter: int) -> tuple[bytes, ChainState]:
    """Seal the receipt for an alarm message; return it, and the down chain after it."""
    octets, key = seal_receipt(kid, down.next, down.key, alarm_counter)
    return octets, ChainState(down.next + 1, key)


def topic(kid: str) -> str:
    """Return the topic on which a bracelet listens for its receipts. `kid` is 8 hexadecimal digits."""
    return f"b/{kid[0]}/{kid}/ack"
