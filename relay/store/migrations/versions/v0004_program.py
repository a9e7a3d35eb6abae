"""Which version of the program a bracelet runs, as its heartbeats say."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it empty: what was heard before said nothing of it."""
    op.add_column("heartbeat", sa.Column("program", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Drop it; the next heartbeat tells it again."""
    op.drop_column("heartbeat", "program")
