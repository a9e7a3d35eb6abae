"""Accounts at the broker: a bracelet's has a name of its own; of each, what its password is checked by is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The account of an earlier bracelet is named as its key id. Hashes of passwords are filled in by the relay, which
    can open the passwords."""
    op.add_column("bracelet", sa.Column("account", sa.Text(), nullable=True))
    op.add_column("bracelet", sa.Column("account_hash", sa.LargeBinary(), nullable=True))
    bracelet = sa.table("bracelet", sa.column("kid", sa.BigInteger()), sa.column("account", sa.Text()))
    connection = op.get_bind()
    for (kid,) in connection.execute(sa.select(bracelet.c.kid)).all():
        connection.execute(sa.update(bracelet).where(bracelet.c.kid == kid).values(account=f"{kid:08x}"))
    op.create_index("bracelet_by_account", "bracelet", ["account"], unique=True)
    op.add_column("subscriber", sa.Column("account", sa.Text(), nullable=True))
    op.add_column("subscriber", sa.Column("account_hash", sa.LargeBinary(), nullable=True))
    subscriber = sa.table("subscriber", sa.column("id", sa.BigInteger()), sa.column("account", sa.Text()))
    for (number,) in connection.execute(sa.select(subscriber.c.id)).all():
        named = sa.update(subscriber).where(subscriber.c.id == number).values(account=f"sub-{number:08x}")
        connection.execute(named)
    op.create_index("subscriber_by_account", "subscriber", ["account"], unique=True)


def downgrade() -> None:
    """Bracelets whose account has another name than their key id can't connect any more."""
    op.drop_index("subscriber_by_account", "subscriber")
    op.drop_column("subscriber", "account_hash")
    op.drop_column("subscriber", "account")
    op.drop_index("bracelet_by_account", "bracelet")
    op.drop_column("bracelet", "account_hash")
    op.drop_column("bracelet", "account")
