"""The tables. A change here needs a migration beside it; a test compares the two.

Times are integers: `_ms` is milliseconds since 1970 by the relay's clock, `sent` is seconds since 1970 by the
bracelet's. `kid` is the key id as a number. An alarm message's `id` is `kid * 2**24 + counter`: the alarm chain ends
at 2**24 - 1, so one integer is at once UNIQUE(kid, counter), the key that dedupe looks up, and small. A case's id is
the id of its Alert, which every Update can tell: counter - seq. Columns of LargeBinary whose name ends in `_sealed`
are encrypted (`relay.store.atrest`).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

COUNTERS = 2**24

metadata = MetaData()

# One row. The version rises with every change of the registry, so that a running service notices the changes of the
# command line.
registry = Table(
    "registry",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("relay_id", LargeBinary),  # the relay whose database this is; NULL until a relay has opened it
    Column("ca_key", LargeBinary),  # hash of the public key of the CA that bracelets are given, if it is the relay's
    Column("restored_ms", BigInteger),  # when it was last restored from a backup
    CheckConstraint("id = 1", name="registry_one_row"),
)

bracelet = Table(
    "bracelet",
    metadata,
    Column("kid", BigInteger, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("offered_ms", BigInteger, nullable=False),
    Column("completed_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    Column("public", LargeBinary, unique=True),  # Ed25519
    Column("profile_sealed", LargeBinary, nullable=False),  # code name, MQTT password
    Column("offer_key_sealed", LargeBinary),  # X25519 private key; gone as soon as the answer is in
    # The account at the broker: a random name, and a hash to check the password by (relay.broker.accounts), so that the
    # check needs no key of the store.
    Column("account", Text),
    Column("account_hash", LargeBinary),
    CheckConstraint("state IN ('offered', 'active', 'revoked')", name="bracelet_state"),
)
Index("bracelet_by_account", bracelet.c.account, unique=True)

chain = Table(
    "chain",
    metadata,
    Column("kid", BigInteger, ForeignKey("bracelet.kid"), primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),  # rises with every write; writing needs the present one
    Column("state_sealed", LargeBinary, nullable=False),
    # In the down chain, messages sealed below this counter are void, because the chain was stepped forward to it.
    Column("floor", BigInteger, nullable=False, server_default=text("0")),
    CheckConstraint("name IN ('alarm', 'heartbeat', 'down')", name="chain_name"),
    sqlite_with_rowid=False,
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("kid", BigInteger, ForeignKey("bracelet.kid"), primary_key=True, autoincrement=False),
    Column("counter", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("flags", SmallInteger, nullable=False),
    Column("battery", SmallInteger, nullable=False),
    Column("pending", Integer, nullable=False),
    # NULL where the bracelet's firmware does not report it; see relay.verify.payload.
    Column("down", BigInteger),
    Column("registration", SmallInteger),
    Column("signal", SmallInteger),  # -dBm
    Column("operator", Integer),
    Column("link", SmallInteger),
    Column("reset_cause", SmallInteger),
    Column("resets", SmallInteger),
    Column("crash", BigInteger),
    Column("mode", SmallInteger),
    Column("program", Integer),
    Column("lost_ms", BigInteger),  # its last will came, and no heartbeat since
)

alarm_case = Table(
    "alarm_case",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kid", BigInteger, ForeignKey("bracelet.kid"), nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("raised", BigInteger),  # the Alert's own time; NULL until it is here, or when the bracelet knew no time
    Column("cause", SmallInteger, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("cancel_seq", Integer),
    Column("duress", Boolean, nullable=False),
    Column("drill", Boolean, nullable=False),
    # The operators' word on the alarm, whether or not the bracelet can be told.
    Column("accepted_ms", BigInteger),
    Column("closed_ms", BigInteger),
    Column("accepted_by_sealed", LargeBinary),  # who said so
    Column("closed_by_sealed", LargeBinary),
)

alarm = Table(
    "alarm",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kid", BigInteger, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("case_id", BigInteger, ForeignKey("alarm_case.id"), nullable=False),
    Column("flags", SmallInteger, nullable=False),
    Column("sent", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("delay_s", BigInteger),
    Column("path", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of the octets: tells a duplicate from a replay
    Column("receipt", LargeBinary, nullable=False),  # the sealed octets, sent again for a duplicate
    Column("evidence_sealed", LargeBinary, nullable=False),  # outer header and the bracelet's Sign1
    CheckConstraint(f"id = kid * {COUNTERS} + counter", name="alarm_id"),
    CheckConstraint(f"counter >= 0 AND counter < {COUNTERS}", name="alarm_counter"),
)
Index("alarm_by_case", alarm.c.case_id)

outbox = Table(
    "outbox",
    metadata,
    # The primary key is the idempotency key: one delivery a message, channel and step, however often it is asked for.
    Column("alarm_id", BigInteger, ForeignKey("alarm.id"), primary_key=True, autoincrement=False),
    Column("channel", Text, primary_key=True),
    Column("step", SmallInteger, primary_key=True, autoincrement=False),
    # The document to deliver: the message itself ("alarm"), or that its case was "accepted" or "closed".
    Column("document", Text, primary_key=True, server_default=text("'alarm'")),
    Column("priority", SmallInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_ms", BigInteger),
    Column("done_ms", BigInteger),
    CheckConstraint("document IN ('alarm', 'accepted', 'closed')", name="outbox_document"),
    sqlite_with_rowid=False,
)
UNFINISHED = text("done_ms IS NULL")
Index("outbox_unfinished", outbox.c.due_ms, sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)

outbox_attempt = Table(
    "outbox_attempt",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("alarm_id", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("document", Text, nullable=False, server_default=text("'alarm'")),
    Column("at_ms", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("result", Text, nullable=False),
)
Index("outbox_attempt_by_delivery", outbox_attempt.c.alarm_id, outbox_attempt.c.channel, outbox_attempt.c.step)

# An operator's command to a bracelet, until a heartbeat shows that it arrived. `body` is the message's plaintext.
command = Table(
    "command",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("kid", BigInteger, ForeignKey("bracelet.kid"), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("case_id", BigInteger, ForeignKey("alarm_case.id")),  # of an acceptance or a closing
    Column("body", LargeBinary, nullable=False),
    Column("requested_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("counter", BigInteger),  # of the down chain, once it is sealed; then octets are there too
    Column("octets", LargeBinary),  # the sealed message, sent again and again as it is
    Column("sent_ms", BigInteger),
    Column("done_ms", BigInteger),
    Column("result", Text),
    CheckConstraint("result IN ('arrived', 'superseded', 'expired', 'given up')", name="command_result"),
)
Index("command_unfinished", command.c.kid, sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)
Index("command_by_case", command.c.case_id)
Index("command_by_counter", command.c.kid, command.c.counter)

# The number from which a bracelet last sent an SMS, to answer it there later.
sms_sender = Table(
    "sms_sender",
    metadata,
    Column("kid", BigInteger, ForeignKey("bracelet.kid"), primary_key=True, autoincrement=False),
    Column("heard_ms", BigInteger, nullable=False),
    Column("number_sealed", LargeBinary, nullable=False),
)

# Subscribers with the same permission. `newest` is the `n` of the epoch whose key is in use now.
audience = Table(
    "audience",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("newest", Integer, nullable=False),
    Column("permission_sealed", LargeBinary, nullable=False),  # which bracelets, how exactly
)

epoch = Table(
    "epoch",
    metadata,
    Column("audience", BigInteger, ForeignKey("audience.id"), primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("began_ms", BigInteger, nullable=False),
    Column("key_sealed", LargeBinary, nullable=False),
)

# A removed subscriber stays until the broker has confirmed that its key message is gone.
subscriber = Table(
    "subscriber",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("audience", BigInteger, ForeignKey("audience.id"), nullable=False),
    Column("joined", Integer, nullable=False),  # the first epoch that it may read
    Column("added_ms", BigInteger, nullable=False),
    Column("removed_ms", BigInteger),
    Column("public", LargeBinary, nullable=False),  # X25519
    Column("profile_sealed", LargeBinary, nullable=False),  # name, MQTT password
    Column("account", Text),  # as a bracelet's
    Column("account_hash", LargeBinary),
)
Index("subscriber_by_audience", subscriber.c.audience)
Index("subscriber_by_account", subscriber.c.account, unique=True)

refusal = Table(
    "refusal",
    metadata,
    Column("reason", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("kid", BigInteger),
    Column("alarm_id", BigInteger),
)
