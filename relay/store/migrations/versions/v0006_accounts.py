"""Bracelets' accounts at the broker: a name of their own, and what the password is checked by."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The account of an earlier bracelet is named as its key id. Its password's hash is filled in by the relay, which
    can open the password."""
    op.add_column("bracelet", sa.Column("account", sa.Text(), nullable=True))
    op.add_column("bracelet", sa.Column("account_hash", sa.LargeBinary(), nullable=True))
    bracelet = sa.table("bracelet", sa.column("kid", sa.BigInteger()), sa.column("account", sa.Text()))
    connection = op.get_bind()
    for (kid,) in connection.execute(sa.select(bracelet.c.kid)).all():
        connection.execute(sa.update(bracelet).where(bracelet.c.kid == kid).values(account=f"{kid:08x}"))
    op.create_index("bracelet_by_account", "bracelet", ["account"], unique=True)


def downgrade() -> None:
    """Bracelets whose account has another name than their key id can't connect any more."""
    op.drop_index("bracelet_by_account", "bracelet")
    op.drop_column("bracelet", "account_hash")
    op.drop_column("bracelet", "account")
