"""Judge the firmware's words on the console: pure, so that every course of a drill can be tried without a board.

The lines are those of firmware/console.md.
"""

from __future__ import annotations

from hwsim.workshop.trouble import Trouble


def event(line: str) -> tuple[str, dict[str, str]] | None:
    """Return name and values of a line "@name key=value ..."; None for any other line."""
    if not line.startswith("@"):
        return None
    name, *pairs = line[1:].split(" ")
    return name, dict(pair.split("=", 1) for pair in pairs if "=" in pair)


class Life:
    """A start of the bracelet, from reset on. `raised`: the counter of a drill's Alert from before, if there is one."""

    def __init__(self, raised: int | None = None) -> None:
        self.blank = self.armed = False
        self.paths: set[str] = set()  # that are up
        self.armed_drill = False
        self.raised = raised
        self.sent: int | None = None  # counter of what the engineer's gesture sent: that Alert, or an Update of it
        self.path = ""  # that its receipt came by
        self.delivered = self.accepted = self.closed = False
        self._sim = self._failed = ""

    def forget(self) -> None:
        """Forget the drill that is over: the next one is another."""
        self.raised = self.sent = None
        self.delivered = self.accepted = self.closed = False

    def hear(self, line: str) -> None:
        """Read a line. Raises Trouble when the bracelet says that it can't go on, or has raised an alarm that is no
        drill."""
        found = event(line)
        if found is None:
            return
        name, values = found
        counter = int(values["counter"]) if values.get("counter", "").isdigit() else None
        if name == "blank":
            self.blank = True
        elif name == "armed":
            self.armed = True
        elif name == "link":
            (self.paths.add if values.get("up") == "1" else self.paths.discard)(values.get("path", ""))
            if "sms" in self.paths:
                self._sim = ""  # the SIM's state is told again only when it is another
        elif name == "drill":
            self.armed_drill = True
        elif name == "raised":
            if values.get("by") != "drill":
                raise Trouble(
                    f"that was a REAL alarm (counter {counter}), not a drill: close it at the relay (relay close KEY_ID"
                    f"-{counter}), tell whoever was alarmed, and run this again for the drill"
                )
            self.raised = self.sent = counter
        elif name == "update" and values.get("by") == "drill":
            first = values.get("alarm", "")
            if self.raised is None and first.isdigit():  # raised when nobody listened: interrupted just then
                self.raised = int(first)
            if self.raised is None:
                raise Trouble("a drill from before is still open: close it at the relay, and run this again")
            self.sent = counter
        elif name == "receipt" and counter is not None and counter in (self.raised, self.sent):
            self.path = values.get("path", "")
        elif name == "delivered" and counter is not None and counter in (self.raised, self.sent):
            self.delivered = True
        elif name == "accept" and counter is not None and counter == self.raised:
            self.accepted = True
        elif name == "close" and counter is not None and counter == self.raised:
            self.closed = True
        elif name == "missing":
            part, why = values.get("part"), values.get("reason")
            raise Trouble(f"the firmware does without {_MISSING.get(part or '', f'its {part}')} ({why}), {_FOUND}")
        elif name == "sim":
            self._sim = values.get("state", "")
        elif name == "failed":
            self._failed = f"{values.get('path', '?')}: {values.get('reason', '?')}"
        elif name == "crashed":
            raise Trouble(f"the firmware could not start ({values.get('reason')}): run this with --from-start")
        elif name == "refused" and values.get("what") in ("partition", "journal", "offer"):
            raise Trouble(_REFUSED[values["what"]] + f" ({values.get('reason')})")

    def hints(self) -> str:
        """Say what may be the reason that something has not happened."""
        words = []
        if self._sim not in ("", "ready"):
            words.append(f"the SIM is {self._sim}")
        if self._failed:
            words.append(f"the last thing that failed was {self._failed}")
        words.append(f"up are {', '.join(sorted(self.paths))}" if self.paths else "no path was up")
        return "; ".join(words)


_MISSING = {"wake": "sleep, because a pin can't wake the chip"}
_FOUND = "which a finished bracelet must have: look at that part in the board file, and run this with --from-start"
_REFUSED = {
    "partition": "the bracelet finds no partition for its journal: run this with --from-start",
    "journal": "the bracelet can't use its journal: run this with --from-start",
    "offer": "the bracelet refuses the relay's offer: run this with --from-start, with a new offer",
}
