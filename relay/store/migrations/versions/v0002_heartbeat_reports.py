"""What newer bracelets report with their heartbeats, and when a bracelet's connection was last lost. The digest goes: a
heartbeat whose key is used up changes nothing, whatever its octets are."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    ("down", sa.BigInteger),
    ("registration", sa.SmallInteger),
    ("signal", sa.SmallInteger),
    ("operator", sa.Integer),
    ("link", sa.SmallInteger),
    ("reset_cause", sa.SmallInteger),
    ("resets", sa.SmallInteger),
    ("crash", sa.BigInteger),
    ("mode", sa.SmallInteger),
    ("lost_ms", sa.BigInteger),
)


def upgrade() -> None:
    """Add them empty: what was heard before said nothing of them."""
    for name, kind in COLUMNS:
        op.add_column("heartbeat", sa.Column(name, kind(), nullable=True))
    op.drop_column("heartbeat", "digest")


def downgrade() -> None:
    """As the first release wants it; the newest heartbeat will not be known for a duplicate."""
    for name, _ in COLUMNS:
        op.drop_column("heartbeat", name)
    digest = sa.Column("digest", sa.LargeBinary(), nullable=False, server_default=sa.text("''"))
    op.add_column("heartbeat", digest)
