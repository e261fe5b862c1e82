"""Keeping: where the events are. Young ones stand in the log alone, what stays is folded into the database.

The log is the truth of what is young, the database of everything else: it knows up to which record of the log it has
everything, so nothing is taken over twice or forgotten, wherever a kill falls. A fold waits for the disk itself,
because the log is written over afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from functools import partial
from itertools import starmap
from typing import Final

from bridge.agent.outbox.stock import Stock
from bridge.core.outbox import Row, Stream
from bridge.core.young import (
    Entry,
    Young,
    confirmed_record,
    event_record,
    sealed_record,
    sequence_of,
    stream_of,
    stream_record,
)
from bridge.errors import JournalError
from bridge.journal import outbox as store
from bridge.journal.engine import Change
from bridge.journal.log import Log

_log = logging.getLogger(__name__)

READY: Final = 0.5
"""A log that is so full is folded in the next quiet moment, so that no event has to wait for it."""
AGAIN_S: Final = 15.0


class Keeping:
    """Keeps events, finds them again, and forgets them when they are confirmed. `begin` it with an open log."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self.young = Young()
        self._stored: dict[int, int] = {}
        """Of streams that have rows in the database, the last of them."""
        self._unpurged: dict[int, int] = {}
        self._unsynced = False
        """Whether the database has events that a power cut may take, and which the log must not get ahead of."""
        self._folds = 0
        """Under way, and waiting for their turn."""
        self._fold_at = 0.0

    def begin(self, log: Log) -> None:
        """Go on with this log, behind what the database has taken over at start."""
        self.log = log
        self._kept: asyncio.Future[store.Dropped] = asyncio.get_running_loop().create_future()
        """What `append` answers when all is well: one for all events, which spares each the making of one."""
        self._kept.set_result(store.Dropped())
        self._stored = {stream.number: stream.last for stream in self._stock.sender if stream.last > stream.confirmed}

    @property
    def problem(self) -> str | None:
        """Why events cannot be kept now, in words; None when all is well."""
        return self._stock.journal.problem or self.log.problem

    @property
    def stored_events(self) -> int:
        """How many of the events are in the database."""
        return self._stock.events - self.young.count

    def append(
        self, new: Sequence[tuple[int, str, str]], entries: Sequence[Entry], excess: store.Excess | None, *, power: bool
    ) -> asyncio.Future[store.Dropped]:
        """Keep events, and drop what then is too much; `new` streams are (number, sensor, epoch).

        What is over a bound, and what is too large for the log, is the database's at once. Never called again before it
        is done; it may be done already.
        """
        payloads = [*starmap(stream_record, new), *map(event_record, entries)]
        if excess is not None or not self.log.takes(payloads):
            return self._fold(store.append(new, entries, excess), entries, power=power)
        if self._unsynced:
            return self._fold(store.append(new, entries), entries, power=True)
        later: asyncio.Future[store.Dropped] | None = None

        def written() -> None:
            self.young.streams += new
            for entry in entries:
                self.young.add(entry)
            if later is not None:
                later.set_result(store.Dropped())

        wrote = self.log.write(payloads, power=power, then=written)
        if wrote.done() and wrote.exception() is None:
            return self._kept
        later = asyncio.get_running_loop().create_future()
        wrote.add_done_callback(partial(_pass_on, later))
        return later

    def confirmed(self, stream: Stream, through: int, before: int) -> None:
        """The stream is confirmed up to `through`, and was up to `before`; `purge` makes that last."""
        self._unpurged[stream.number] = through
        self._stock.unpurged += through - before

    @property
    def anything_to_purge(self) -> bool:
        """Whether something is confirmed, and would be sent again after a kill."""
        return bool(self._unpurged)

    def purge(self) -> None:
        """Forget what is confirmed, in the log and in the database; what fails is tried again with the next purge."""
        if not self._unpurged:
            return
        through, sequences = self._unpurged, self._stock.unpurged
        self._unpurged, self._stock.unpurged = {}, 0
        stored = {number: sequence for number, sequence in through.items() if number in self._stored}

        def noted() -> None:
            for number, sequence in through.items():
                self._forget(*self.young.confirm(number, sequence))

        def purged(written: asyncio.Future[tuple[int, int]]) -> None:
            if written.exception() is not None:
                self._take_back(through, sequences)
                return
            self._forget(*written.result())
            self._no_longer_stored(stored)

        def failed(written: asyncio.Future[None]) -> None:
            if written.exception() is not None:
                self._take_back(through, sequences)

        records = [confirmed_record(*one) for one in through.items()]
        self.log.write(records, then=noted).add_done_callback(failed)
        if stored:
            self._stock.journal.write(store.purge(stored)).add_done_callback(purged)

    async def page(self, stream: int, after: int, limit: int) -> list[Row]:
        """The next rows of a stream behind a sequence, in order: events and tombstones. Raises JournalError."""
        # First those in memory: what is folded while the database is read is among them, or in it.
        young = self.young.page(stream, after, limit)
        if after >= self._stored.get(stream, 0):
            return young
        rows = await self._stock.journal.read(store.page(stream, after, limit))
        if len(rows) < limit:
            last = rows[-1].sequence if rows else after
            rows += [row for row in young if row.sequence > last][: limit - len(rows)]
        return rows

    async def oldest(self) -> tuple[float, float, str] | None:
        """The event accepted first, by the start of each stream: (wall time, monotonic time, epoch)."""
        young = self.young.oldest()
        found = [] if young is None else [(young.stored_at, young.monotonic, self._stock.epoch)]
        if self._stored:
            stored = await self._stock.journal.read(store.oldest)
            found += [] if stored is None else [stored]
        return min(found, default=None)

    async def seal(self, stream: int, rows: Sequence[Row]) -> None:
        """Give events their final bytes before they are sent for the first time. Raises JournalError."""
        young = [row for row in rows if self.young.holds(stream, row.sequence)]
        records = [sealed_record(stream, row) for row in young]
        if not self.log.takes(records):
            await self.fold()
            young = []
        stored = [row for row in rows if row not in young]

        def written() -> None:
            # A fold may have been before it.
            stored.extend(row for row in young if not self.young.seal(stream, row))

        if young:
            await self.log.write(records, then=written)
        if stored:
            await self._stock.journal.write(store.seal(stream, stored))

    async def fold(self) -> None:
        """Let the database take over what is still needed of the log, and begin the log anew. Raises JournalError."""
        await self._fold()

    def fold_if_ready(self) -> None:
        """Call while nothing happens: fold before somebody has to wait for it."""
        now = self._stock.clock.monotonic()
        if self.log.used >= READY and not self._folds and now >= self._fold_at:
            self._fold_at = now + AGAIN_S
            self._fold()

    def full(self) -> None:
        """The log has no room for what waits."""
        self._fold()

    async def flush(self) -> None:
        """Return when everything so far is kept. Raises JournalError when it cannot be."""
        await self.log.flush()
        await self._stock.journal.flush()

    async def close(self) -> None:
        """Leave everything in the database; what cannot be left there is in the log."""
        try:
            await self.fold()
        except JournalError as error:
            _log.error("log not folded at the stop", extra={"op": "outbox.fold", "why": str(error)})
        finally:
            await self.log.close()

    def _forget(self, events: int, size: int) -> None:
        self._stock.events -= events
        self._stock.bytes -= size

    def _no_longer_stored(self, through: dict[int, int]) -> None:
        for number, sequence in through.items():
            if self._stored.get(number, sequence + 1) <= sequence:
                del self._stored[number]

    def _take_back(self, through: dict[int, int], sequences: int) -> None:
        self._unpurged = {**through, **self._unpurged}
        self._stock.unpurged += sequences

    def _fold(
        self, more: Change[store.Dropped] | None = None, entries: Sequence[Entry] = (), *, power: bool = False
    ) -> asyncio.Future[store.Dropped]:
        """One commit: what is needed of the log, what is confirmed, and `more`, which adds `entries`."""
        done: asyncio.Future[store.Dropped] = asyncio.get_running_loop().create_future()
        self._folds += 1
        self.log.pause(lambda: self._commit(more, entries, power, done))
        return done

    def _commit(
        self,
        more: Change[store.Dropped] | None,
        entries: Sequence[Entry],
        power: bool,  # noqa: FBT001 - handed on
        done: asyncio.Future[store.Dropped],
    ) -> None:
        confirmed, sequences = self._unpurged, self._stock.unpurged
        self._unpurged, self._stock.unpurged = {}, 0
        through, applied = {**self.young.through, **confirmed}, self.log.last
        power = power or not self.log.empty
        fold = store.fold(self.young, through, applied) if confirmed or not self.log.empty else None

        def change(db: sqlite3.Connection) -> tuple[tuple[int, int], store.Dropped]:
            purged = (0, 0) if fold is None else fold(db)
            return purged, store.Dropped() if more is None else more(db)

        def committed(written: asyncio.Future[tuple[tuple[int, int], store.Dropped]]) -> None:
            self._folds -= 1
            error = written.exception()
            if error is not None:
                self._take_back(confirmed, sequences)
                self.log.resume(error)
                done.set_exception(error)
                done.exception()  # somebody may hear of it, but need not
                return
            purged, dropped = written.result()
            self._forget(*purged)
            for number, sequence in confirmed.items():
                self._forget(*self.young.confirm(number, sequence))
            self._no_longer_stored(through)
            for entry in (*self.young, *entries):
                self._stored[stream_of(entry.key)] = sequence_of(entry.key)
            self._unsynced = not power and (self._unsynced or bool(entries))
            self.young = Young()
            self.log.begin(applied + 1)
            self.log.resume()
            done.set_result(dropped)

        self._stock.journal.write(change, power=power).add_done_callback(committed)


def _pass_on(done: asyncio.Future[store.Dropped], written: asyncio.Future[None]) -> None:
    """Let `done` fail when the log could not be written; otherwise it is done already."""
    error = written.exception()
    if error is not None:
        done.set_exception(error)
