"""The duties of the loop besides taking alarms, kept apart: a fault in one stops neither the others nor the alarms.

This is not for errors of the store: those concern all duties, and the loop waits for the store.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.exc import DataError, IntegrityError, InvalidRequestError, SQLAlchemyError

from relay.log import Logger
from relay.store import StaleState, StoreError

# The errors of a store that can't be used now. Any other error is a fault of the program. On the alarms' way it ends
# the process, which loses nothing and is seen; in a duty it stops that duty for a while.
STORE_ERRORS = (SQLAlchemyError, StoreError, StaleState, OSError)
# What it raises for a row that is damaged or missing: it can be used for everything else.
ROW_ERRORS = (DataError, IntegrityError, InvalidRequestError)
RETRY_S = 10.0
HINT = (
    "alarms are taken and told all the same; please report this line. An AtRestError, IntegrityError or NoResultFound "
    "means that a row of the database is damaged or missing: restore a backup"
)


class Duty:
    """A duty of the loop: `work(wall, now)`, with the time of day and the loop's time, both in seconds."""

    def __init__(self, name: str, work: Callable[[float, float], object], log: Logger) -> None:
        self._name = name
        self._work = work
        self._log = log
        self._again_at = 0.0

    def __call__(self, wall: float, now: float) -> None:
        """Do the work, unless it failed just now. Raises what a store raises that can't be used."""
        if now < self._again_at:
            return
        try:
            self._work(wall, now)
        except Exception as error:
            if isinstance(error, STORE_ERRORS) and not isinstance(error, ROW_ERRORS):
                raise
            self._again_at = now + RETRY_S
            self._log.error("duty.failed", duty=self._name, error=error, retry_s=RETRY_S, hint=HINT)
