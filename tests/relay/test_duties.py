"""A duty that fails is left alone for a while, and nobody else notices."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import NoResultFound, OperationalError

from relay.duties import RETRY_S, Duty
from relay.store import StoreError
from tests.relay.ingest.fake_broker import Recorder

BROKEN = OperationalError("BEGIN", None, Exception("database is locked"))


def test_a_duty_that_fails_is_tried_again_later() -> None:
    log, done = Recorder(), []

    def work(wall: float, now: float) -> None:
        done.append(now)
        if len(done) == 1:
            raise LookupError("a fault")

    duty = Duty("orders", work, log)
    for now in (100.0, 101.0, 99.0 + RETRY_S, 100.0 + RETRY_S, 100.5 + RETRY_S):
        duty(0.0, now)
    assert done == [100.0, 100.0 + RETRY_S, 100.5 + RETRY_S]
    assert log.events == ["duty.failed"]
    assert log.fields["duty.failed"]["duty"] == "orders"


def test_a_row_that_is_damaged_or_missing_holds_up_nothing_else() -> None:
    def work(wall: float, now: float) -> None:
        raise NoResultFound("No row was found when one was required")

    log = Recorder()
    Duty("orders", work, log)(0.0, 0.0)
    assert log.events == ["duty.failed"]


@pytest.mark.parametrize("error", [StoreError("away"), OSError(28, "No space left on device"), BROKEN])
def test_what_the_store_raises_concerns_all(error: Exception) -> None:
    def work(wall: float, now: float) -> None:
        raise error

    log = Recorder()
    with pytest.raises(type(error)):
        Duty("orders", work, log)(0.0, 0.0)
    assert log.events == []
