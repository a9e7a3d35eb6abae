"""Start known brokers with the relay's accounts and rules, and kill them.

For `relay broker check --crash`, which developers run: a relay starts none of these but nats-server. Each is set up as
well as it can be, so that a fault which the check then finds is the broker's, not its operator's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from relay.broker import BrokerError, MqttUser
from relay.broker.export import plain, rabbitmq
from relay.broker.mosquitto import MosquittoBroker
from relay.broker.nats import VERSION as NATS_VERSION
from relay.broker.nats import NatsBroker
from relay.broker.process import Child, ChildBroker, free_port, write_private

RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_DAYS = 7
_LONGEST = 65536
_NEWER_MOSQUITTO = "forky"  # the Debian that has 2.1


class Missing(BrokerError):
    """A broker that is not on this machine; the message says how it can be had."""


@dataclass(frozen=True)
class Found:
    """The places of programs that no package manager puts in one place."""

    node_modules: Path | None = None
    amqtt_python: Path | None = None


Where = tuple[Path, str, int, Path, Path, Iterable[MqttUser]]  # as ChildBroker takes them


def kill(broker: ChildBroker) -> None:
    """Send SIGKILL to the broker and all that it has started."""
    assert broker.pid is not None
    os.killpg(broker.pid, signal.SIGKILL)  # each broker is started in a session of its own
    while broker.poll() is None:
        pass


class _OtherBroker(ChildBroker):
    """The common part of the brokers that the relay never runs."""

    def reload(self, users: Iterable[MqttUser]) -> None:
        self.users = list(users)
        self.write_configuration()

    def take_certificate(self) -> None:
        pass


class RabbitBroker(_OtherBroker):
    """Debian's rabbitmq-server with its MQTT plugin. Keys: rabbitmq.com, Configuration, and MQTT Plugin."""

    _epmd: Child | None = None

    def command(self) -> Sequence[str]:
        if self._epmd is None:  # else the broker starts one, and leaves it behind
            names = str(free_port(self.host))
            self._epmd = Child(["env", f"ERL_EPMD_PORT={names}", "ERL_EPMD_ADDRESS=127.0.0.1", "epmd"])
            self._names = names
        settings = {
            "HOME": self.folder,  # of the cookie
            "ERL_EPMD_PORT": self._names,
            "RABBITMQ_NODENAME": f"tocsin{self.port}@localhost",
            "RABBITMQ_DIST_PORT": free_port(self.host),
            "RABBITMQ_MNESIA_BASE": self.folder / "mnesia",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_PID_FILE": self.folder / "rabbitmq.pid",
            "RABBITMQ_LOGS": "-",
        }
        return ["env", *(f"{name}={value}" for name, value in settings.items()), str(RABBITMQ)]

    def write_configuration(self) -> None:
        definitions = json.loads(rabbitmq(self.users)["definitions.json"])
        definitions["vhosts"] = [{"name": "/"}]
        write_private(self.folder / "definitions.json", json.dumps(definitions))
        write_private(self.folder / "plugins", "[rabbitmq_mqtt].\n")
        settings = {
            "listeners.tcp": "none",
            "mqtt.listeners.tcp": "none",
            "mqtt.listeners.ssl.1": f"{self.host}:{self.port}",
            "ssl_options.certfile": self.cert,
            "ssl_options.keyfile": self.key,
            "ssl_options.verify": "verify_none",
            "mqtt.allow_anonymous": "false",
            "mqtt.prefetch": 1000,
            "mqtt.subscription_ttl": _DAYS * 86_400_000,
            "mqtt.retained_message_store": "rabbit_mqtt_retained_msg_store_dets",
            "max_message_size": _LONGEST,
            "load_definitions": self.folder / "definitions.json",
        }
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        write_private(self.folder / "rabbitmq.conf", text)

    def stop(self) -> None:
        super().stop()
        if self._epmd is not None:
            self._epmd.stop()
            self._epmd = None


class AedesBroker(_OtherBroker):
    """aedes with LevelDB, by node."""

    modules: Path

    def command(self) -> Sequence[str]:
        script = files("relay.broker.check") / "aedes_broker.mjs"
        return ["node", str(script), str(self.folder / "settings.json")]

    def write_configuration(self) -> None:
        write_private(self.folder / "accounts.json", plain(self.users)["accounts.json"])
        settings = {
            "modules": str(self.modules),
            "accounts": str(self.folder / "accounts.json"),
            "store": str(self.folder / "level"),
            "host": self.host,
            "port": self.port,
            "cert": str(self.cert),
            "key": str(self.key),
        }
        write_private(self.folder / "settings.json", json.dumps(settings))


class AmqttBroker(_OtherBroker):
    """amqtt with its own plugins for accounts, rules and sessions. Keys: amqtt's documentation, Packaged Plugins."""

    python: Path

    def command(self) -> Sequence[str]:
        return [str(self.python), "-m", "amqtt.scripts.broker_script", "-c", str(self.folder / "amqtt.yaml")]

    def write_configuration(self) -> None:
        hashing = (
            "import json, sys; from pwdlib.hashers.argon2 import Argon2Hasher; "
            "hasher = Argon2Hasher(time_cost=1, memory_cost=64); "
            "print(json.dumps({name: hasher.hash(word) for name, word in json.load(sys.stdin).items()}))"
        )
        asked = json.dumps({user.name: user.password for user in self.users})
        done = subprocess.run([self.python, "-c", hashing], input=asked, capture_output=True, text=True, check=True)
        hashes = json.loads(done.stdout)
        write_private(self.folder / "passwords", "".join(f"{name}:{word}\n" for name, word in hashes.items()))
        may_publish = {user.name: list(user.publish) for user in self.users}
        may_subscribe = {user.name: list(user.subscribe) for user in self.users}
        listener = {
            "type": "tcp",
            "bind": f"{self.host}:{self.port}",
            "ssl": True,
            "certfile": str(self.cert),
            "keyfile": str(self.key),
        }
        settings = {
            "listeners": {"default": listener},
            "session_expiry_interval": _DAYS * 86_400,
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(self.folder / "passwords")},
                "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {
                    "publish_acl": may_publish,
                    "acl": may_subscribe,
                },
            },
        }
        write_private(self.folder / "amqtt.yaml", json.dumps(settings, indent=1))  # JSON is YAML


def _nats(where: Where, _found: Found) -> tuple[str, ChildBroker]:
    return NATS_VERSION, NatsBroker(*where)


def _mosquitto(where: Where, _found: Found) -> tuple[str, ChildBroker]:
    from hwsim import toolchain

    tool = toolchain.find_mosquitto()
    return tool.version, MosquittoBroker(*where, program=tool.argv)


def _newer_mosquitto(where: Where, _found: Found) -> tuple[str, ChildBroker]:
    from hwsim import toolchain

    try:
        tool = toolchain.find_mosquitto(_NEWER_MOSQUITTO)
    except toolchain.ToolchainError as error:
        raise Missing(str(error)) from None
    return tool.version, MosquittoBroker(*where, program=tool.argv)


def _rabbitmq(where: Where, _found: Found) -> tuple[str, ChildBroker]:
    if not RABBITMQ.exists():
        raise Missing("install Debian's package rabbitmq-server")
    version = next((path.name.partition("-")[2] for path in RABBITMQ.parents[1].glob("lib/rabbitmq_server-*")), "")
    return version, RabbitBroker(*where)


def _aedes(where: Where, found: Found) -> tuple[str, ChildBroker]:
    advice = "run `npm install aedes aedes-persistence-level level`, and name its folder in --node-modules"
    if shutil.which("node") is None or found.node_modules is None:
        raise Missing(advice)
    try:
        version = json.loads((found.node_modules / "aedes/package.json").read_text())["version"]
    except OSError:
        raise Missing(advice) from None
    broker = AedesBroker(*where)
    broker.modules = found.node_modules.absolute()
    return version, broker


def _amqtt(where: Where, found: Found) -> tuple[str, ChildBroker]:
    python = found.amqtt_python
    if python is None and importlib.util.find_spec("amqtt") is not None:
        python = Path(sys.executable)
    if python is None:
        raise Missing("run `pip install amqtt` in an environment of its own, and name its python in --amqtt-python")
    asked = [str(python), "-c", "import amqtt; print(amqtt.__version__)"]
    answer = subprocess.run(asked, capture_output=True, text=True)
    if answer.returncode:
        raise Missing(f"{python} has no amqtt: run `{python} -m pip install amqtt`")
    broker = AmqttBroker(*where)
    broker.python = python.absolute()
    return answer.stdout.strip(), broker


KNOWN: dict[str, Callable[[Where, Found], tuple[str, ChildBroker]]] = {
    "nats-server": _nats,
    "mosquitto-2.0": _mosquitto,
    "mosquitto-2.1": _newer_mosquitto,
    "rabbitmq": _rabbitmq,
    "aedes": _aedes,
    "amqtt": _amqtt,
}
