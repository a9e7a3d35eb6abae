"""Speak the auth callout of nats-server, without its connections: read what the server asks, and make the answers.

The server asks for each connection, in a JWT; the answer is one too, signed by an account key that only the server's
configuration and the gate know. Formats: nats-io/jwt, authorization_claims.go and user_claims.go (version 2);
server/auth_callout.go of nats-server 2.15 says what is checked. `relay.broker` defines who may do what.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import nkeys  # type: ignore[import-untyped]  # it has no annotations

from relay.broker import Rules
from relay.broker.accounts import AccountRules

ACCOUNT = "TOCSIN"  # nats-server's word for the space that all MQTT clients share
SUBJECT = "$SYS.REQ.USER.AUTH"
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}


@dataclass(frozen=True)
class Request:
    """A connection that asks to be let in."""

    user_key: str
    server: str
    mqtt: bool
    name: str
    password: str
    client_id: str

    def __repr__(self) -> str:
        return "Request()"


def read(message: bytes) -> Request:
    """Read a request out of the server's message. The connection that it came by is the server's own, so the server's
    signature adds nothing. Raises ValueError when the message is no request."""
    try:
        asked = json.loads(_unbase64(message.split(b".")[1]))["nats"]
        client, options = asked["client_info"], asked["connect_opts"]
        return Request(
            user_key=asked["user_nkey"],
            server=asked["server_id"]["id"],
            mqtt=client.get("type") == "mqtt",
            name=options.get("user", ""),
            password=options.get("pass", ""),
            client_id=client.get("mqtt_id", ""),
        )
    except (LookupError, TypeError) as error:
        raise ValueError("not an authorization request") from error


def judge(request: Request, account: AccountRules | None) -> str | None:
    """Return the reason to refuse this connection, None when it is let in."""
    if not request.mqtt:
        return "only MQTT is served"
    if account is None or not account.accepts(request.password):
        return "unknown name or wrong password"
    if not account.allows_id(request.client_id):
        return "the client id is not the account's name"
    return None


class Issuer:
    """A signer of answers."""

    def __init__(self, seed: bytes) -> None:
        self._pair = nkeys.from_seed(seed)
        self.public: str = self._pair.public_key.decode()

    def admit(self, request: Request, rules: Rules, now: int) -> bytes:
        """Make the answer that lets a connection in, with its rules."""
        user = {
            "iss": self.public,
            "iat": now,
            "sub": request.user_key,
            "aud": ACCOUNT,
            "name": rules.name,
            "nats": {
                "type": "user",
                "version": 2,
                "pub": _permission(rules.publish),
                "sub": _permission(rules.subscribe),
                "subs": rules.subscriptions,
                "data": -1,
                "payload": rules.payload,
                "allowed_connection_types": ["MQTT"],
            },
        }
        return self._answer(request, now, {"jwt": self._sign(user).decode()})

    def refuse(self, request: Request, reason: str, now: int) -> bytes:
        """Make the answer that keeps a connection out."""
        return self._answer(request, now, {"error": reason})

    def _answer(self, request: Request, now: int, said: dict[str, str]) -> bytes:
        nats = {"type": "authorization_response", "version": 2, **said}
        whom = {"sub": request.user_key, "aud": request.server}
        return self._sign({"iss": self.public, "iat": now, **whom, "nats": nats})

    def _sign(self, claims: dict[str, Any]) -> bytes:
        body = json.dumps(claims).encode()
        identity = base64.b32encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        claims = {**claims, "jti": identity}
        signed = _base64(json.dumps(_HEADER).encode()) + b"." + _base64(json.dumps(claims).encode())
        return signed + b"." + _base64(self._pair.sign(signed))


def subjects(topic: str) -> list[str]:
    """Return an MQTT topic filter as NATS subjects; `a/#` also matches `a`, which `a.>` does not."""
    subject = topic.replace("/", ".").replace("+", "*")
    if subject.endswith(".#"):
        return [subject[:-2], subject[:-2] + ".>"]
    return [subject]


def _permission(topics: tuple[str, ...]) -> dict[str, object]:
    # An empty list of allowed subjects would mean all of them.
    allowed = [subject for topic in topics for subject in subjects(topic)]
    return {"allow": allowed} if allowed else {"deny": [">"]}


def _base64(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def _unbase64(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
