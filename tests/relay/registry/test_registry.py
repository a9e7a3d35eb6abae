"""The registry: a bracelet's way in, once, and out, for good."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from relay.registry import Registry, RegistryError
from relay.store import Store, chains, schema
from relay.verify import agree, roots
from tests.relay.support import KEYS, NOW, answer, contents, offer, provision


@pytest.fixture
def registry(store: Store) -> Registry:
    return Registry(store, KEYS)


def bracelet_row(store: Store) -> dict[str, Any]:
    (row,) = contents(store)["bracelet"]
    return dict(zip(schema.bracelet.c.keys(), row, strict=True))


def test_offer(registry: Registry, store: Store) -> None:
    offered = registry.offer(
        " blue heron ",
        now=NOW,
        host="relay.example",
        port=8883,
        ca_der=b"\x30\x00",
        sms="+10000000001",
        wifi=[("home", "correct horse")],
    )
    assert set(offered) == {"tocsin", "kid", "relay_id", "relay_x25519", "time", "mqtt", "sms", "ca", "wifi"}
    assert offered["tocsin"] == 1
    assert offered["relay_id"] == KEYS.id.hex()
    assert offered["time"] == int(NOW)
    assert offered["mqtt"]["user"] == offered["kid"]
    assert (offered["mqtt"]["host"], offered["mqtt"]["port"]) == ("relay.example", 8883)
    assert base64.b64decode(offered["ca"]) == b"\x30\x00"
    assert (offered["sms"], offered["wifi"]) == ("+10000000001", [["home", "correct horse"]])
    assert len(bytes.fromhex(offered["relay_x25519"])) == 32
    (entry,) = registry.list()
    assert (entry.kid, entry.code_name, entry.state) == (offered["kid"], "blue heron", "offered")
    assert bracelet_row(store)["offer_key_sealed"] is not None
    assert "correct horse" not in str(contents(store))


def test_offers_share_nothing(registry: Registry) -> None:
    offers = [registry.offer("heron", now=NOW, host="h", port=1, ca_der=b"") for _ in range(5)]
    for part in (lambda o: o["kid"], lambda o: o["relay_x25519"], lambda o: o["mqtt"]["password"]):
        assert len({part(offered) for offered in offers}) == 5


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\nb", "a\x1b[2Jb"])
def test_code_names(registry: Registry, name: str) -> None:
    with pytest.raises(RegistryError, match="code name"):
        registry.offer(name, now=NOW, host="h", port=1, ca_der=b"")


def test_zero_and_known_key_ids_are_not_given(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    taken = provision(store)
    draws = iter([bytes(4), bytes.fromhex(taken.kid), b"\1\2\3\4"])
    monkeypatch.setattr("relay.registry._draw", lambda: next(draws))
    assert registry.offer("heron", now=NOW, host="h", port=1, ca_der=b"")["kid"] == "01020304"


def test_complete(registry: Registry, store: Store) -> None:
    offered = offer(store)
    document, bracelet = answer(offered)
    entry = registry.complete(document, now=NOW + 60)
    assert (entry.kid, entry.state, entry.completed_ms) == (offered["kid"], "active", int((NOW + 60) * 1000))
    row = bracelet_row(store)
    assert row["offer_key_sealed"] is None, "the relay's private key for this device is gone"
    assert row["public"] == bracelet.sealer.public
    kid = int(offered["kid"], 16)
    with store.read() as connection:
        stored = chains.read(connection, store.box, [kid])
    assert {name: chain.state.next for (_, name), chain in stored.items() if chain} == {
        "alarm": 0,
        "heartbeat": 0,
        "down": 0,
    }
    down = stored[kid, "down"]
    assert down is not None
    assert down.state == bracelet.down


def test_one_answer_only(registry: Registry, store: Store) -> None:
    offered = offer(store)
    registry.complete(answer(offered)[0], now=NOW)
    before = contents(store)
    with pytest.raises(RegistryError, match="answered or revoked"):
        registry.complete(answer(offered)[0], now=NOW)
    assert contents(store) == before


GOOD = {"tocsin": 1, "kid": "01020304", "ed25519": "00" * 32, "x25519": "00" * 32}


@pytest.mark.parametrize(
    "change",
    [
        {"tocsin": 2},
        {"tocsin": True},
        {"tocsin": 1.0},
        {"kid": "0102030"},
        {"kid": "0102030G"},
        {"kid": "0102030A"},
        {"kid": 16909060},
        {"kid": "01020304\n"},
        {"ed25519": "00" * 31},
        {"ed25519": "AA" * 32},
        {"ed25519": None},
        {"x25519": "0" * 65},
        {"x25519": ["00" * 32]},
        {"extra": 1},
    ],
)
def test_malformed_answers(registry: Registry, store: Store, change: dict[str, Any]) -> None:
    document, _ = answer(offer(store))
    before = contents(store)
    with pytest.raises(RegistryError):
        registry.complete({**document, **change}, now=NOW)
    assert contents(store) == before


@pytest.mark.parametrize("document", [None, [], "x", 1, {}, {"tocsin": 1}, {**GOOD, "kid": "0badcafe"}])
def test_no_answers(registry: Registry, document: object) -> None:
    with pytest.raises(RegistryError):
        registry.complete(document, now=NOW)


@pytest.mark.parametrize("public", ["00" * 32, "01" + "00" * 31, "ff" * 32, "02" + "00" * 31])
def test_weak_signing_keys(registry: Registry, store: Store, public: str) -> None:
    document, _ = answer(offer(store))
    with pytest.raises(RegistryError, match="Ed25519"):
        registry.complete({**document, "ed25519": public}, now=NOW)


@pytest.mark.parametrize("public", ["00" * 32, "01" + "00" * 31])
def test_weak_agreement_keys(registry: Registry, store: Store, public: str) -> None:
    document, _ = answer(offer(store))
    before = contents(store)
    with pytest.raises(RegistryError, match="X25519"):
        registry.complete({**document, "x25519": public}, now=NOW)
    assert contents(store) == before


def test_two_bracelets_with_one_key(registry: Registry, store: Store) -> None:
    first, bracelet = answer(offer(store))
    registry.complete(first, now=NOW)
    second, _ = answer(offer(store))
    with pytest.raises(RegistryError, match="another bracelet"):
        registry.complete({**second, "ed25519": bracelet.sealer.public.hex()}, now=NOW)
    assert registry.get(second["kid"]).state == "offered"


def test_revoke(registry: Registry, store: Store) -> None:
    bracelet = provision(store)
    entry = registry.revoke(bracelet.kid, now=NOW + 9)
    assert (entry.state, entry.revoked_ms) == ("revoked", int((NOW + 9) * 1000))
    assert contents(store)["chain"] == [], "its keys are gone"
    assert registry.accounts() == []
    with pytest.raises(RegistryError, match="already"):
        registry.revoke(bracelet.kid, now=NOW)
    with pytest.raises(RegistryError, match="answered or revoked"):
        registry.complete({**GOOD, "kid": bracelet.kid, "ed25519": bracelet.sealer.public.hex()}, now=NOW)


def test_revoke_an_offer(registry: Registry, store: Store) -> None:
    offered = offer(store)
    registry.revoke(offered["kid"], now=NOW)
    assert bracelet_row(store)["offer_key_sealed"] is None
    with pytest.raises(RegistryError, match="answered or revoked"):
        registry.complete(answer(offered)[0], now=NOW)


@pytest.mark.parametrize("kid", ["0badcafe", "0BADCAFE", "", "nobody", "0badcafe0"])
def test_who_is_not_there(registry: Registry, kid: str) -> None:
    with pytest.raises(RegistryError, match="key id"):
        registry.revoke(kid, now=NOW)
    with pytest.raises(RegistryError, match="key id"):
        registry.get(kid)


def test_accounts(registry: Registry, store: Store) -> None:
    first, second = offer(store), offer(store)
    document, _ = answer(first)
    registry.complete(document, now=NOW)
    accounts = {account.kid: account.password for account in registry.accounts()}
    assert accounts == {offered["kid"]: offered["mqtt"]["password"] for offered in (first, second)}
    assert first["mqtt"]["password"] not in repr(registry.accounts())


def test_every_change_is_noticed_and_noted(registry: Registry, store: Store) -> None:
    versions = [registry.version()]
    offered = offer(store)
    versions.append(registry.version())
    registry.complete(answer(offered)[0], now=NOW)
    versions.append(registry.version())
    registry.revoke(offered["kid"], now=NOW)
    versions.append(registry.version())
    assert versions == sorted(set(versions))
    kid = int(offered["kid"], 16)
    assert [row[2:] for row in contents(store)["audit"] if row[4] is not None] == [
        ("operator", action, kid, None) for action in ("bracelet.offered", "bracelet.completed", "bracelet.revoked")
    ]


def test_the_list_prints_no_names(registry: Registry, store: Store) -> None:
    offer(store, "blue heron")
    assert "heron" not in repr(registry.list())


def test_both_sides_derive_the_same() -> None:
    one, two = bytes(31) + b"\1", bytes(31) + b"\2"
    base = b"\x09" + bytes(31)
    assert agree(one, agree(two, base)) == agree(two, agree(one, base))
    assert roots(bytes(32), b"kid1", bytes(8)) != roots(bytes(32), b"kid2", bytes(8))
