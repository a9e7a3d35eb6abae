# sans-I/O
"""Decide what becomes of a message between its arrival and the batch that verifies it: which account it belongs to, and
whether the relay keeps it. Pure.

One MQTT session is one stream: a message that the relay does not read holds up everything behind it, and a broker stops
after some thousand unacknowledged messages. So the messages of an account that is over its allowance can't wait at the
broker. Such an account may have a share waiting in memory, which is verified when its turn comes. A message beyond that
share is *let go*: acknowledged, counted as refused for `flood`, and forgotten. No alarm is lost by that, because a
bracelet keeps its alarm until it has the relay's receipt. The relay always keeps what an account sends within its
allowance. Of an account over it, repetitions are let go first: a bracelet repeats the same octets until their receipt,
and the original waits here already or was worked on a moment ago.

An SMS is never let go unseen: the modem is slower than the relay by far.
"""

from __future__ import annotations

from collections import OrderedDict

from relay.broker import PROBE_KID
from relay.config import Limits
from relay.ingest.flood import Flood, FloodWatch
from relay.ingest.lanes import Lanes
from relay.pipeline import Inbound

MQTT, SMS = "mqtt", "sms"
_SHARE = 8  # an account over its allowance may fill one part in this many of the room in memory
_SHARES = 4  # and all such accounts together one in this many: less than any broker leaves unacknowledged
_JUNK_SHARE = 50  # messages that may wait of an account that sends mostly junk
_REMEMBERED = 20_000  # messages that came lately, to recognise repetitions


class Intake:
    """The lanes, and the accounts that flood them. `room` is how many alarms may wait; heartbeats are read while both
    together are fewer."""

    def __init__(self, room: int, by_mqtt: FloodWatch, by_sms: FloodWatch) -> None:
        self.lanes: Lanes[Inbound] = Lanes(room, account_of)
        self._room = room
        self._by_mqtt = by_mqtt
        self._by_sms = by_sms
        self._kept: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._let_go = 0

    def arrived(self, message: Inbound, now: float) -> bool:
        """Keep a message and return True, or return False: then the caller acknowledges it."""
        if message.topic_kid == PROBE_KID:  # a check of the broker sent it
            return False
        account = account_of(message)
        over = self._watch(message).arrived(account, now)
        if message.path == MQTT:
            key = (account, message.octets)
            repeated = key in self._kept
            if over and (repeated or not self._has_share(account)):
                self._by_mqtt.let_go(account, repeated=repeated)
                self._let_go += 1
                return False
            self._kept[key] = None
            if len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)
        self.lanes.put(message, alarm=message.kind != "hb", flooding=over)
        return True

    def _has_share(self, account: str) -> bool:
        own, of_all = self.lanes.waiting_of_floods(account)
        share = _JUNK_SHARE if self._by_mqtt.sends_junk(account) else max(1, self._room // _SHARE)
        return own < share and of_all < max(1, self._room // _SHARES)

    def judged(self, message: Inbound, *, refused: bool) -> None:
        """Note that a message was verified when its turn came; `refused`: it did not pass."""
        self._watch(message).judged(account_of(message), refused=refused)

    def is_flooding(self, message: Inbound) -> bool:
        """Tell whether the message comes from an account that is over its allowance."""
        return self._watch(message).is_flooding(account_of(message))

    @property
    def is_flooded(self) -> bool:
        """Tell whether there is a flood by MQTT. Then the reader must not pause, because alarms stand behind it."""
        return self._by_mqtt.goes_on

    def _watch(self, message: Inbound) -> FloodWatch:
        return self._by_sms if message.path == SMS else self._by_mqtt

    def floods(self, now: float) -> list[tuple[str, Flood]]:
        """Return (path, flood) for each account to tell of or to cut off. Call it about once a second."""
        return [(MQTT, flood) for flood in self._by_mqtt.due(now)] + [(SMS, flood) for flood in self._by_sms.due(now)]

    def take_let_go(self) -> int:
        """Return the number of messages let go since the last call."""
        count, self._let_go = self._let_go, 0
        return count


def intake_for(limits: Limits) -> Intake:
    """Make the intake with the bounds of the configuration."""
    by_mqtt = FloodWatch(limits.flood_per_s, limits.flood_per_s * limits.flood_s, limits.cut_off_s)
    by_sms = FloodWatch(limits.flood_sms_per_minute / 60, limits.flood_sms_per_minute, limits.cut_off_s)
    return Intake(limits.queue, by_mqtt, by_sms)


def account_of(message: Inbound) -> str:
    """Return the account of a message, from what its sender can't choose: the broker lets an account publish on its own
    bracelet's topics only, and the network gives an SMS its sender."""
    return (message.sender if message.path == SMS else message.topic_kid) or ""


def parse_topic(topic: str) -> tuple[str, str]:
    """Split `b/<shard>/<kid>/<kind>` into (kind, kid). The broker's rules bind a bracelet to its topic; a topic with a
    shard that isn't the bracelet's own is not its topic."""
    parts = topic.split("/")
    if len(parts) != 4 or parts[2][:1] != parts[1]:
        return "alarm", ""
    return parts[3], parts[2]
