"""A PostgreSQL for the store's tests: the one named in TOCSIN_TEST_POSTGRES, or one started from installed binaries.

That one listens on a socket in its own folder only, and is gone after the run. Without either, the tests run on SQLite
alone.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

URL = os.environ.get("TOCSIN_TEST_POSTGRES")


def binaries() -> Path | None:
    """The folder with initdb and postgres: Debian keeps it off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found:
        folders.append(Path(found).resolve().parent)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def available() -> bool:
    return bool(URL) or (importlib.util.find_spec("psycopg") is not None and binaries() is not None)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server, without a database name."""
    if URL:
        yield URL
        return
    programs = binaries()
    assert programs is not None
    folder = tempfile.mkdtemp(prefix="tocsin-pg-")
    user = _unprivileged(folder)
    data = f"{folder}/data"
    try:
        init = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "tocsin",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--no-locale",
        ]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
        # Nothing here outlives the run, so nothing needs to survive a power cut.
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
        control = [programs / "pg_ctl", "-D", data, "-w", "-s", "-l", f"{folder}/log", "-o", options]
        subprocess.run([*control, "start"], check=True, user=user, cwd=folder)
        try:
            yield f"postgresql://tocsin@/?host={folder}"
        finally:
            subprocess.run(
                [programs / "pg_ctl", "-D", data, "-w", "-s", "-m", "immediate", "stop"], user=user, cwd=folder
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: str) -> int | None:
    """PostgreSQL refuses to run as root: there it runs as somebody else, who gets the folder."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = (known.get("postgres") or known["nobody"]).pw_uid
    os.chown(folder, user, -1)
    return user
