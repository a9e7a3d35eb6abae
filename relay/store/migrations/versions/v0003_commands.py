"""Commands to bracelets, and the numbers that they last sent an SMS from."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNFINISHED = sa.text("done_ms IS NULL")


def upgrade() -> None:
    """Create both tables, empty."""
    op.create_table(
        "command",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("kid", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("case_id", sa.BigInteger()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("requested_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("counter", sa.BigInteger()),
        sa.Column("octets", sa.LargeBinary()),
        sa.Column("sent_ms", sa.BigInteger()),
        sa.Column("done_ms", sa.BigInteger()),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["kid"], ["bracelet.kid"]),
        sa.ForeignKeyConstraint(["case_id"], ["alarm_case.id"]),
        sa.CheckConstraint("result IN ('arrived', 'superseded', 'expired', 'given up')", name="command_result"),
    )
    op.create_index("command_unfinished", "command", ["kid"], sqlite_where=UNFINISHED, postgresql_where=UNFINISHED)
    op.create_index("command_by_case", "command", ["case_id"])
    op.create_index("command_by_counter", "command", ["kid", "counter"])
    op.create_table(
        "sms_sender",
        sa.Column("kid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("heard_ms", sa.BigInteger(), nullable=False),
        sa.Column("number_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kid"),
        sa.ForeignKeyConstraint(["kid"], ["bracelet.kid"]),
    )


def downgrade() -> None:
    """Commands that are under way are forgotten."""
    op.drop_table("sms_sender")
    op.drop_table("command")
