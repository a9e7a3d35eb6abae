"""What a restore and a case need: whose database this is, which counters are void, what operators said of an alarm."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UNFINISHED = sa.text("done_ms IS NULL")
OUTBOX = "alarm_id, channel, step, priority, created_ms, due_ms, attempts, worker, lease_ms, done_ms"
ACCEPT, CLOSE = 1, 2


def upgrade() -> None:
    """Acceptances and closings were kept as orders to the bracelet only."""
    op.add_column("registry", sa.Column("relay_id", sa.LargeBinary(), nullable=True))
    op.add_column("registry", sa.Column("ca_key", sa.LargeBinary(), nullable=True))
    op.add_column("registry", sa.Column("restored_ms", sa.BigInteger(), nullable=True))
    op.add_column("chain", sa.Column("floor", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("alarm_case", sa.Column("accepted_ms", sa.BigInteger(), nullable=True))
    op.add_column("alarm_case", sa.Column("closed_ms", sa.BigInteger(), nullable=True))
    for column, kind in (("accepted_ms", ACCEPT), ("closed_ms", CLOSE)):
        op.execute(
            f"UPDATE alarm_case SET {column} = (SELECT min(requested_ms) FROM command"
            f" WHERE command.case_id = alarm_case.id AND command.kind = {kind})"
        )
    op.add_column("outbox_attempt", sa.Column("document", sa.Text(), nullable=False, server_default=sa.text("'alarm'")))
    # The document is part of the key, which SQLite can't change in place.
    op.drop_index("outbox_unfinished", "outbox")
    op.rename_table("outbox", "outbox_before")
    op.create_table(
        "outbox",
        sa.Column("alarm_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("step", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False, server_default=sa.text("'alarm'")),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("lease_ms", sa.BigInteger()),
        sa.Column("done_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("alarm_id", "channel", "step", "document", name="outbox_key"),
        sa.ForeignKeyConstraint(["alarm_id"], ["alarm.id"]),
        sa.CheckConstraint("document IN ('alarm', 'accepted', 'closed')", name="outbox_document"),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO outbox ({OUTBOX}) SELECT {OUTBOX} FROM outbox_before")
    op.drop_table("outbox_before")
    op.create_index("outbox_unfinished", "outbox", ["due_ms"], sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)


def downgrade() -> None:
    """What operators said of an alarm stays with the orders that went to its bracelet."""
    op.execute("DELETE FROM outbox WHERE document <> 'alarm'")
    op.drop_index("outbox_unfinished", "outbox")
    op.rename_table("outbox", "outbox_after")
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
        sa.PrimaryKeyConstraint("alarm_id", "channel", "step", name="outbox_key_before"),
        sa.ForeignKeyConstraint(["alarm_id"], ["alarm.id"]),
        sqlite_with_rowid=False,
    )
    op.execute(f"INSERT INTO outbox ({OUTBOX}) SELECT {OUTBOX} FROM outbox_after")
    op.drop_table("outbox_after")
    op.create_index("outbox_unfinished", "outbox", ["due_ms"], sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)
    op.drop_column("outbox_attempt", "document")
    for column in ("accepted_ms", "closed_ms"):
        op.drop_column("alarm_case", column)
    op.drop_column("chain", "floor")
    for column in ("relay_id", "ca_key", "restored_ms"):
        op.drop_column("registry", column)
