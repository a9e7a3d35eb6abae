"""The relay's database: SQLite by default, PostgreSQL for several workers. The tables: `relay/README.md`."""

from relay.store.atrest import AtRestError, Box
from relay.store.database import StaleState, Store, StoreError, open_store
from relay.store.database import open_store as open

__all__ = ["AtRestError", "Box", "StaleState", "Store", "StoreError", "open", "open_store"]
