"""`relay verify` on a document as it was published, and on every kind of tampering: accepted, or the reason printed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from relay import case_document
from relay.cli import main
from relay.offline import Verdict, judge, pieces
from relay.subscribers import audiences, coarse, epoch_keys
from relay.subscribers.file import key_pair
from relay.subscribers.register import account
from relay.subscribers.sealing import Epoch
from relay.verify import Alarm
from tests.relay.rebroadcast.test_rebroadcast import ALARM, CHANGES, GENUINE, KEYS, OTHER_RELAY, canonical, made
from tests.relay.support import NOW

CANCEL, DURESS, DRILL = 2, 4, 1
CASE = case_document.build(KEYS, 0xC0FFEE01 << 24 | 3, "accepted", int(NOW * 1000))


def coarsely(alarm: Alarm = ALARM) -> bytes:
    return coarse.build(KEYS, alarm=alarm, kid=0xC0FFEE01, counter=5, received_ms=int(NOW * 1000), path="mqtt", km=20)


def verify(*arguments: str | Path, input: bytes | None = None, env: dict[str, str] | None = None) -> Result:
    arguments = arguments if input is None else ("-", *arguments)
    return CliRunner().invoke(main, ["verify", *(str(each) for each in arguments)], input=input, env=env)


def pinned(document: bytes, *arguments: str) -> Result:
    return verify("--relay-key", KEYS.public.hex(), *arguments, input=document)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "alarm.json"


def test_genuine(file: Path) -> None:
    file.write_bytes(GENUINE)
    result = CliRunner().invoke(main, ["verify", str(file), "--relay-key", KEYS.public.hex()])
    assert (result.exit_code, result.output.split()[0]) == (0, "GENUINE")


@pytest.mark.parametrize("code", CHANGES)
def test_each_kind_of_tampering_is_refused_with_its_reason(code: str, file: Path) -> None:
    document = json.loads(GENUINE)
    CHANGES[code](document)
    file.write_bytes(canonical(document))
    result = CliRunner().invoke(main, ["verify", str(file)])
    lines = result.output.splitlines()
    assert (result.exit_code, lines[0]) == (1, "NOT GENUINE")
    assert lines[1].startswith(f"  {code}: ")


def test_the_key_of_another_relay(file: Path) -> None:
    file.write_bytes(GENUINE)
    result = CliRunner().invoke(main, ["verify", str(file), "--relay-key", "11" * 32])
    assert result.exit_code == 1
    assert "relay_key" in result.output.splitlines()[1]


def test_what_is_no_document(file: Path) -> None:
    file.write_bytes(b"\xff\x00")
    assert CliRunner().invoke(main, ["verify", str(file)]).exit_code == 1


# --- what is proven, and whose word it is ---


def test_what_is_proven_is_said() -> None:
    done = pinned(GENUINE)
    assert done.exit_code == 0
    for said in (
        "GENUINE",
        "ALARM c0ffee01-3: Update 2 of it; cause: button",
        "sent 2026-01-01T00:01:10Z by the bracelet's clock (set by: network), ",
        "received 2026-01-01T00:01:40.250Z by mqtt (the relay's word), 30 s later",
        "59.7700000, -43.8501234 within 12 m, 3 s old when it was sent",
        "cell 262-01-54321-28471062",
        "battery 80 %, strap closed",
        f"relay {KEYS.id.hex()}: the one that you named",
        "The bracelet c0ffee01 signed",
    ):
        assert said in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("flags", "seq", "cause", "said"),
    [
        (0, 0, 0, "ALARM c0ffee01-5: the Alert"),
        (0, 1, 2, "ALARM c0ffee01-4: Update 1 of it; cause: check-in"),
        (DRILL, 0, 0, "DRILL (an exercise, nobody is in danger) c0ffee01-5: the Alert"),
        (DRILL, 0, 3, "TRIAL (an exercise, nobody is in danger) c0ffee01-5: the Alert"),
        (CANCEL, 1, 0, "ALARM c0ffee01-4: the wearer CANCELLED it; cause"),
        (CANCEL | DURESS, 1, 0, "ALARM c0ffee01-4: called off UNDER DURESS, so it is NOT over; cause"),
        (DURESS, 2, 0, "ALARM c0ffee01-3: Update 2 of it, UNDER DURESS; cause"),
    ],
)
def test_each_kind_of_message_has_words_of_its_own(flags: int, seq: int, cause: int, said: str) -> None:
    alarm = ALARM._replace(flags=flags, seq=seq, cause=cause)
    for document in (made(alarm), coarsely(alarm)):
        done = pinned(document)
        assert (done.exit_code, said in done.stdout) == (0, True), done.stdout
        assert ("CANCELLED" in done.stdout) == (flags == CANCEL)


def test_without_a_key_the_relay_is_unknown() -> None:
    for document in (GENUINE, CASE, coarsely()):
        done = verify(input=document)
        assert done.exit_code == 3
        assert done.stdout.splitlines()[0] == "SIGNATURES HOLD, RELAY UNKNOWN"
        assert "anybody can make a relay" in done.stdout
        said = json.loads(verify("--json", input=document).stdout)
        assert (said["verdict"], said["genuine"], said["signatures_hold"]) == ("relay_unknown", False, True)


def test_relays_that_are_known_are_named(tmp_path: Path) -> None:
    known = tmp_path / "known"
    theirs, ours = OTHER_RELAY.public.hex(), KEYS.public.hex()
    known.write_text(f"# ours\n\n{theirs} other.example\n{ours}  Sparrow's relay # 2026\n")
    for options, env in ((("--known-keys", str(known)), {}), ((), {"TOCSIN_KNOWN_KEYS": str(known)})):
        done = verify(*options, input=GENUINE, env=env)
        assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "GENUINE")
        assert "Sparrow's relay" in done.stdout
    known.write_text(OTHER_RELAY.public.hex())
    assert verify("--known-keys", known, input=GENUINE).exit_code == 3
    (tmp_path / "tocsin").mkdir()
    (tmp_path / "tocsin" / "known-keys").write_text(KEYS.public.hex())
    assert verify(input=GENUINE, env={"XDG_CONFIG_HOME": str(tmp_path)}).exit_code == 0
    known.write_text("abc sparrow")
    done = verify("--known-keys", known, input=GENUINE)
    assert (done.exit_code, "line 1: write 64 hexadecimal digits" in done.stderr) == (2, True)


def test_files_with_keys_may_begin_as_some_editors_write_them(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    for end in ("", "\r\n"):
        file.write_text(f"\ufeff{KEYS.public.hex()}{end}", encoding="utf-8", newline="")
        assert verify("--known-keys", file, input=GENUINE).exit_code == 0
        assert verify("--relay-key", file, input=GENUINE).exit_code == 0
    file.write_text(KEYS.public.hex(), encoding="utf-16")
    done = verify("--relay-key", file, input=GENUINE)
    assert (done.exit_code, "does not hold 64 hexadecimal digits" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("age", "said"), [(0, "just now"), (40, "40 s ago"), (7200, "2 h ago"), (86400 * 21, "21 days ago"), (-90, "ahead")]
)
def test_how_old_it_is_now(age: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: ALARM.time + age + 0.5)
    assert f"{said}" in pinned(GENUINE).stdout.splitlines()[2]
    assert json.loads(pinned(GENUINE, "--json").stdout)["age_s"] == age


def test_what_came_late_says_so() -> None:
    assert "LATE" not in pinned(GENUINE).stdout
    late = pinned(made(ALARM._replace(time=ALARM.time - 7200))).stdout
    assert "2 h later: LATE" in late


@pytest.mark.parametrize("build", [made, coarsely])
def test_what_was_sent_ahead_of_its_arrival_took_no_time(build: Callable[[Alarm], bytes]) -> None:
    received = json.loads(build(ALARM))["sent_unix"] + json.loads(build(ALARM))["delay_s"]
    for ahead, words in ((5, "word), 0 s later"), (6, "word), sent 6 s ahead"), (7200, "word), sent 2 h ahead")):
        said = pinned(build(ALARM._replace(time=received + ahead))).stdout
        assert words in said, said
        assert ("0 s later" in said) == (ahead == 5)


# --- what else somebody may have ---


def test_what_became_of_an_alarm() -> None:
    done = pinned(CASE)
    assert done.exit_code == 0
    assert "alarm c0ffee01-3: a person has ACCEPTED it" in done.stdout
    assert "that relay's word alone" in done.stdout
    closed = case_document.build(KEYS, 0xC0FFEE01 << 24 | 3, "closed", int(NOW * 1000))
    assert "was CLOSED" in pinned(closed).stdout


@pytest.mark.parametrize("document", [CASE, coarsely()], ids=["case", "coarse"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"alarm": "c0ffee01-4"}, "relay_signature"),
        ({"relay": "00" * 8}, "relay_id_differs"),
        ({"more": 1}, "extra_field"),
        ({"kid": 7}, "bad_value"),
        ({"kid": "\x1b[31m"}, "bad_value"),
        ({"relay_key": "AA"}, "bad_value"),
        ({"tocsin": 2}, "unsupported_version"),
    ],
)
def test_tampering_with_a_document_of_the_relay_alone(document: bytes, change: dict[str, object], code: str) -> None:
    done = pinned(canonical(json.loads(document) | change))
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1].startswith(f"  {code}: "), done.stdout


def test_a_relay_of_somebody_elses_is_never_taken_for_the_named_one() -> None:
    theirs = case_document.build(OTHER_RELAY, 0xC0FFEE01 << 24 | 3, "closed", int(NOW * 1000))
    assert (verify(input=theirs).exit_code, pinned(theirs).exit_code) == (3, 1)


def test_several_and_what_mosquitto_sub_writes() -> None:
    lines = [b"r/c0ffee01/alarm " + GENUINE, b"r/c0ffee01/case " + CASE, b"s/1/key/x (null)", b""]
    done = pinned(b"\r\n".join(lines))
    assert done.exit_code == 0
    assert done.stdout.count("GENUINE (line ") == 2
    assert done.stdout.splitlines()[-1] == "2 documents: 2 genuine"
    stamped = b"2026-01-01T00:00:00+0000 r/c0ffee01/alarm " + GENUINE
    assert pinned(stamped + b"\n").exit_code == 0
    watched = b'{"genuine": true, "document": ' + GENUINE + b"}\n" + CASE + b"\n"
    assert [json.loads(line)["verdict"] for line in pinned(watched, "--json").stdout.splitlines()] == ["genuine"] * 2
    pretty = json.dumps(json.loads(CASE), indent=2).encode()
    assert pinned(pretty + b"\n" + pretty).exit_code == 0
    damaged = lines[0] + b"\n" + lines[1].replace(b"accepted", b"closed") + b"\n" + lines[0] + b"\n"
    done = pinned(damaged)
    assert done.exit_code == 1
    assert "NOT GENUINE (line 2)" in done.stdout
    assert "3 documents: 2 genuine, 1 not genuine" in done.stdout


def test_what_watch_lists_from_its_own_store_is_no_document() -> None:
    listed = b'{"open": {"alarm": "c0ffee01-3", "state": "unanswered"}}\n{"changed": {"alarm": "c0ffee01-3"}}\n'
    done = pinned(listed + b'{"genuine": true, "document": ' + GENUINE + b"}\n")
    assert (done.exit_code, done.output.split()[0]) == (0, "GENUINE")
    assert pinned(listed).exit_code == 2
    mixed = b'{"open": {}, ' + GENUINE[1:]
    assert pinned(mixed).exit_code == 1


def test_a_field_twice_in_what_watch_wrapped_is_seen() -> None:
    twice = GENUINE.replace(b'"battery":80', b'"battery":79,"battery":80')
    done = pinned(b'{"genuine": true, "document": ' + twice + b"}\n")
    assert (done.exit_code, "duplicate_field" in done.stdout) == (1, True)


AUDIENCE = audiences.name(0x669FA9348542)
KEY_TOPIC = audiences.key_topic(AUDIENCE, account(0x48B964D8))


def sealed_keys(number: int, count: int = 1) -> bytes:
    """Seal a message that brings a subscriber its keys, `number` of them different each time."""
    epochs = [Epoch(bytes(8), bytes([number] * 32))] * count
    return epoch_keys.seal(KEYS, KEY_TOPIC, key_pair()[1], epochs, int(NOW * 1000))


def stream(*messages: tuple[str, bytes]) -> bytes:
    """Write what `mosquitto_sub -v` writes of these messages."""
    return b"".join(topic.encode() + b" " + (octets or b"(null)") + b"\n" for topic, octets in messages)


def test_what_is_sealed_is_said_to_be_sealed() -> None:
    topic = f"s/{AUDIENCE}/c0ffee01/alarm"
    for _ in range(8):  # random octets, with an end of line among them now and then
        sealed = Epoch(bytes(8), bytes(32)).seal(topic, GENUINE, 1536)
        for text in (sealed, sealed + b"\n", topic.encode() + b" " + sealed + b"\n"):
            done = pinned(text)
            assert (done.exit_code, done.stdout.splitlines()[0]) == (2, "SEALED"), done.stdout
            assert "relay subscribe" in done.stdout
        both = topic.encode() + b" " + sealed + b"\nr/c0ffee01/alarm " + GENUINE + b"\n"
        verdicts = [json.loads(line)["verdict"] for line in pinned(both, "--json").stdout.splitlines()]
        assert verdicts == ["sealed", "genuine"]


@pytest.mark.parametrize("count", [1, 3, epoch_keys.MOST_EPOCHS])
def test_the_keys_of_a_subscriber_are_sealed_too(count: int) -> None:
    for number in range(8):
        octets = sealed_keys(number, count)
        for text in (octets, octets + b"\n", stream((KEY_TOPIC, octets)), b"1767225600 " + stream((KEY_TOPIC, octets))):
            done = pinned(text)
            assert (done.exit_code, done.stdout.splitlines()[0]) == (2, "SEALED"), done.stdout


def test_a_stream_of_sealed_messages_is_taken_apart_by_their_lengths() -> None:
    """Random octets may hold whatever looks like the end of a message, or like the beginning of a document."""
    topic = f"s/{AUDIENCE}/c0ffee01/"
    epoch, lines, messages = Epoch(bytes(8), bytes(32)), [], []
    for number in range(40):
        for name, octets in (
            (KEY_TOPIC, sealed_keys(number)),
            (topic + "alarm", looking_like_a_document(epoch.seal(topic + "alarm", GENUINE, 1536))),
            (KEY_TOPIC, b""),
            (topic + "case", epoch.seal(topic + "case", CASE, 512)),
        ):
            if octets:
                lines.append(1 + stream(*messages).count(b"\n"))
            messages.append((name, octets))
    text = stream(*messages)
    for found in (text, text.removesuffix(b"\n")):
        judged = [judge(piece, {}) for piece in pieces(found)]
        assert [(each.line, each.verdict) for each in judged] == [(line, Verdict.SEALED) for line in lines]
    bare = b"\n".join(octets for _, octets in messages if octets)  # without -v
    assert [judge(piece, {}).verdict for piece in pieces(bare)] == [Verdict.SEALED] * len(lines)


def looking_like_a_document(sealed: bytes) -> bytes:
    """Put a line into the ciphertext that would be a document, and one that would have a topic."""
    for at, octets in ((100, b'\n{"tocsin"'), (200, b'\nr/c0ffee01/alarm {"\n'), (300, b"\ns/1/2 (null)\r\n")):
        sealed = sealed[:at] + octets + sealed[at + len(octets) :]
    return sealed


def test_behind_a_damaged_sealed_message_documents_are_still_found() -> None:
    topic = f"s/{AUDIENCE}/c0ffee01/alarm"
    sealed = Epoch(bytes(8), bytes(32)).seal(topic, GENUINE, 1536)
    for damaged in (
        sealed[:-9],
        sealed + b"x",
        sealed.replace(b"\n", b"\r\n") + b"\r",
        sealed[:40] + b"\n" + sealed[40:],
    ):
        text = stream((topic, damaged), ("r/c0ffee01/alarm", GENUINE), ("r/c0ffee01/case", CASE.replace(b"-3", b"-4")))
        verdicts = [judge(piece, {}).verdict for piece in pieces(text)]
        assert verdicts == [Verdict.SEALED, Verdict.RELAY_UNKNOWN, Verdict.NOT_GENUINE]


@pytest.mark.parametrize("topic", [KEY_TOPIC, f"s/{AUDIENCE}/c0ffee01/alarm", "s/669FA9348542/c0ffee01/alarm"])
def test_no_topic_hides_a_document_in_clear(topic: str) -> None:
    assert pinned(stream((topic, GENUINE))).exit_code == 0
    assert pinned(stream((topic, GENUINE.replace(b"button", b"strap")))).exit_code == 1


def test_a_file_that_fails_when_it_is_read_is_no_document() -> None:
    done = verify("/proc/self/mem")  # reading at 0 fails
    assert (done.exit_code, "can't be read" in done.stderr) == (2, True)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_no_document(content: bytes, tmp_path: Path) -> None:
    done = verify(input=content)
    assert (done.exit_code, "no document" in done.stderr) == (2, True)
    assert verify(tmp_path / "missing").exit_code == 2
    assert verify(tmp_path).exit_code == 2


def test_half_a_document_is_asked_for_again() -> None:
    done = verify(input=GENUINE[: len(GENUINE) // 2])
    assert done.exit_code == 1
    assert "was cut off; ask for all of it" in done.output


@pytest.mark.parametrize("seed", range(20))
def test_garbage_makes_no_traceback(seed: int) -> None:
    octets = os.urandom(seed * 50) + [b"{", b"[" * 100_000, b'{"type":"case","tocsin":1}', CASE[:-9]][seed % 4]
    done = verify(input=octets)
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit)
