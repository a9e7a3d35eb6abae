"""The relay's configuration: `relay.toml` in the data folder, each key overridable from the environment
(`TOCSIN_MQTT__PORT=8883`).

This module says which keys exist, what they mean and what is wrong with a value. The configuration holds no secret: it
names the files that hold passwords and keys. An unknown key is an error, because people would find out on the wrong
night that a misspelt limit was silently ignored.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from relay.datadir import SECRET_RELAY, DataDir
from relay.pki import is_name

E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")


class ConfigError(Exception):
    """An unusable configuration. The message names file, key and what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mqtt(_Section):
    """The broker's addresses, for the relay and for bracelets, and the relay's account there."""

    host: str = Field(
        default="localhost", min_length=1, description="name the relay connects to; must be in the broker's certificate"
    )
    port: int = Field(default=8883, ge=1, le=65535, description="a TCP port, 1 to 65535")
    public_host: str = Field(
        default="localhost",
        min_length=1,
        description="name that bracelets connect to; must be in the broker's certificate",
    )
    public_port: int | None = Field(
        default=None, ge=1, le=65535, description="a TCP port, when bracelets use another one than the relay"
    )
    ca: str = Field(
        default="tls/ca.pem",
        min_length=1,
        description="file with the certificate of the CA that signed the broker's certificate",
    )
    user: str = Field(
        default="relay",
        min_length=1,
        description="MQTT user name of the relay; unless you name another, each session has an account of its own, "
        "which is named as its client id",
    )
    password_file: str = Field(
        default=f"secrets/{SECRET_RELAY}", min_length=1, description="file that holds the password"
    )
    sessions: str = Field(
        default="intake-1",
        pattern=r"^[A-Za-z0-9-]{1,21}$",
        description="1 to 21 letters, digits or hyphens; with -a and -h the client ids of the relay's two sessions",
    )
    client_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]{1,23}$",
        description="client id of an earlier version's one session, which is ended at the start; else leave it out",
    )
    keepalive: int = Field(default=30, ge=5, le=600, description="seconds, 5 to 600")


class Broker(_Section):
    """The embedded broker."""

    embedded: bool = Field(
        default=True, description="true: start nats-server as a child; false: the broker of [mqtt] is run by you"
    )
    listen: str = Field(default="0.0.0.0", min_length=1, description="address to listen on")
    names: list[str] = Field(
        default_factory=lambda: ["localhost", "127.0.0.1"],
        min_length=1,
        description="names and addresses for its certificate, which is renewed if need be",
    )

    @field_validator("names")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        if not all(is_name(name) for name in value):
            raise ValueError("must be host names in ASCII (xn--… for others) or IP addresses")
        return value


class Sms(_Section):
    """The modem for alarms that come by SMS. Without `port` there is no SMS."""

    port: str | None = Field(default=None, description="serial port of the modem, for example /dev/ttyUSB2")
    baud: int = Field(default=115200, ge=1200, le=4_000_000, description="bits per second")
    rtscts: bool = Field(default=False, description="hardware flow control, if the modem's wires have it")
    number: str | None = Field(default=None, description="the modem's own number, +… ; goes into new bracelets")
    storage: Literal["SM", "ME", "MT"] = Field(default="SM", description="where the modem keeps messages: SM, ME or MT")
    pin_file: str | None = Field(default=None, description="file that holds the SIM's PIN, if it has one")
    power_cycle: list[str] = Field(
        default_factory=list, description="command that switches the modem off and on, tried when it stops answering"
    )

    @field_validator("number")
    @classmethod
    def _number(cls, value: str | None) -> str | None:
        if value is not None and not E164.match(value):
            raise ValueError("must be + and 7 to 15 digits")
        return value


class Store(_Section):
    """The database."""

    url: str | None = Field(default=None, description="SQLAlchemy URL; left out: relay.sqlite3 in the data folder")


class Limits(_Section):
    """Bounds. The defaults hold for thousands of bracelets."""

    batch: int = Field(default=500, ge=1, le=5000, description="messages in one transaction at most")
    queue: int = Field(
        default=20_000, ge=100, le=60_000, description="messages waiting in memory at most, unacknowledged"
    )
    receipts_by_sms: int = Field(default=500, ge=10, le=10_000, description="receipts waiting for the modem at most")
    duplicate_sms_per_hour: int = Field(
        default=20, ge=1, le=1000, description="repeated receipts by SMS per bracelet and hour"
    )
    flood_per_s: int = Field(
        default=200, ge=1, le=100_000, description="messages a second beyond which an account floods the relay"
    )
    flood_s: int = Field(
        default=10, ge=1, le=3600, description="seconds of that until the account is cut off at the broker"
    )
    cut_off_s: int = Field(
        default=600, ge=1, le=86_400, description="seconds for which a flooding account is cut off at the broker"
    )
    flood_sms_per_minute: int = Field(
        default=30, ge=1, le=1000, description="SMS a minute beyond which a sender floods the relay"
    )


class Config(BaseSettings):
    """The whole configuration. Use `load`, which knows the file and words the errors."""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", env_nested_delimiter="__", extra="forbid", frozen=True)

    mqtt: Mqtt = Mqtt()
    broker: Broker = Broker()
    sms: Sms = Sms()
    store: Store = Store()
    limits: Limits = Limits()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = cls.model_config.get("toml_file")
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=toml))


def load(data: DataDir) -> Config:
    """Read the configuration of a data folder and the environment; raises ConfigError."""
    file = data.require().config

    class Bound(Config):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        return Bound()
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: is not TOML: {error}; correct that line") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: is not UTF-8 text; save it as UTF-8") from None
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(file, e["loc"], e["type"], e["msg"]) for e in error.errors())) from None


def _explain(file: Path, where: tuple[Any, ...], kind: str, message: str) -> str:
    names = [str(part) for part in where]
    section = Config.model_fields.get(names[0]) if names else None
    key = ".".join(names)
    env = "TOCSIN_" + "__".join(n.upper() for n in names)
    if kind == "extra_forbidden":
        known = _keys_of(names[0]) if section is not None else sorted(Config.model_fields)
        return f"{file}: {key}: there is no such key; here you can set {', '.join(known)}"
    hint = ""
    model = section.annotation if section is not None else None
    if isinstance(model, type) and issubclass(model, BaseModel) and len(names) > 1 and names[1] in model.model_fields:
        hint = f"; expected: {model.model_fields[names[1]].description}"
    return f"{file}: {key}: {message[:1].lower()}{message[1:]}{hint}. Correct it there, or in the environment as {env}"


def _keys_of(section: str) -> list[str]:
    model = Config.model_fields[section].annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return sorted(model.model_fields)


def render_default(*, names: list[str], listen: str, port: int, sms_port: str | None, sms_number: str | None) -> str:
    """Write a new relay.toml: the keys that a newcomer may want to change, explained; others in comments."""
    quoted = ", ".join(_quote(n) for n in names)
    sms_lines = [
        f"port = {_quote(sms_port)}"
        if sms_port
        else '# port = "/dev/ttyUSB2"   # serial port of the modem; without it there is no SMS',
        f"number = {_quote(sms_number)}"
        if sms_number
        else '# number = "+…"           # the modem\'s own number; goes into new bracelets',
    ]
    return f"""\
# Configuration of a Tocsin relay. Paths count from this folder. Each key can also come from the environment: mqtt.port
# as TOCSIN_MQTT__PORT. Secrets are not here but in files under secrets/ and keys/.

[mqtt]
host = "localhost"            # name the relay itself connects to; must be in the broker's certificate
port = {port}
# sessions = "intake-1"       # client ids of the relay's sessions, with -a and -h; what came meanwhile waits there.
                              # Choose random ones on a broker of your own that does not bind a client id to an account:
                              # who knows them can push the relay off
public_host = {_quote(names[0])}     # name that bracelets connect to; must be in the broker's certificate
# ca = "tls/ca.pem"           # the CA that signed the broker's certificate

[broker]
embedded = true               # false: you run the broker named in [mqtt] yourself
listen = {_quote(listen)}
names = [{quoted}]

[sms]
{sms_lines[0]}
{sms_lines[1]}
# pin_file = "secrets/sim-pin"
# power_cycle = ["/usr/local/bin/modem-power-cycle"]   # tried when the modem stops answering

[store]
# url = "sqlite:///…"         # left out: relay.sqlite3 in this folder
"""


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
