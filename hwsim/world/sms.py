"""The mobile network's message service: takes short messages from modems and delivers them, store and forward.

A test sets delay, loss, duplication and (by a delay per message) reordering. A message whose recipient is out of reach
waits. Not modelled: validity periods, status reports, the cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from hwsim.world.pdu import Sms

if TYPE_CHECKING:
    from hwsim.world.world import World

CENTRE_NUMBER = "+10000000099"


class Subscriber(Protocol):
    """The holder of a number: a modem, or a phone."""

    @property
    def who(self) -> str: ...

    def take(self, sms: Sms) -> bool:
        """Take a message; False when the holder is out of reach, and the centre keeps the message."""


@dataclass
class Phone:
    """A number without a modem: for tests that want to send and get messages directly."""

    centre: SmsCentre
    who: str
    number: str
    received: list[Sms] = field(default_factory=list)
    on_sms: Callable[[Sms], object] | None = None

    def take(self, sms: Sms) -> bool:
        self.received.append(sms)
        if self.on_sms:
            self.on_sms(sms)
        return True

    def send(self, recipient: str, data: bytes) -> None:
        self.centre.submit(Sms(self.number, recipient, data))


class SmsCentre:
    def __init__(self, world: World) -> None:
        self._world = world
        self.delay_us: int | Callable[[Sms], int] = 2_500_000
        self.drop: Callable[[Sms], bool] = lambda sms: False
        self.duplicate: Callable[[Sms], int] = lambda sms: 0  # the number of further copies
        self.submitted: list[Sms] = []
        self.submitted_us: list[int] = []  # when each was accepted
        self.delivered: list[Sms] = []
        self._subscribers: dict[str, Subscriber] = {}
        self._waiting: list[Sms] = []

    def subscribe(self, number: str, subscriber: Subscriber) -> None:
        if number in self._subscribers:
            raise ValueError("two subscribers with one number")
        self._subscribers[number] = subscriber

    def phone(self, number: str, who: str = "phone") -> Phone:
        phone = Phone(self, who, number)
        self.subscribe(number, phone)
        return phone

    def submit(self, sms: Sms) -> None:
        """Accept a message from a modem or a phone, to be delivered."""
        self.submitted.append(sms)
        self.submitted_us.append(self._world.now_us)
        self._note("accepted", sms)
        if self.drop(sms):
            self._note("lost", sms)
            return
        for _ in range(1 + self.duplicate(sms)):
            delay = self.delay_us(sms) if callable(self.delay_us) else self.delay_us
            self._world.after(delay, lambda: self._deliver(sms))

    def reachable(self, number: str) -> None:
        """Deliver the messages that waited for this subscriber, which is back in reach."""
        waiting = [sms for sms in self._waiting if sms.recipient == number]
        self._waiting = [sms for sms in self._waiting if sms.recipient != number]
        for place, sms in enumerate(waiting):
            self._world.after(1_000_000 * (place + 1), functools.partial(self._deliver, sms))

    def _deliver(self, sms: Sms) -> None:
        subscriber = self._subscribers.get(sms.recipient)
        if subscriber is None:
            self._note("unknown number", sms)
        elif subscriber.take(sms):
            self.delivered.append(sms)
            self._note("delivered", sms)
        else:
            self._waiting.append(sms)
            self._note("waits", sms)

    def _note(self, what: str, sms: Sms) -> None:
        self._world.note(
            "sms centre", what, sender=self._name(sms.sender), recipient=self._name(sms.recipient), octets=len(sms.data)
        )

    def _name(self, number: str) -> str:
        subscriber = self._subscribers.get(number)
        return subscriber.who if subscriber else "unknown"
