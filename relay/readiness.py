"""Tells the operator, as the relay starts, where it listens and what it lacks. An operator who believes that alarms can
come by SMS, or that somebody is told of them, must not learn on the wrong night that it isn't so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from relay.config import Config
from relay.log import Logger

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Lack(NamedTuple):
    """A thing that the relay lacks, and what to do about it."""

    what: str
    hint: str


class Standing(NamedTuple):
    """The part of a relay's state that matters here. `others_told`: subscribers beside this machine's own."""

    config: Config
    bracelets: int
    others_told: int
    has_recovery_key: bool


def lacks(standing: Standing) -> Iterator[Lack]:
    """List the things that a relay needs to serve people, and lacks."""
    config = standing.config
    if config.sms.port is None:
        yield Lack(
            "an SMS modem",
            "where bracelets have no data network, no alarm arrives; name the modem's port as sms.port in relay.toml",
        )
    elif config.sms.number is None:
        yield Lack(
            "the number of its SMS modem", "new bracelets are not told where to send SMS; set sms.number in relay.toml"
        )
    if not standing.bracelets:
        yield Lack("a bracelet", "nobody can raise an alarm; add one with `relay bracelet add`")
    elif config.mqtt.public_host in _LOOPBACK:
        yield Lack(
            "an address for bracelets",
            "they look for the broker on this machine itself, so only simulated ones find it; set mqtt.public_host in "
            "relay.toml, before more bracelets are made",
        )
    if not standing.others_told:
        yield Lack(
            "a subscriber",
            "alarms are shown on this machine only, by `relay watch` and `relay alarms`; add one with `relay "
            "subscriber add NAME`",
        )
    if not standing.has_recovery_key:
        yield Lack(
            "a recovery key", "no backup can be made; make one with `relay backup FILE --new-recovery-key KEYFILE`"
        )


def announce(log: Logger, standing: Standing) -> None:
    """Log where the relay listens, and what it lacks."""
    mqtt, broker, port = standing.config.mqtt, standing.config.broker, standing.config.sms.port
    where = f"{broker.listen}:{mqtt.port}" if broker.embedded else f"{mqtt.host}:{mqtt.port}"
    log.info(
        "relay.listens",
        broker=f"{where} ({'its own' if broker.embedded else 'yours'}, MQTT 3.1.1 over TLS)",
        bracelets_use=f"{mqtt.public_host}:{mqtt.public_port or mqtt.port}",
        modem=port or "none",
        bracelets=standing.bracelets,
        subscribers=standing.others_told,
    )
    for what, hint in lacks(standing):
        log.warning("relay.lacks", what=what, hint=hint)
