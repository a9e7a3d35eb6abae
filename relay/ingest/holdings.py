# sans-I/O
"""Record what the modem holds: the messages known to be in its memories, and which of them are to be read or deleted.
Pure: the driver in `relay.ingest.sms` says what was read, and asks what is next.

The modem has the only copy of an alarm until the relay has it on disk. So a message is deleted only after it was
released, only where it was read, and only as long as that place is known to hold it still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.ingest import pdu
from relay.ingest.answers import Entry
from relay.ingest.reports import Incoming, Ref, Report, Trouble

_Key = tuple[str, int | str]  # a memory, and a place in it, or the message if the place has no number


class Read(NamedTuple):
    """A message to be read; all messages of a memory if `place` is None."""

    memory: str
    place: int | None = None


@dataclass
class _Held:
    text: str
    released: bool = False
    doubtful: bool = False  # of no use if it reads the same a second time
    sure: bool = True  # it is in the memory noted for it, not in another after an unnoticed restart


class Holdings:
    """The messages in one modem during one session with it."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._held: dict[_Key, _Held] = {}
        self._reads: deque[Read] = deque()
        self._deletes: deque[Ref] = deque()
        self._without_text: set[_Key] = set()  # messages that the last listings had without text; already reported
        self._sure = True  # the modem was not restarted since its memory was set

    # ---- what became of a message ----

    def release(self, ref: Ref) -> bool:
        """Mark a message as on disk, so that it may be deleted. Return False if it is not known here, or no longer."""
        held = self._holding(ref)
        if held is None:
            return False
        held.released = True
        self._delete_soon(ref)
        return True

    def reject(self, ref: Ref) -> bool:
        """Mark a message that is not an alarm as it was read. A serial line may garble a genuine alarm, so the message
        is read again, and deleted only when it reads the same. Return False if it is not known here, or no longer."""
        held = self._holding(ref)
        if held is None:
            return False
        held.doubtful = True
        if ref.index >= 0:
            self.read_soon(Read(ref.memory, ref.index))
        return True

    def deleted(self, ref: Ref) -> None:
        self._held.pop(_key(ref), None)

    # ---- what is next ----

    def read_soon(self, read: Read) -> None:
        if read not in self._reads:
            self._reads.append(read)

    def next_read(self, memory: str | None) -> Read | None:
        """Return what to read next while `memory` is in use. The entry stays until `reading` is called."""
        return next((r for r in self._reads if r.memory == memory), self._reads[0] if self._reads else None)

    def reading(self, read: Read) -> None:
        self._reads.remove(read)

    def is_without_text(self, read: Read) -> bool:
        """Tell whether the last listing had this message, but not its text."""
        return (read.memory, read.place) in self._without_text

    @property
    def all_have_text(self) -> bool:
        return not self._without_text

    def next_deletion(self, memory: str | None) -> Ref | None:
        """Return what to delete next while `memory` is in use. The entry stays until `deleting` is called."""
        while self._deletes:
            ref = next((r for r in self._deletes if r.memory == memory), self._deletes[0])
            held = self._held.get(_key(ref))
            # The place may hold another message by now; only a released message is deleted.
            if held is not None and held.released and held.text == ref.text:
                return ref
            self._deletes.remove(ref)
        return None

    def deleting(self, ref: Ref) -> None:
        self._deletes.remove(ref)

    def has_reads(self, memory: str | None) -> bool:
        return any(read.memory == memory for read in self._reads)

    def has_deletions(self, memory: str | None) -> bool:
        return any(ref.memory == memory for ref in self._deletes)

    @property
    def awaits_deletions(self) -> bool:
        """Tell whether there is something to delete in any memory."""
        return bool(self._deletes)

    def give_up(self, memory: str) -> None:
        """Forget the reads and deletions due in a memory that the modem does not let be used."""
        self._reads = deque(r for r in self._reads if r.memory != memory)
        self._deletes = deque(r for r in self._deletes if r.memory != memory)

    # ---- whether it is the memory that it seems to be ----

    def doubt(self) -> None:
        """Note that the modem may have been restarted, and may now read another memory."""
        self._sure = False

    def memory_was_set(self) -> None:
        """Note that the modem reads the memory that it was told to. If that was in doubt, messages read meanwhile may
        lie in another memory. They are forgotten and read again: to delete their places here could take an alarm that
        nobody has read."""
        if not self._sure:
            self._held = {key: held for key, held in self._held.items() if held.sure}
        self._sure = True

    def memory_was_right(self) -> None:
        """Note that the modem has proved that it was not restarted: messages read in doubt are in the memory noted for
        them."""
        self._sure = True
        for held in self._held.values():
            held.sure = True

    # ---- what was read ----

    def listed(self, memory: str, entries: Sequence[Entry]) -> list[Report]:
        """Take in the complete list of the messages in a memory."""
        places = {_place(memory, entry.place, entry.text) for entry in entries}
        told = self._without_text
        self._without_text = {key for key in told if key[0] != memory}
        for key in [k for k in self._held if k[0] == memory and k not in places]:
            del self._held[key]
        reports: list[Report] = []
        for entry in entries:
            if entry.text is not None:
                reports += self.seen(memory, entry.place, entry.text, entry.length)
                continue
            if entry.place is not None:
                self.read_soon(Read(memory, entry.place))
            key = _place(memory, entry.place, entry.text)
            self._without_text.add(key)
            if key not in told:
                reports.append(Trouble("a message in the SIM could not be read", "garbled or empty"))
        return reports

    def seen(self, memory: str, index: int | None, text: str, length: int | None) -> list[Report]:
        """Take in a message that a memory has at this place."""
        key = _place(memory, index, text)
        self._without_text.discard(key)
        held = self._held.get(key)
        ref = Ref(self._session, -1 if index is None else index, text, memory)
        if held is None or held.text != text:
            # MT shows the messages of SM and ME too: reporting a message once is enough while the modem has it there.
            if any(h.text == text and k[0] != memory for k, h in self._held.items()):
                return []
            self._held[key] = _Held(text, sure=self._sure)
            return self._decoded(ref, length)
        if held.doubtful:
            held.doubtful = False
            held.released = True
        if held.released:  # rejected twice, or an earlier deletion failed
            self._delete_soon(ref)
        return []

    def handed_over(self, text: str, sender: str | None = None) -> list[Report]:
        """Take in a message that the modem passes on and keeps in none of its memories. `sender` is given in text mode,
        where 8-bit data come with nothing around them (27.005, 3.1, <data>)."""
        ref = Ref(self._session, -1, text)
        if sender is not None:
            return [Incoming(ref, sender, bytes.fromhex(text)[: pdu.MAX_OCTETS])]
        return self._decoded(ref, None)

    def _decoded(self, ref: Ref, length: int | None) -> list[Report]:
        try:
            message = pdu.decode_deliver(ref.text, length)
        except pdu.PduError as error:
            # A delivery report or noise; it must not fill the memory. Noise is read again before it is deleted.
            self.reject(ref)
            return [Trouble("a message in the SIM is no SMS-DELIVER", str(error))]
        return [Incoming(ref, message.sender, message.octets)]

    def _holding(self, ref: Ref) -> _Held | None:
        held = self._held.get(_key(ref))
        return held if ref.session == self._session and held is not None and held.text == ref.text else None

    def _delete_soon(self, ref: Ref) -> None:
        if ref.index >= 0 and ref not in self._deletes:
            self._deletes.append(ref)


def _place(memory: str, index: int | None, text: str | None) -> _Key:
    return memory, index if index is not None else text or ""


def _key(ref: Ref) -> _Key:
    return _place(ref.memory, ref.index if ref.index >= 0 else None, ref.text)
