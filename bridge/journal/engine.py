"""The durable engine of all programs: one SQLite file, one writer thread, many changes in one commit.

The loop's thread queues changes; the writer takes all that wait, runs them in one transaction, and hands the results
back in one call. Why one thread: SQLite has one writer anyway, and a queue before it turns waiting into group commit.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeVar

from bridge.errors import JournalError
from bridge.inline import Inline
from bridge.journal.database import Lock, connect, connect_reader, damaged, open_database, storage_error

_log = logging.getLogger(__name__)

R = TypeVar("R")
Change: TypeAlias = Callable[[sqlite3.Connection], R]
"""Changes the database, inside a transaction that it neither begins nor ends.

It runs on the writer's thread and may be called a second time (after a neighbour in the same commit has failed, all of
them are done again one by one): it must not change anything but the database.
"""

GROUP: Final = 1000
"""At most this many changes in one commit, so that one of them never waits long for the others."""
CLOSE_S: Final = 15.0
READ_S: Final = 30.0

_Write: TypeAlias = "tuple[Change[Any], asyncio.Future[Any] | None, bool]"
_Result: TypeAlias = "tuple[asyncio.Future[Any] | None, Any, BaseException | None]"


@dataclass(slots=True)
class Counters:
    """What the engine has done since it was opened."""

    writes: int = 0
    """Changes that were committed."""
    commits: int = 0
    power_commits: int = 0
    """Those of the commits that waited for the disk itself."""
    failed: int = 0
    """Changes that were not committed, whatever the reason."""
    redone: int = 0
    """Commits that were done again one by one because a change in them failed."""


class Journal:
    """One journal file: an async context manager. Methods are called on the loop's thread.

    Entering raises JournalError when the file cannot be opened, another process has it open, or a newer program wrote
    it. A damaged file is set aside (`quarantined`) and a fresh one begun. Leaving commits what is queued.

    Without `threads` the loop itself does all the work, one group commit a turn: for a virtual clock, which stands
    still while a thread works.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        name: str = "journal",
        max_queued: int = 20_000,
        page_bytes: int = 4096,
        on_error: Callable[[BaseException], None] | None = None,
        threads: bool = True,
    ) -> None:
        self.path = path
        self.name = name
        self.counters = Counters()
        self.quarantined: Path | None = None
        """Where a damaged file was put at this start: what it held and nobody had confirmed is lost."""
        self.problem: str | None = None
        """Why the last commit failed, in words; None again as soon as one works."""
        self.corrupt = False
        """SQLite has found the file damaged while it was open: restart the program, which sets it aside."""
        self._migrations = migrations
        self._max_queued = max_queued
        self._page_bytes = page_bytes
        self._on_error = on_error
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._queued = 0
        self._open = False
        self._full_sync = False
        self._reopen = False
        self._thread: threading.Thread | None = None
        self._threads = threads
        self._turn: asyncio.Handle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._reads: Executor = (
            ThreadPoolExecutor(1, thread_name_prefix=f"{self.name} reader") if self._threads else Inline()
        )
        try:
            await self._loop.run_in_executor(self._reads, self._open_file)
        except BaseException:
            self._reads.shutdown(wait=False)
            raise
        self._ended = self._loop.create_future()
        if self._threads:
            self._thread = threading.Thread(target=self._run, name=f"{self.name} writer", daemon=True)
            self._thread.start()
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Refuse new changes, commit those queued, close the reader first: the last to close empties the log."""
        self._open = False
        try:
            async with asyncio.timeout(CLOSE_S):
                try:
                    await self._loop.run_in_executor(self._reads, self._reader.close)
                finally:
                    self._enqueue(None)
                await asyncio.shield(self._ended)
        except TimeoutError:
            _log.error("journal does not close: its disk hangs", extra={"op": "journal.close", "file": str(self.path)})
        self._reads.shutdown(wait=False)

    def abandon(self) -> None:
        """Let go of the file at once, as a kill of the process does: what is queued is never committed.

        Only for a journal without threads.
        """
        assert not self._threads, "a thread cannot be killed"
        if not self._open:
            return
        self._open = False
        if self._turn is not None:
            self._turn.cancel()
        self._reader.close()
        self._writer.close()
        self._lock.release()

    @property
    def queued(self) -> int:
        """Changes that wait for their commit: the back-pressure. At `max_queued`, `write` refuses."""
        return self._queued

    @property
    def size_bytes(self) -> int:
        """What the journal takes on the disk now, its log included."""
        parts = (self.path, self.path.with_name(self.path.name + "-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def write(self, change: Change[R], *, power: bool = False) -> asyncio.Future[R]:
        """Queue a change; the future has its result after the commit, on the loop, in the order of the calls.

        With `power` the commit waits for the disk itself; without it survives a kill of the process, and of a power
        cut loses the last seconds. The future raises what the change raised, or JournalError when the disk refused;
        cancelling it does not stop the change.
        """
        future: asyncio.Future[R] = self._loop.create_future()
        refusal = self._refusal()
        if refusal is not None:
            future.set_exception(refusal)
            return future
        self._queued += 1
        self._enqueue((change, future, power))
        return future

    def post(self, change: Change[object]) -> None:
        """Queue a change whose result nobody waits for; a failure is logged and handed to `on_error`."""
        refusal = self._refusal()
        if refusal is not None:
            self._report(refusal)
            return
        self._queued += 1
        self._enqueue((change, None, False))

    async def read(self, query: Callable[[sqlite3.Connection], R], *, timeout_s: float = READ_S) -> R:
        """The result of a query on what is committed, run in the reader's thread.

        Raises what the query raised, and JournalError when the disk refuses or the time is over.
        """
        if not self._open:
            raise self._closed()
        done = self._loop.run_in_executor(self._reads, query, self._reader)
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(done)
        except TimeoutError as error:
            self._reader.interrupt()
            done.cancel()
            raise JournalError(f"cannot read the journal {self.path}: no answer in {timeout_s:g} s") from error
        except sqlite3.Error as error:
            raise self._explain(error, "read") or error from error

    async def flush(self) -> None:
        """Return when everything queued so far is committed or has failed. Raises JournalError when closed."""
        await self.write(_nothing)

    def _enqueue(self, item: _Write | None) -> None:
        self._queue.put(item)
        if not self._threads and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Be the writer for one turn of the loop: all that was queued in the last one is one commit."""
        self._turn = None
        if self._work():
            self._release()
        elif not self._queue.empty():
            self._turn = self._loop.call_soon(self._take_turn)

    def _refusal(self) -> JournalError | None:
        if not self._open:
            return self._closed()
        if self._queued >= self._max_queued:
            self.counters.failed += 1
            why = f"; {self.problem}" if self.problem else "; its disk is too slow for what happens"
            return JournalError(f"cannot write the journal {self.path}: {self._queued} changes wait already{why}")
        return None

    def _closed(self) -> JournalError:
        return JournalError(f"cannot use the journal {self.path}: it is closed")

    def _explain(self, error: BaseException, what: str) -> JournalError | None:
        """What to tell of an error of the disk; damage is remembered for the next start. Any thread."""
        explained = storage_error(error, self.path, what)
        if damaged(error) and not self.corrupt:
            self.corrupt = True
            self._lock.mark_suspect()
        return explained

    # On the writer's thread, until the end of the class where nothing else is said.

    def _open_file(self) -> None:
        self._lock = Lock(self.path)
        try:
            opened = open_database(self.path, self._migrations, self._lock, page_bytes=self._page_bytes)
            self._writer, self.quarantined = opened.connection, opened.quarantined
            try:
                self._reader = connect_reader(self.path)
            except sqlite3.Error as error:
                self._writer.close()
                raise storage_error(error, self.path, "open") or error from error
        except BaseException:
            self._lock.release()
            raise

    def _run(self) -> None:
        while not self._work():
            pass
        self._release()

    def _work(self) -> bool:
        """Wait for a change, and commit it with all that wait behind it; whether the journal is to be closed."""
        batch: list[_Write] = []
        item = self._queue.get()
        closing = item is None
        while item is not None:
            batch.append(item)
            if len(batch) == GROUP:
                break
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            closing = item is None
        if batch:
            self._hand_back(self._settle, self._commit(batch))
        return closing

    def _release(self) -> None:
        try:
            self._writer.close()
        except sqlite3.Error:
            _log.exception("journal closed with an error", extra={"op": "journal.close", "file": str(self.path)})
        self._lock.release()
        self._hand_back(self._end)

    def _commit(self, batch: list[_Write]) -> list[_Result]:
        """Run the changes in one transaction; every one has a result or an error."""
        power = any(item[2] for item in batch)
        try:
            self._prepare(power=power)
            results = self._together(batch)
            if results is None:
                self.counters.redone += 1
                results = self._one_by_one(batch)
        except Exception as error:  # noqa: BLE001 - handed to whom it concerns; the writer must outlive it
            self._roll_back()
            return self._failed(batch, error)
        failed = sum(error is not None for _, _, error in results)
        self.counters.writes += len(batch) - failed
        self.counters.failed += failed
        self.counters.commits += 1
        self.counters.power_commits += power
        if self.problem is not None and not self.corrupt:
            _log.warning("journal works again", extra={"op": "journal.recovered", "file": str(self.path)})
            self.problem = None
        return results

    def _prepare(self, *, power: bool) -> None:
        if self._reopen:
            # After an error of the disk the connection may hold what is no longer so.
            self._writer.close()
            self._writer = connect(self.path)
            self._reopen = self._full_sync = False
        if power != self._full_sync:
            self._writer.execute(f"PRAGMA synchronous = {'FULL' if power else 'NORMAL'}")
            self._full_sync = power

    def _together(self, batch: list[_Write]) -> list[_Result] | None:
        """All in one transaction; None, with nothing changed, when one of them raised."""
        database = self._writer
        database.execute("BEGIN IMMEDIATE")
        results: list[_Result] = []
        for change, future, _ in batch:
            try:
                results.append((future, change(database), None))
            except Exception as error:
                if storage_error(error, self.path, "write") is not None:
                    raise
                self._roll_back()
                return None
        database.execute("COMMIT")
        return results

    def _one_by_one(self, batch: list[_Write]) -> list[_Result]:
        """One transaction again, each change in a savepoint: a bad one does not undo its neighbours."""
        database = self._writer
        database.execute("BEGIN IMMEDIATE")
        results: list[_Result] = []
        for change, future, _ in batch:
            database.execute("SAVEPOINT one")
            try:
                results.append((future, change(database), None))
            except Exception as error:
                if storage_error(error, self.path, "write") is not None:
                    raise
                results.append((future, None, error))
                database.execute("ROLLBACK TO one")
            database.execute("RELEASE one")
        database.execute("COMMIT")
        return results

    def _roll_back(self) -> None:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._reopen = True

    def _failed(self, batch: list[_Write], error: BaseException) -> list[_Result]:
        explained = self._explain(error, "write")
        if explained is None:
            explained = JournalError(f"cannot write the journal {self.path}: {type(error).__name__}: {error}")
        explained.__cause__ = error
        self._reopen = self._reopen or _code_wants_reopening(error)
        self.counters.failed += len(batch)
        if self.problem != str(explained):
            self.problem = str(explained)
            _log.error("journal cannot write", extra={"op": "journal.write", "file": str(self.path), "why": str(error)})
        return [(future, None, explained) for _, future, _ in batch]

    def _hand_back(self, call: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            _log.warning("journal outlived its loop", extra={"op": "journal.close", "file": str(self.path)})

    # On the loop's thread again.

    def _settle(self, results: list[_Result]) -> None:
        self._queued -= len(results)
        for future, value, error in results:
            if future is None:
                if error is not None:
                    self._report(error)
            elif not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

    def _report(self, error: BaseException) -> None:
        _log.error("change lost", extra={"op": "journal.post", "file": str(self.path), "why": str(error)})
        if self._on_error is not None:
            self._on_error(error)

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _nothing(_: sqlite3.Connection) -> None:
    """The change that only waits for its turn."""


def _code_wants_reopening(error: BaseException) -> bool:
    code = int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    return code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PROTOCOL}
