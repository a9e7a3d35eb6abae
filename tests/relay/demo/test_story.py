"""From events of the parts to the stages of one alarm."""

from relay.demo.stack import Happened
from relay.demo.story import Story

T0 = 1000.0


def told(story: Story, *events: Happened) -> list[str]:
    return [stage.name for event in events for stage in story.tell(event)]


def firmware(at: float, what: str, **detail: object) -> Happened:
    return Happened(T0 + at, "firmware", what, detail)


def relay(at: float, what: str, **detail: object) -> Happened:
    return Happened(T0 + at, "relay", what, detail)


def pulse(began: float, ms: int) -> Happened:
    return Happened(T0 + began + ms / 1000, "haptic", "pulse", {"ms": ms, "strength": 100})


def test_an_alarm_by_mqtt_from_press_to_receipt() -> None:
    story = Story(T0)
    names = told(
        story,
        pulse(0.6, 30),
        firmware(3.0, "raised", counter=7, octets=127),
        firmware(3.1, "published", counter=7, path="mqtt"),
        firmware(3.2, "puback", counter=7),
        relay(3.2, "alarm.received", counter=7, path="mqtt"),
        relay(3.2, "alarm.verified", counter=7),
        relay(3.21, "alarm.committed", counter=7),
        relay(3.22, "alarm.rebroadcast", counter=7),
        relay(3.23, "receipt.sent", counter=7, path="mqtt"),
        Happened(T0 + 3.25, "subscriber", "document", {"genuine": True, "counter": 7}),
        pulse(3.0, 700),
        firmware(3.5, "receipt", counter=7, path="mqtt"),
        pulse(3.95, 120),
    )
    assert names == [
        "tick",
        "sealed",
        "published",
        "puback",
        "received",
        "verified",
        "committed",
        "rebroadcast",
        "receipt",
        "subscriber",
        "felt",
    ]
    assert story.complete("mqtt")
    assert round(story.raised_to_receipt_s, 3) == 0.95


def test_events_of_another_message_are_not_part_of_it() -> None:
    story = Story(T0)
    told(story, firmware(3.0, "raised", counter=7, octets=127))
    assert (
        told(
            story,
            relay(3.1, "alarm.committed", counter=6),
            firmware(3.2, "update", counter=8, octets=127),
            firmware(3.3, "puback", counter=8),
        )
        == []
    )


def test_an_sms_that_the_network_refused_is_not_a_stage() -> None:
    story = Story(T0)
    told(story, firmware(3.0, "raised", counter=1, octets=127))
    assert told(story, firmware(3.1, "published", counter=1, path="sms")) == []
    assert told(story, firmware(4.0, "sms", counter=1, ok=0)) == []
    assert told(story, firmware(9.0, "sms", counter=1, ok=1)) == ["sms"]


def test_a_document_that_is_not_genuine_does_not_count_as_received() -> None:
    story = Story(T0)
    told(story, firmware(3.0, "raised", counter=1, octets=127))
    assert told(story, Happened(T0 + 4, "subscriber", "document", {"genuine": False, "counter": 1})) == []


def test_without_a_receipt_no_pulse_counts_as_felt() -> None:
    story = Story(T0)
    assert "felt" not in told(story, firmware(3.0, "raised", counter=1, octets=127), pulse(3.0, 700), pulse(5.0, 120))
    assert "felt" in story.missing("mqtt")
