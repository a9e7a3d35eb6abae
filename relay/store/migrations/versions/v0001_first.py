"""The first schema: registry, chains, alarms with their cases, outbox, counters, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table of the first release."""
    _registry()
    _alarms()
    _outbox()
    _records()


def downgrade() -> None:
    """There is nothing before the first schema, and dropping it would drop alarms."""
    raise NotImplementedError("the first schema is never removed")


def _registry() -> None:
    registry = op.create_table(
        "registry",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.CheckConstraint("id = 1", name="registry_one_row"),
    )
    op.bulk_insert(registry, [{"id": 1, "version": 0}])
    op.create_table(
        "bracelet",
        sa.Column("kid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("offered_ms", sa.BigInteger(), nullable=False),
        sa.Column("completed_ms", sa.BigInteger()),
        sa.Column("revoked_ms", sa.BigInteger()),
        sa.Column("public", sa.LargeBinary()),
        sa.Column("profile_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("offer_key_sealed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("kid"),
        sa.UniqueConstraint("public"),
        sa.CheckConstraint("state IN ('offered', 'active', 'revoked')", name="bracelet_state"),
    )
    op.create_table(
        "chain",
        sa.Column("kid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("state_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kid", "name"),
        sa.ForeignKeyConstraint(["kid"], ["bracelet.kid"]),
        sa.CheckConstraint("name IN ('alarm', 'heartbeat', 'down')", name="chain_name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "heartbeat",
        sa.Column("kid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("battery", sa.SmallInteger(), nullable=False),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kid"),
        sa.ForeignKeyConstraint(["kid"], ["bracelet.kid"]),
    )


def _alarms() -> None:
    op.create_table(
        "alarm_case",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kid", sa.BigInteger(), nullable=False),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("raised", sa.BigInteger()),
        sa.Column("cause", sa.SmallInteger(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("cancel_seq", sa.Integer()),
        sa.Column("duress", sa.Boolean(), nullable=False),
        sa.Column("drill", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["kid"], ["bracelet.kid"]),
    )
    op.create_table(
        "alarm",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kid", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.SmallInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("delay_s", sa.BigInteger()),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("receipt", sa.LargeBinary(), nullable=False),
        sa.Column("evidence_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["case_id"], ["alarm_case.id"]),
        sa.CheckConstraint("id = kid * 16777216 + counter", name="alarm_id"),
        sa.CheckConstraint("counter >= 0 AND counter < 16777216", name="alarm_counter"),
    )
    op.create_index("alarm_by_case", "alarm", ["case_id"])


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("alarm_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("step", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_ms", sa.BigInteger()),
        sa.Column("done_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("alarm_id", "channel", "step"),
        sa.ForeignKeyConstraint(["alarm_id"], ["alarm.id"]),
        sqlite_with_rowid=False,
    )
    unfinished = sa.text("done_ms IS NULL")
    op.create_index("outbox_unfinished", "outbox", ["due_ms"], sqlite_where=unfinished, postgresql_where=unfinished)
    op.create_table(
        "outbox_attempt",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("alarm_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_attempt_by_delivery", "outbox_attempt", ["alarm_id", "channel", "step"])


def _records() -> None:
    op.create_table(
        "refusal",
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reason", "path"),
    )
    op.create_table(
        "audit",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("kid", sa.BigInteger()),
        sa.Column("alarm_id", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id"),
    )
