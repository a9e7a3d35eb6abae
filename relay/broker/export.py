"""Format the users, passwords and rules of everyone on the broker as files for a broker of one's own.

Passwords are hashed where the format has hashes. relay/README.md says what each broker's rules can't express: mosquitto
makes the client id of the name; RabbitMQ does not, and only keeps others out of a session's queue. Nothing here writes
a file or connects.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from relay.broker import MqttUser
from relay.broker.mosquitto import BOUNDS, access, passwords

_VHOST = "/"
_LEVELS = {"+": "[^.]+", "#": ".*"}


def mosquitto(users: Sequence[MqttUser]) -> dict[str, str]:
    """Return password_file, acl_file, and the settings that keep one account from harming another."""
    settings = "".join(f"{name} {value}\n" for name, value in BOUNDS.items())
    return {"passwords": passwords(users), "acl": access(users), "bounds.conf": settings}


def rabbitmq(users: Sequence[MqttUser]) -> dict[str, str]:
    """Return definitions to be imported: a user's own queues, and what it may publish to and bind on amq.topic.

    Form of the queues' names and of topics: RabbitMQ's rabbit_mqtt plugin, 3.10 to 4; of the hash: rabbitmq.com,
    Password hashing."""
    own: list[dict[str, Any]] = []
    topics: list[dict[str, Any]] = []
    for user in users:
        ids = ".*" if user.any_id else "|".join(re.escape(one) for one in (user.name, *user.ids))
        queues = f"mqtt-subscription-({ids})qos[01]|mqtt-will-({ids})"
        common = {"user": user.name, "vhost": _VHOST}
        own.append({**common, "configure": f"^({queues})$", "write": f"^({queues}|amq\\.topic)$"})
        own[-1]["read"] = own[-1]["write"]
        rights = {"write": _pattern(user.publish), "read": _pattern(user.subscribe)}
        topics.append({**common, "exchange": "amq.topic", **rights})
    definitions = {
        "users": [
            {
                "name": user.name,
                "password_hash": _rabbit_hash(user.password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for user in users
        ],
        "permissions": own,
        "topic_permissions": topics,
    }
    return {"definitions.json": json.dumps(definitions, indent=1) + "\n"}


def plain(users: Sequence[MqttUser]) -> dict[str, str]:
    """Return everything, passwords as they are, for a program that makes the rules of another broker."""
    listed = [
        {
            "user": user.name,
            "password": user.password,
            "client_ids": None if user.any_id else [user.name, *user.ids],
            "publish": list(user.publish),
            "subscribe": list(user.subscribe),
        }
        for user in users
    ]
    return {"accounts.json": json.dumps(listed, indent=1) + "\n"}


FORMATS: dict[str, Callable[[Sequence[MqttUser]], dict[str, str]]] = {
    "mosquitto": mosquitto,
    "rabbitmq": rabbitmq,
    "json": plain,
}


def _pattern(topics: Sequence[str]) -> str:
    """Return topic filters as one regular expression over routing keys; `^$` allows nothing."""
    if not topics:
        return "^$"
    parts = []
    for topic in topics:
        # A subscription's own filter is compared too, in AMQP's form: * for one level, # for the rest.
        parts.append(r"\.".join(_LEVELS.get(level) or re.escape(level) for level in topic.split("/")))
    return f"^({'|'.join(parts)})$"


def _rabbit_hash(password: str) -> str:
    salt = os.urandom(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
