"""Who accepted or closed an alarm, for those who come in later."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COLUMNS = ("accepted_by_sealed", "closed_by_sealed")


def upgrade() -> None:
    """Of alarms that were answered before it is not known."""
    for column in COLUMNS:
        op.add_column("alarm_case", sa.Column(column, sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Forget it."""
    for column in COLUMNS:
        op.drop_column("alarm_case", column)
