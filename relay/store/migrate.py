"""Runs the migrations, from our own connection and without an alembic.ini."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine


def configuration() -> Config:
    """Return Alembic's configuration, which points into this package."""
    config = Config()
    config.set_main_option("script_location", "relay.store:migrations")
    return config


def upgrade(engine: Engine, found: str | None, to: str = "head") -> None:
    """Upgrade from revision `found` to another, by default the newest, in one transaction."""
    from relay.store.database import StoreError

    config = configuration()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if not {found, to} <= {None, "head", *known}:
        raise StoreError("this store was written by a newer version of Tocsin; upgrade the program, not the store")
    with engine.connect() as connection, connection.execution_options(tocsin_write=True).begin():
        config.attributes["connection"] = connection
        command.upgrade(config, to)
