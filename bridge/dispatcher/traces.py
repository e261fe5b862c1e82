"""Traces: the story of every event on the disk, at next to no cost where the events are delivered.

The loop only remembers the rows of the feed; about twice a second, or sooner when many wait, they become JSON and go to
the disk on a thread of their own, a few at a time so that the loop gets its turn. What the disk refuses, or what does
not fit between two flushes, is dropped and counted: a trace never holds up a delivery.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson

from bridge.clock import Clock
from bridge.core.story import Chosen
from bridge.dispatcher.feed import Row, lines
from bridge.dispatcher.stories import Page, Rows, Stories, rows_of
from bridge.errors import JournalError
from bridge.inline import Inline
from bridge.journal.traces import TraceFiles, first, search

_log = logging.getLogger(__name__)

R = TypeVar("R")

FLUSH_S: Final = 0.5
FULL: Final = 2_000
"""So many decisions are flushed without waiting for the time."""
PENDING: Final = 20_000
"""So many may wait for a flush: about 10 MB."""
AT_ONCE: Final = 500
"""Decisions that the thread makes JSON of before the loop gets its turn again: some tenths of a millisecond."""
LINE_BYTES: Final = 512 * 1024
CLOSE_S: Final = 3.0
READ_S: Final = 30.0
_JSON: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class Traces:
    """The recorder, and what is asked of it. The loop owns it; entering starts it, leaving writes what waits."""

    def __init__(
        self, folder: Path, max_bytes: int, clock: Clock, lost: Callable[[str, int], None], *, threads: bool = True
    ) -> None:
        self.problem: str | None = None
        """Why nothing can be written now; None when all is well."""
        self._files = TraceFiles(folder, max_bytes)
        self._folder = folder
        self._clock = clock
        self._count_lost = lost
        self._pending: list[Row] = []
        self._lost = 0
        self._timed = False
        self._due = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._threads = threads
        self._stories = Stories()

    @property
    def size_bytes(self) -> int:
        """What the traces take on the disk."""
        return self._files.size_bytes

    async def __aenter__(self) -> Self:
        self._thread: Executor = ThreadPoolExecutor(1, thread_name_prefix="traces") if self._threads else Inline()
        self._task = asyncio.create_task(self._run(), name="dispatcher traces")
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await self.flush()  # behind one that is under way, which is not to be cut short
                await self._on_thread(self._files.close)
        except TimeoutError:
            _log.warning("traces not written: their disk hangs", extra={"op": "traces.close"})
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False)

    def abandon(self) -> None:
        """Write nothing more, as after a kill. Only without threads."""
        self._task.cancel()
        self._files.close()

    def keep(self, row: Row) -> None:
        """Remember a decision until the next flush."""
        pending = self._pending
        if len(pending) >= PENDING:
            self._lost += 1
            return
        pending.append(row)
        if not self._timed:
            self._timed = True
            self._clock.call_at(self._clock.monotonic() + FLUSH_S, self._due.set)
        elif len(pending) == FULL:
            self._due.set()

    async def flush(self) -> None:
        """Write what waits. Whatever goes wrong is counted and told by `problem`."""
        async with self._flushing:
            rows, self._pending, self._timed = self._pending, [], False
            lost, self._lost = self._lost, 0
            if lost:
                self._count_lost("too many at once", lost)
            for begin in range(0, len(rows), AT_ONCE):
                await self._write(rows[begin : begin + AT_ONCE])

    async def story(self, event_id: str) -> list[dict[str, Any]]:
        """Everything known of one event as lines of the feed, in order; empty when it is not known (any more)."""
        await self.flush()
        found: list[dict[str, Any]] = []
        for segment in await self._on_thread(self._files.segments):
            found += await self._on_thread(partial(_story, segment, event_id))
        return found

    async def why(self, mapping: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """The newest evaluations of a mapping that did not fire, newest first, and how far back the traces reach."""
        await self.flush()
        segments = await self._on_thread(self._files.segments)
        found: list[dict[str, Any]] = []
        for segment in reversed(segments):
            if len(found) >= limit:
                break
            found += await self._on_thread(partial(_why, segment, mapping))
        oldest = await self._on_thread(partial(first, segments[0])) if segments else None
        return found[:limit], next((row[1] for row in rows_of([oldest])), None) if oldest else None

    async def stories(self, chosen: Chosen, limit: int, after: str | None) -> list[dict[str, Any]] | None:
        """Summaries of the events that are meant, newest first; behind that of the event `after`, if one is named.

        None when there is no story of that one (any more).
        """
        await self.flush()
        page = Page(chosen, limit, after)
        later: Rows = {}
        segments = await self._on_thread(self._files.segments)
        self._stories.keep(segments)
        for segment in reversed(segments):
            fill = partial(self._stories.fill, page, segment, later, whole=segment != segments[-1])
            later = await self._on_thread(fill)
            if page.full:
                break
        return page.found if page.after is None else None

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            await self.flush()

    async def _write(self, rows: list[Row]) -> None:
        try:
            await self._on_thread(partial(self._append, rows))
        except (OSError, TypeError, ValueError) as error:  # what orjson refuses costs its trace, and no more
            self._count_lost("disk" if isinstance(error, OSError) else "not JSON", len(rows))
            why = f"cannot write traces to {self._folder}: {getattr(error, 'strerror', None) or error}"
            if self.problem is None:
                _log.warning("traces cannot be written; they are dropped", extra={"op": "traces.write", "why": why})
            self.problem = why
            return
        if self.problem is not None:
            _log.info("traces are written again", extra={"op": "traces.recovered"})
            self.problem = None

    def _append(self, rows: list[Row]) -> None:
        """On the thread: rows go to the disk, all of them as one line unless that were very long."""
        line = orjson.dumps(rows, option=_JSON)
        if len(line) <= LINE_BYTES:
            self._files.append(line)
            return
        for row in rows:
            self._files.append(orjson.dumps([row], option=_JSON))

    async def _on_thread(self, call: Callable[[], R]) -> R:
        """Raises what the call raised; a disk that hangs is a JournalError to who reads."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, call)
        try:
            return await asyncio.wait_for(asyncio.shield(work), READ_S)
        except TimeoutError as error:
            raise JournalError(f"cannot use the traces in {self._folder}: no answer in {READ_S:g} s") from error


def evaluations(rows: Iterable[Row], mapping: str) -> Iterator[dict[str, Any]]:
    """Where a mapping said no, or was stopped after it had said yes, in the order given."""
    judged = set()
    for row in rows:
        if row[0] == "event" and any(one[0] == mapping and one[1] in _NO for one in row[-1]):
            event, *judgements = lines(row)
            judged.add(event["event_id"])
            for line in judgements:
                if line["mapping"] == mapping and line["result"] in _NO:
                    yield {**line, **{name: event[name] for name in ("value", "unit", "topic")}}
        elif row[0] in ("dropped", "cancelled"):
            (line,) = lines(row)
            if line["mapping"] != mapping:
                continue
            if row[0] == "dropped":
                yield {**line, "result": "dropped", "clause": line["reason"], "wanted": "", "found": ""}
            elif line["by"] not in judged:  # else the judgement has said it
                yield {**line, "result": "cancels", "clause": "for", "wanted": "", "found": line["by"]}


_NO: Final = frozenset({"rejected", "failed", "cancels"})


def _may_be_a_no(line: bytes) -> bool:
    """Whether a line is worth parsing; most of them say yes."""
    return any(word in line for word in (b'"rejected"', b'"failed"', b'"cancels"', b'"dropped"', b'"cancelled"'))


def _story(segment: Path, event_id: str) -> list[dict[str, Any]]:
    """What one file knows of an event; on the thread."""
    return [line for row in rows_of(search(segment, event_id)) if row[2] == event_id for line in lines(row)]


def _why(segment: Path, mapping: str) -> list[dict[str, Any]]:
    """What one file knows of a mapping that did not fire, newest first; on the thread."""
    return list(evaluations(rows_of(search(segment, mapping, _may_be_a_no)), mapping))[::-1]
