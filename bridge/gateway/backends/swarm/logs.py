"""What a function's tasks wrote, and what became of them, in one order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta

from bridge.clock import Clock
from bridge.errors import EngineError
from bridge.gateway.backends import LogQuery
from bridge.gateway.backends.swarm.function import SwarmFunction
from bridge.openfaas.deployment import LogLine
from bridge.swarm.engine import Engine
from bridge.swarm.log_reader import asked, entries_of, held
from bridge.swarm.logs import Entry
from bridge.swarm.tasks import Task

_log = logging.getLogger(__name__)

_SKEW_S = 60.0
"""The clocks of machines may differ by this much; lines that were read before are known by their time."""
_AGAIN_S = 1.0
_QUEUE = 10_000


class FunctionLog:
    """Reads one function's log from the engine, once or for as long as somebody follows."""

    def __init__(self, engine: Engine, function: SwarmFunction, query: LogQuery, clock: Clock, lines: int) -> None:
        self._engine = engine
        self._function = function
        self._query = query
        self._clock = clock
        self._lines = lines
        self._last: dict[str, datetime] = {}
        self._queue: asyncio.Queue[LogLine | None] = asyncio.Queue(_QUEUE)

    async def read(self) -> AsyncGenerator[LogLine, None]:
        """The lines that are wanted, oldest first."""
        query, function = self._query, self._function
        began_at = self._clock.now()
        if query.follow:
            function.listeners.add(self.tell)
        try:
            for line in await self._history():
                yield line
            if query.follow:
                if function.gone:
                    return
                async with contextlib.aclosing(self._followed(began_at)) as lines:
                    async for line in lines:
                        yield line
        finally:
            function.listeners.discard(self.tell)

    def tell(self, task: Task | None) -> None:
        """A task has ended by itself, or (None) the function is gone."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(None if task is None else _note(self._function, task))

    async def _history(self) -> list[LogLine]:
        query = self._query
        tail = query.tail if query.tail is not None else self._lines
        entries, complaint = await held(self._engine, self._path, asked(query.since, tail))
        found: list[LogLine] = []
        for entry in entries:
            self._last[entry.task_id] = max(entry.at, self._last.get(entry.task_id, entry.at))
            found.append(self._line(entry))
        if complaint:
            # Such as a machine that does not answer: the others' lines are there all the same.
            found.append(LogLine(query.name, "", self._clock.now(), f"[swarm] {complaint}"))
        found += [_note(self._function, task) for task in self._function.tasks if task.complaint()]
        found = sorted((line for line in found if self._matches(line)), key=lambda line: line.at)
        return found if query.tail is None else found[max(0, len(found) - query.tail) :]

    async def _followed(self, began_at: datetime) -> AsyncGenerator[LogLine, None]:
        pumping = asyncio.create_task(self._pump(began_at), name=f"log of {self._function.name}")
        try:
            while (line := await self._queue.get()) is not None:
                if self._matches(line):
                    yield line
        finally:
            pumping.cancel()
            await asyncio.wait((pumping,))

    async def _pump(self, began_at: datetime) -> None:
        """Lines from the engine into the queue; connects again when the engine was away."""
        since = began_at - timedelta(seconds=_SKEW_S)
        while True:
            try:
                params = {**asked(since, None), "follow": True}
                async with contextlib.aclosing(entries_of(self._engine, self._path, params, None)) as entries:
                    async for entry in entries:
                        seen = self._last.get(entry.task_id)
                        if seen is not None and entry.at <= seen:
                            continue
                        self._last[entry.task_id] = entry.at
                        await self._queue.put(self._line(entry))
            except EngineError as error:
                _log.info(
                    "A log broke off", extra={"op": "logs", "function": self._function.name, "reason": str(error)}
                )
            since = self._clock.now() - timedelta(seconds=_SKEW_S)
            await self._clock.sleep(_AGAIN_S)

    @property
    def _path(self) -> str:
        return f"/services/{self._function.service.id}/logs"

    def _line(self, entry: Entry) -> LogLine:
        function = self._function
        task = next((task for task in function.tasks if task.id == entry.task_id), None)
        service = function.service.name
        instance = f"{service}.?.{entry.task_id[:12]}" if task is None else task.instance(service)
        return LogLine(function.name, instance, entry.at, entry.text)

    def _matches(self, line: LogLine) -> bool:
        query = self._query
        return (not query.instance or line.instance == query.instance) and (
            query.since is None or line.at >= query.since
        )


def _note(function: SwarmFunction, task: Task) -> LogLine:
    return LogLine(function.name, task.instance(function.service.name), task.at, f"[swarm] {task.complaint()}")
