"""Run the gate: the process that tells the embedded broker who may connect, and as what.

    python -m relay.broker.gate FOLDER         FOLDER: the broker's, with gate.json

nats-server asks the gate at each connection (auth callout), so that no list of accounts is ever loaded: adding the
50,000th bracelet costs the relay nothing. The gate reads the relay's store and writes nothing. It keeps its answers in
memory: known accounts get in while the store is locked or away. It also ends the connections of accounts that are gone,
and looks after what the broker keeps (`relay.broker.watch`). It lives as long as the broker does; both end with the
process that started them. The gate never decides about messages, and never opens one.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from relay import log
from relay.broker import NAME, callout
from relay.broker.accounts import AccountRules, ListedAccounts
from relay.broker.process import write_private
from relay.broker.settings import GATE, SERVING, SYSTEM, Settings
from relay.broker.system import connections, end_connections
from relay.broker.watch import Watch

if TYPE_CHECKING:
    from relay.broker.stored import StoreAccounts

_STORE_PATIENCE_S = 1.5
_OPENING_PATIENCE_S = 20.0
_STORE_REST_S = 3.0  # when the store did not answer in time, known accounts serve for so long without asking again
_REMEMBERED = 1_000_000  # answers
_ASKED_AT_ONCE = 5000  # connections; beyond that the broker lets them wait, and they come again
_SWEEP_S = 60.0
_WATCH_S = 10.0
_AGAIN_S = 1.0
T = TypeVar("T")


class Directory:
    """The accounts of the list and of the store, and a memory for when the store can't be read."""

    def __init__(self, listed: ListedAccounts, store: str | None, logger: log.Logger) -> None:
        self.listed = listed
        self._url = store
        self._opened: StoreAccounts | None = None
        self._log = logger
        self._known: dict[str, AccountRules] = {}
        self._asked: dict[str, asyncio.Future[AccountRules | None]] = {}  # names that the next question is about
        self._asking: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(4, "store")  # more than one, since one may hang
        self._rest_until = 0.0
        self.version: int | None = None

    async def find(self, name: str) -> AccountRules | None:
        """Return the account of this name as the store has it, or as it was known if the store does not answer."""
        account = self.listed.find(name)
        if account is not None or self._url is None:
            return account
        if not NAME.fullmatch(name):  # nobody has it; a question that the store refuses would keep out all for a while
            return None
        answer = self._asked.get(name)
        if answer is None:
            answer = self._asked[name] = asyncio.get_running_loop().create_future()
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask_for_all())
        return await asyncio.shield(answer)

    async def _ask_for_all(self) -> None:
        """Ask for all waiting names in one question, again and again. One question each would be so slow that clients
        who come back after a broker's restart, or somebody with a thousand wrong names, would keep each other out."""
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                found: Mapping[str, AccountRules] | None
                try:
                    found = await self._ask(partial(self._find, tuple(asked)))
                except Exception:
                    found = None
                for name, answer in asked.items():
                    self._remember(name, found)
                    answer.set_result(self._known.get(name))
        finally:
            self._asking = None

    def _find(self, names: Collection[str]) -> Mapping[str, AccountRules]:
        return self._store().find_all(names)

    def _remember(self, name: str, found: Mapping[str, AccountRules] | None) -> None:
        if found is None:  # the store did not answer
            return
        account = found.get(name)
        if account is None:
            self._known.pop(name, None)
            return
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[name] = account

    async def gone(self, admitted: Mapping[str, bytes | None]) -> set[str]:
        """Return those of the names that no account has any more, or that have another password now. `admitted` has the
        verifier of the password with which each came, None when it is not known. Raises when the store can't be
        read."""
        rest = admitted.keys() - self.listed.among(admitted)  # a list has new hashes each time
        now = await self.verifiers(rest)
        return {name for name in rest if name not in now or admitted[name] not in (None, now[name])}

    async def verifiers(self, names: Collection[str]) -> Mapping[str, bytes]:
        """Return the verifiers that the store has now for those of the names that have an account there."""
        if not names or self._url is None:
            return {}
        return await self._ask(lambda: self._store().among(names))

    async def changed(self) -> bool:
        """Tell whether the store's accounts changed since the last call."""
        if self._url is None:
            return False
        version = await self._ask(lambda: self._store().version())
        changed, self.version = version != self.version, version
        return changed

    async def kept(self) -> dict[str, int | None]:
        """Return every client id whose session may stay, with the most messages that may wait for it."""
        kept = dict(self.listed.kept())
        if self._url is not None:
            kept |= await self._ask(lambda: dict(self._store().kept()), patience=60)
        return kept

    def _store(self) -> StoreAccounts:
        """Open the store, in a thread: importing its module takes longer than the relay should wait to be let in."""
        if self._opened is None:
            from relay.broker.stored import StoreAccounts

            assert self._url is not None
            self._opened = StoreAccounts(self._url)
        return self._opened

    async def _ask(self, question: Callable[[], T], patience: float = _STORE_PATIENCE_S) -> T:
        if self._opened is None:
            patience = max(patience, _OPENING_PATIENCE_S)
        now = time.monotonic()
        if now < self._rest_until:
            raise TimeoutError
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(self._threads, question), patience)
        except Exception as error:
            self._rest_until = time.monotonic() + _STORE_REST_S
            self._log.warning("gate.store_failed", error=error, hint="accounts that are known already still get in")
            raise


class Gate:
    """A gate for one broker's life."""

    def __init__(self, folder: Path, settings: Settings, logger: log.Logger, changed: asyncio.Event) -> None:
        self._folder = folder
        self._settings = settings
        self._log = logger
        self._issuer = callout.Issuer(settings.seed.encode())
        self.directory = Directory(settings.listed(), settings.store, logger)
        # For each name, the verifier of the password that came first: if the store has another now, all connections of
        # the name are ended.
        self._admitted: dict[str, bytes | None] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._changed = changed
        self._sweep = asyncio.Event()
        # `_settled`: the list for which connections without an account have been ended. `_unsettled`: the store
        # changed, and for this they have not been ended yet.
        self._settled = settings.generation
        self._unsettled = False
        self._watch = Watch(logger, settings.max_file_store)

    async def run(self) -> None:
        """Serve until the broker belongs to another run, or this task is cancelled."""
        while Settings.read(self._folder).run == self._settings.run:
            try:
                await self._serve()
            except (OSError, nats.errors.Error):
                pass  # the broker has not started yet, or is starting again
            except Exception as error:  # whatever the fault is, the next broker needs a gate
                self._log.warning("gate.failed", error=error)
            await asyncio.sleep(0.05)

    async def _serve(self) -> None:
        url = f"nats://127.0.0.1:{self._port()}"
        closed = asyncio.Event()

        async def on_error(_error: Exception) -> None:
            pass  # nats-py would print it

        async def on_lost() -> None:
            closed.set()

        common: dict[str, Any] = {
            "servers": [url],
            "password": self._settings.password,
            "allow_reconnect": False,  # the next broker has another port
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.1,
            "connect_timeout": 5,
            "error_cb": on_error,
            "closed_cb": on_lost,
        }
        async with AsyncExitStack() as stack:
            broker = await nats.connect(user=GATE, **common)
            stack.push_async_callback(_close, broker)
            system = await nats.connect(user=SYSTEM, **common)
            stack.push_async_callback(_close, system)
            await self._watch.before_anyone(broker, system, self.directory)
            await broker.subscribe(callout.SUBJECT, cb=self._asked, pending_msgs_limit=100_000)
            await broker.flush()
            workers = [
                asyncio.create_task(self._relisting()),
                asyncio.create_task(self._sweeping(system)),
                asyncio.create_task(self._watching(broker, system)),
            ]
            try:
                await closed.wait()
            finally:
                (self._folder / SERVING).unlink(missing_ok=True)
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers, timeout=1)

    def _port(self) -> int:
        """Return the port on the loopback where the broker listens for its own protocol; the broker says it in a
        file."""
        newest = max(self._folder.glob("*.ports"), key=lambda file: file.stat().st_mtime, default=None)
        if newest is None:
            raise OSError("the broker has not started yet")
        (url,) = json.loads(newest.read_text())["nats"]
        return int(url.rpartition(":")[2])

    # ---- who comes in ----

    async def _asked(self, message: Msg) -> None:
        if len(self._answers) >= _ASKED_AT_ONCE:
            return
        task = asyncio.create_task(self._answer(message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, message: Msg) -> None:
        try:
            request = callout.read(message.data)
        except ValueError:
            return
        account = await self.directory.find(request.name) if request.mqtt else None
        reason = callout.judge(request, account) or ("barred for a while" if self._is_barred(request.name) else None)
        now = int(time.time())
        if reason is None and account is not None:
            self._admitted.setdefault(account.name, account.verifier)
            answer = self._issuer.admit(request, account, now)
        else:
            answer = self._issuer.refuse(request, reason or "refused", now)
        with suppress(nats.errors.Error):
            await message.respond(answer)

    def _is_barred(self, name: str) -> bool:
        return self._settings.barred.get(name, 0.0) > time.monotonic()

    # ---- who goes ----

    async def _relisting(self) -> None:
        """Take each new list at once, whatever the store and the broker are doing."""
        while True:
            self._changed.clear()
            await self._until_done(self._relist)
            self._sweep.set()
            await self._changed.wait()

    async def _relist(self) -> None:
        settings = Settings.read(self._folder)
        if settings.generation != self._settings.generation:
            self.directory.listed = settings.listed()
        self._settings = settings
        write_private(self._folder / SERVING, f"{settings.run} {settings.generation}\n")

    async def _sweeping(self, system: Client) -> None:
        await self._until_done(partial(self._see_who_came_before, system))
        with suppress(Exception):  # asked now, so that the first name need not wait for the store to open
            await self.directory.changed()
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._sweep.wait(), _SWEEP_S)
            self._sweep.clear()
            await self._until_done(partial(self._take_changes, system))

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await step()
            except Exception as error:  # a broker that is busy may not have answered, the disk may be full
                self._log.warning("gate.changes_not_seen", error=error, retry_s=_AGAIN_S)
                await asyncio.sleep(_AGAIN_S)

    async def _see_who_came_before(self, system: Client) -> None:
        """Assume that the clients which came before this gate came with the password that is in force."""
        before = {one.name async for one in connections(system)} - {"", GATE, SYSTEM} - self._admitted.keys()
        self._admitted |= dict.fromkeys(before)
        with suppress(Exception):  # the store does not answer
            self._admitted |= await self.directory.verifiers(before)

    async def _take_changes(self, system: Client) -> None:
        await self._end(system, {name for name in self._settings.barred if self._is_barred(name)})
        generation = self._settings.generation
        try:
            self._unsettled |= await self.directory.changed()
            if self._unsettled or generation != self._settled:
                self._watch.look_for_owners()
                await self._end(system, await self.directory.gone(self._admitted))
            self._settled, self._unsettled = generation, False
        except TimeoutError:  # the store does not answer; already reported
            # Whoever was removed must not stay until the next sweep.
            asyncio.get_running_loop().call_later(_STORE_REST_S, self._sweep.set)

    async def _end(self, system: Client, names: Collection[str]) -> None:
        for name in names:
            await end_connections(system, user=name)
            self._admitted.pop(name, None)

    async def _watching(self, broker: Client, system: Client) -> None:
        while True:
            try:
                await self._watch.look(broker, system, self.directory)
            except Exception as error:  # the next look may see more
                self._log.warning("broker.not_watched", error=error)
            await asyncio.sleep(_WATCH_S)


async def _close(connection: Client) -> None:
    """Close a connection that may be broken already, without waiting for it for long."""
    await asyncio.wait({asyncio.create_task(connection.close())}, timeout=1)


async def serve(folder: Path) -> None:
    """Run the gate of a broker's folder until the broker is gone or a signal comes."""
    changed = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # the process that started this one may have blocked it
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    settings = Settings.read(folder)
    log.configure(json=settings.json_log)
    await Gate(folder, settings, log.get(), changed).run()


def main() -> None:
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1])))
    os._exit(0)  # a thread that waits for a silent store must not keep this process


if __name__ == "__main__":
    main()
