"""What the modem is known to hold: what is told, read again, and deleted."""

from __future__ import annotations

from relay.ingest.answers import Entry
from relay.ingest.holdings import Holdings, Read
from relay.ingest.pdu import encode_deliver
from relay.ingest.reports import Incoming, Ref, Report, Trouble

ONE, OTHER = (encode_deliver("+10000000001", octets)[0] for octets in (b"one" * 9, b"other" * 9))
NOISE = "0011"


def ref(reports: list[Report]) -> Ref:
    (report,) = reports
    assert isinstance(report, Incoming)
    return report.ref


def test_a_message_is_told_once_and_deleted_once_it_was_released() -> None:
    holdings = Holdings(1)
    one = ref(holdings.seen("SM", 3, ONE, None))
    assert holdings.seen("SM", 3, ONE, None) == []
    assert holdings.next_deletion("SM") is None
    assert holdings.release(one)
    assert holdings.next_deletion("SM") == one
    holdings.deleting(one)
    assert holdings.next_deletion("SM") is None
    assert holdings.seen("SM", 3, ONE, None) == []  # the deletion failed: again
    assert holdings.next_deletion("SM") == one
    holdings.deleted(one)
    assert holdings.next_deletion("SM") is None


def test_a_place_with_another_message_is_not_deleted_for_the_former() -> None:
    holdings = Holdings(1)
    one = ref(holdings.seen("SM", 3, ONE, None))
    holdings.release(one)
    other = ref(holdings.seen("SM", 3, OTHER, None))
    assert holdings.next_deletion("SM") is None
    assert not holdings.has_deletions("SM")
    assert not holdings.release(one)
    assert holdings.release(other)
    assert holdings.next_deletion("SM") == other


def test_a_message_of_another_session_can_not_be_released() -> None:
    before = ref(Holdings(1).seen("SM", 3, ONE, None))
    holdings = Holdings(2)
    holdings.seen("SM", 3, ONE, None)
    assert not holdings.release(before)
    assert not holdings.reject(before)
    assert not holdings.awaits_deletions


def test_what_is_rejected_is_deleted_only_when_it_reads_the_same_again() -> None:
    for again, text in ((False, OTHER), (True, ONE)):
        holdings = Holdings(1)
        one = ref(holdings.seen("SM", 3, ONE, None))
        assert holdings.reject(one)
        assert holdings.next_read("SM") == Read("SM", 3)
        assert holdings.next_deletion("SM") is None
        holdings.seen("SM", 3, text, None)
        assert holdings.next_deletion("SM") == (one if again else None)


def test_noise_is_treated_as_if_it_was_rejected() -> None:
    holdings = Holdings(1)
    (report,) = holdings.seen("SM", 3, NOISE, None)
    assert isinstance(report, Trouble)
    assert holdings.next_read("SM") == Read("SM", 3)
    assert holdings.next_deletion("SM") is None
    assert holdings.seen("SM", 3, NOISE, None) == []
    assert holdings.next_deletion("SM") == Ref(1, 3, NOISE, "SM")


def test_a_message_that_two_memories_show_is_told_once() -> None:
    holdings = Holdings(1)
    one = ref(holdings.listed("SM", [Entry(3, ONE, None)]))
    assert one.memory == "SM"
    assert holdings.listed("MT", [Entry(1, ONE, None)]) == []
    assert holdings.listed("SM", []) == []
    assert ref(holdings.listed("MT", [Entry(1, ONE, None)])).memory == "MT"


def test_an_entry_that_did_not_come_through_is_read_alone() -> None:
    holdings = Holdings(1)
    (report,) = holdings.listed("SM", [Entry(5, None, 20)])
    assert isinstance(report, Trouble)
    assert holdings.next_read("SM") == Read("SM", 5)


def test_a_message_without_a_place_is_told_and_never_deleted() -> None:
    holdings = Holdings(1)
    for one in (ref(holdings.handed_over(ONE)), ref(holdings.listed("SM", [Entry(None, OTHER, None)]))):
        holdings.release(one)
        holdings.reject(one)
    assert not holdings.awaits_deletions
    assert holdings.next_read("SM") is None


def test_what_was_read_in_doubt_is_forgotten_when_the_memory_is_set() -> None:
    """Without that, the place where another memory held it would be deleted in this one."""
    holdings = Holdings(1)
    before = ref(holdings.seen("SM", 1, ONE, None))
    holdings.doubt()
    doubtful = ref(holdings.seen("SM", 3, OTHER, None))
    holdings.release(doubtful)
    holdings.memory_was_set()
    assert holdings.next_deletion("SM") is None
    assert not holdings.release(doubtful)
    assert holdings.release(before)


def test_what_was_read_in_doubt_stays_when_the_memory_was_right() -> None:
    holdings = Holdings(1)
    holdings.doubt()
    one = ref(holdings.seen("SM", 3, ONE, None))
    holdings.memory_was_right()
    holdings.doubt()
    holdings.memory_was_set()
    assert holdings.release(one)


def test_the_memory_in_use_comes_first() -> None:
    holdings = Holdings(1)
    for memory, text in (("SM", ONE), ("ME", OTHER)):
        holdings.read_soon(Read(memory))
        holdings.read_soon(Read(memory))
        holdings.release(ref(holdings.seen(memory, 1, text, None)))
    assert [holdings.next_read(memory) for memory in ("ME", "SM", None)] == [Read("ME"), Read("SM"), Read("SM")]
    deletion = holdings.next_deletion("ME")
    assert deletion is not None
    assert deletion.memory == "ME"
    holdings.reading(Read("SM"))
    assert holdings.next_read("SM") == Read("ME"), "twice the same is once"
    assert not holdings.has_reads("SM")
    holdings.give_up("ME")
    assert holdings.next_read("ME") is None
    assert not holdings.has_deletions("ME")
    assert holdings.has_deletions("SM")
