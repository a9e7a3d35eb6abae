"""Puts a relay together from its data folder: who gets which key, password, file and limit. No behaviour of its own."""

from __future__ import annotations

import hashlib
import re
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from relay import config, pki, readiness, store, together
from relay import log as relay_log
from relay.broker import PROGRAMMER, MqttUser, own_users, temporary_id, users_for
from relay.broker.nats import NatsBroker
from relay.config import Config, ConfigError
from relay.datadir import RECOVERY_PUBLIC, SECRET_RELAY, DataDir, DataDirError, read_secret, write_private
from relay.duties import STORE_ERRORS
from relay.ingest.mqtt import Endpoint, client_tls
from relay.ingest.serial_port import SmsLink, open_serial
from relay.ingest.sessions import Former, client_ids
from relay.ingest.sms import Modem
from relay.log import Logger
from relay.outbox import Outbox, OutboxId
from relay.pipeline import Pipeline
from relay.registry import Registry
from relay.rollback import Lead
from relay.service import Service
from relay.store import Store
from relay.store.schema import COUNTERS
from relay.subscribers.file import SubscriberFile
from relay.subscribers.local import Home, local
from relay.subscribers.register import LOCAL, Subscribers
from relay.verify.keys import RelayKeys

RENEW_BEFORE = timedelta(days=90)
_REPLACED = (
    "another database was put in the place of this relay's while it ran; it goes on with that one. What was stored "
    "since that copy is lost. Stop the relay first next time, and use `relay backup` and `relay restore`"
)
_PIN = re.compile(r"[0-9]{4,8}")
_REFUSED = "start this command again, in case `watch` was rotated; else see whether the broker has the newest accounts"


class Relay:
    """A data folder with everything that belongs to it, each part opened when it is first used. `clock` tells the time;
    the default is this machine's clock, which may be wrong by years and may be set at any moment."""

    def __init__(self, data: DataDir, clock: Callable[[], datetime] | None = None) -> None:
        self.data = data
        self._clock = clock

    @cached_property
    def config(self) -> Config:
        return config.load(self.data)

    @cached_property
    def keys(self) -> RelayKeys:
        keys = RelayKeys(self.data.signing_seed())
        together.check_public(self.data, keys)
        return keys

    @cached_property
    def store(self) -> Store:
        together.check_database(self.data, self.store_url)
        opened = store.open(self.store_url, self.data.store_key())
        try:
            together.claim(self.data, opened, self.keys, with_ca=self.config.broker.embedded)
            together.check_recovery(self.data, self.keys)
        except BaseException:
            opened.close()
            raise
        return opened

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.store, self.keys)

    @cached_property
    def subscribers(self) -> Subscribers:
        return Subscribers(self.store)

    def users(self) -> Sequence[MqttUser]:
        """List everyone who may connect to the broker now, for a broker that needs a list."""
        return users_for(
            self.registry.accounts(),
            self.data.secret(SECRET_RELAY),
            self._subscriber_accounts(),
            client_ids(self.config.mqtt.sessions),
        )

    def own_users(self) -> Sequence[MqttUser]:
        """List the relay's own accounts. The embedded broker's gate finds all others in the store."""
        return own_users(self.data.secret(SECRET_RELAY), client_ids(self.config.mqtt.sessions))

    def note_exported(self, accounts_hash: str) -> None:
        """Remember which accounts the operator's own broker was given."""
        write_private(self.data.exported, accounts_hash.encode())

    def lacks_accounts(self) -> bool:
        """Tell whether accounts came, went or changed since the operator's own broker was given them."""
        try:
            return self.data.exported.read_text(errors="replace") != self.accounts_hash()
        except FileNotFoundError:
            return True

    def _subscriber_accounts(self) -> Sequence[tuple[str, str, str]]:
        # Of a damaged profile nobody knows the password; with an empty one anybody could connect.
        entries = self.subscribers.list()
        return [(entry.account, entry.password, entry.audience) for entry in entries if entry.password]

    def accounts_hash(self) -> str:
        """Hash all accounts that there are now."""
        names = [*(user.name for user in self.own_users()), *self.registry.account_names()]
        subscribers = [" ".join(account) for account in self._subscriber_accounts()]  # they get other passwords too
        return hashlib.sha256("\n".join([*names, *subscribers]).encode()).hexdigest()

    def _known_users(self, log: Logger) -> Sequence[MqttUser]:
        """List the accounts of which the running service tells the broker. Only the operator can tell their own broker
        of the others, so warn when that broker lacks some."""
        if not self.config.broker.embedded and self.lacks_accounts():
            hint = "run `relay broker accounts`, give the broker the files, and have it read them again"
            log.warning("broker.lacks_accounts", hint=hint)
        return self.own_users()

    def _ca(self) -> Path:
        file = self.data.resolve(self.config.mqtt.ca)
        if not file.exists():
            what = "restore it from your backup" if file.is_relative_to(self.data.path) else "put it there again"
            raise DataDirError(f"{file}: is missing; {what}, or correct mqtt.ca in {self.data.config}")
        return file

    def ca_der(self) -> bytes:
        """Return the CA in the form that bracelets are given."""
        file = self._ca()
        try:
            return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{file}: is not a certificate in PEM ({type(error).__name__}); correct mqtt.ca in {self.data.config}"
            ) from None

    def tls(self) -> ssl.SSLContext:
        file = self._ca()
        try:
            # The embedded broker's certificate is the relay's own: a wrong clock must not part the two.
            return client_tls(file, check_time=not self.config.broker.embedded)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"{file}: is not a certificate in PEM ({type(error).__name__}); correct mqtt.ca in {self.data.config}"
            ) from None

    def endpoint(self) -> Endpoint:
        """Return the relay's own account at the broker."""
        mqtt = self.config.mqtt
        password = read_secret(self.data.resolve(mqtt.password_file))
        return Endpoint(mqtt.host, mqtt.port, mqtt.sessions, mqtt.user, password, self.tls(), mqtt.keepalive)

    def home(self) -> Home:
        """Describe this relay for its subscribers."""
        mqtt, file = self.config.mqtt, self.data.resolve(self.config.mqtt.ca)
        self.ca_der()  # raises if something is wrong with the file
        return Home(mqtt.public_host, mqtt.public_port or mqtt.port, file.read_text(), self.keys.public)

    def local_subscriber(self) -> SubscriberFile:
        """Return this machine's own subscriber; make one if this folder has none."""
        return local(self.subscribers, self.data.watch, self.home(), self._now().timestamp())[0]

    def temporary(self, subscriber: SubscriberFile, number: int = 0) -> Endpoint:
        """Return an endpoint for a look as this subscriber: a clean session, which leaves nothing at the broker.
        `number` tells the subscriber's temporary clients apart."""
        mqtt = self.config.mqtt
        name = temporary_id(subscriber.account, number)
        account = (subscriber.account, subscriber.password)
        return Endpoint(mqtt.host, mqtt.port, name, *account, self.tls(), mqtt.keepalive, True, _REFUSED)

    def programmer(self) -> Endpoint:
        """Return the account that leaves bundles with the broker. A broker that derives the client id from the
        account's name would end the relay's session if bundles used the relay's own account."""
        return replace(self.endpoint(), user=PROGRAMMER, client_id=PROGRAMMER)

    @property
    def store_url(self) -> str:
        return self.config.store.url or self.data.db_url

    def broker(self) -> NatsBroker | None:
        """Make the embedded broker; return None if the configuration says that somebody else runs one."""
        if not self.config.broker.embedded:
            return None
        data, listen = self.data, self.config.broker.listen
        self.renew_certificate()
        where = data.broker, listen, self.config.mqtt.port, data.server_cert, data.server_key
        return NatsBroker(*where, self.own_users(), store=self.store_url, tell=True, log_json=relay_log.is_json())

    def _cut_off(self, broker: NatsBroker | None, kid: str, seconds: float) -> bool:
        """Keep a bracelet's account off the embedded broker for a while; tell whether that was done."""
        if broker is None:
            return False
        try:
            name = self.registry.account_name(kid)
            if name is not None:
                broker.bar(name, seconds)
        except STORE_ERRORS:
            return False
        return name is not None

    def vouches_for(self, host: str) -> bool:
        """Tell whether bracelets that know the embedded broker by this name will trust its certificate."""
        data, now = self.data, self._now()
        for file in (data.server_cert, data.server_key):
            if not file.exists():
                raise DataDirError(f"{file}: is missing; start the relay, which makes a new one, and repeat")
        return pki.is_fit(data.server_cert.read_bytes(), data.server_key.read_bytes(), [host], now, now)

    def _now(self) -> datetime:
        return pki.plausible(self._clock() if self._clock else datetime.now(UTC))

    def renew_certificate(self) -> bool:
        """Make a new server certificate when the old one is not valid now or nears its end, lacks a name that the
        configuration has, is of another CA, or is missing; tell whether one was made. The new one comes from the same
        CA, so bracelets take it as they took the old one."""
        data, now = self.data, self._now()
        names = (*self.config.broker.names, self.config.mqtt.host, self.config.mqtt.public_host)
        try:
            if self._has_fit_certificate(names, now):
                return False
            authority = pki.load_ca(data.ca_cert.read_bytes(), data.ca_key.read_bytes())
            if not pki.is_valid(authority.certificate, now, now + RENEW_BEFORE):
                authority = pki.renew_ca(authority, now)
                write_private(data.ca_cert, authority.cert_pem).chmod(0o644)
            certificate, key = pki.issue_server(authority, dict.fromkeys(names), now=now)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{data.tls}: the broker's certificate is unfit (expired, wrong names, or another key's), and could "
                f"not be renewed: {getattr(error, 'strerror', None) or error}; restore the folder from your backup, or "
                f"correct the names in {data.config}"
            ) from None
        write_private(data.server_key, key)
        write_private(data.server_cert, certificate).chmod(0o644)
        return True

    def _has_fit_certificate(self, names: Sequence[str], now: datetime) -> bool:
        data = self.data
        if not (data.server_cert.exists() and data.server_key.exists()):
            return False
        served = data.server_cert.read_bytes()
        if not pki.is_fit(served, data.server_key.read_bytes(), names, now + RENEW_BEFORE, now):
            return False
        # Without the CA's key, which an administrator may keep elsewhere, the relay can't mend a wrong CA.
        return not data.ca_key.exists() or pki.vouches(data.ca_cert.read_bytes(), served, now)

    def sms_link(self, log: Logger) -> SmsLink | None:
        sms = self.config.sms
        if sms.port is None:
            return None
        pin = None
        if sms.pin_file:
            file = self.data.resolve(sms.pin_file)
            pin = read_secret(file)
            if not _PIN.fullmatch(pin):  # each wrong try brings the SIM nearer to its lock
                raise ConfigError(f"{file}: holds no PIN; write its 4 to 8 digits into it, and nothing else")
        modem = Modem(storage=sms.storage, pin=pin, queue=self.config.limits.receipts_by_sms)
        return SmsLink(modem, partial(open_serial, sms.port, sms.baud, sms.rtscts), log, power_cycle=sms.power_cycle)

    def service(self, log: Logger, make: type[Service] = Service) -> Service:
        """Make the service, but do not start it. `make` lets a subclass with other steps take its place."""
        mqtt = self.config.mqtt
        worker = mqtt.sessions
        former = Former(
            self.data.path / "mqtt-sessions", client_ids(mqtt.sessions), [mqtt.client_id] if mqtt.client_id else []
        )
        self._mark_recovery_key(log)
        self.local_subscriber()
        self.registry.prepare_accounts()
        self.subscribers.prepare_accounts()
        self._known_users(log)
        self.store.on_replaced = partial(log.error, "store.replaced", hint=_REPLACED)
        broker = self.broker()
        return make(
            Pipeline(self.store, self.keys, worker, Lead(secrets.randbelow)),
            Outbox(self.store, self.keys, worker, partial(_unreadable, log)),
            self.endpoint(),
            log,
            limits=self.config.limits,
            sms=self.sms_link(log),
            broker=broker,
            users=partial(self._known_users, log),
            renew=self.renew_certificate,
            former=former,
            cut_off=partial(self._cut_off, broker),
            announce=partial(self._announce, log),
        )

    def _mark_recovery_key(self, log: Logger) -> None:
        try:
            if together.mark_recovery(self.data, self.keys):
                hint = "this folder is of an earlier version; from now on another relay's recovery key is refused"
                log.info("recovery_key.marked", hint=hint)
        except OSError as error:  # alarms must not wait for this
            hint = "let the relay write to keys/ in its data folder; until then another relay's recovery key is taken"
            log.warning("recovery_key.not_marked", error=error, hint=hint)

    def _announce(self, log: Logger) -> None:
        told = [entry for entry in self.subscribers.list() if entry.name != LOCAL]
        bracelets = len(self.registry.account_names())
        has_key = (self.data.keys / RECOVERY_PUBLIC).exists()
        readiness.announce(log, readiness.Standing(self.config, bracelets, len(told), has_key))


def _unreadable(log: Logger, key: OutboxId, error: Exception) -> None:
    kid, counter = divmod(key.alarm_id, COUNTERS)
    hint = "this alarm is in the database, but can't be published: its row was altered, or is of another version"
    log.error("outbox.unreadable", kid=f"{kid:08x}", counter=counter, error=type(error).__name__, hint=hint)
