"""A relay on a full disk: SQLite may not add a page to the database until a file named `room` appears in the data
folder.

`full_disk.py DATA`. The error that the relay meets is SQLite's own.
"""

import sys

from sqlalchemy import event

from relay import log
from relay.assembly import Relay
from relay.datadir import DataDir

if __name__ == "__main__":
    data = DataDir(sys.argv[1])
    relay = Relay(data)

    @event.listens_for(relay.store.engine, "checkout")
    def limit(connection, record, proxy):
        pages = 1_000_000 if (data.path / "room").exists() else 1  # SQLite takes the present size for a limit below it
        connection.execute(f"PRAGMA max_page_count = {pages}")

    log.configure(json=True)
    relay.service(log.get()).run()
