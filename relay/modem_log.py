"""Writes the SMS modem's reports to the log."""

from __future__ import annotations

from relay.channels.down import whose
from relay.ingest.intake import SMS
from relay.ingest.reports import Ready, Recovered, Silent, Trouble, Unsent
from relay.log import Logger


def tell_of_modem(log: Logger, report: Ready | Trouble | Recovered | Silent | Unsent) -> None:
    """Log a report of the modem, other than one of a message that came in or left."""
    if isinstance(report, Ready):
        log.info("sms.ready", found=report.messages)
    elif isinstance(report, Trouble):
        level, hint = (log.error, {"hint": report.hint}) if report.hint else (log.warning, {})
        level("sms.trouble", what=report.what, error=report.error, **hint)
    elif isinstance(report, Recovered):
        log.info("sms.trouble_over", what=report.what)
    elif isinstance(report, Silent):
        log.error("sms.silent", hint="the modem does not answer: check its power and cable")
    else:
        level = log.error if report.final else log.warning
        what, tag = whose(report.message.tag)
        level(f"{what}.not_sent", path=SMS, error=report.error, given_up=report.final, **tag)
