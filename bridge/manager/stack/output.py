"""What the tasks of a stack's services wrote, as the engine gathers it from their cluster nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.errors import EngineError, StackError
from bridge.manager.stack.swarm_parts import documents_of
from bridge.swarm.engine import Engine
from bridge.swarm.log_reader import asked, entries_of, held
from bridge.swarm.logs import Entry
from bridge.swarm.tasks import read_task

_QUEUE = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one task; `instance` is the service with the task's number."""

    at: datetime
    instance: str
    text: str


async def output(
    engine: Engine, stack: str, services: Iterable[str], *, tail: int, follow: bool
) -> AsyncGenerator[Line, None]:
    """The last `tail` lines of each service, oldest first, and with `follow` those that come.

    Without `services` those of all. Raises StackError for one that the stack does not have, EngineError.
    """
    there = {
        str(each["Spec"]["Name"]).removeprefix(f"{stack}_"): each
        for each in await documents_of(engine, "services", stack)
    }
    if not there:
        raise StackError(f"there is no stack {stack}")
    chosen = list(services) or sorted(there)
    unknown = [name for name in chosen if name not in there]
    if unknown:
        raise StackError(f"the stack {stack} has no service {', '.join(unknown)}; it has {', '.join(sorted(there))}")
    if not follow:
        found = [line for name in chosen async for line in _lines(engine, name, there[name], tail, follow=False)]
        for line in sorted(found, key=lambda line: line.at):
            yield line
        return
    queue: asyncio.Queue[Line | BaseException | None] = asyncio.Queue(_QUEUE)
    tasks = [
        asyncio.create_task(_pump(_lines(engine, name, there[name], tail, follow=True), queue), name=f"log of {name}")
        for name in chosen
    ]
    try:
        ended = 0
        while ended < len(tasks):
            item = await queue.get()
            if item is None:
                ended += 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(lines: AsyncIterator[Line], queue: asyncio.Queue[Line | BaseException | None]) -> None:
    try:
        async for line in lines:
            await queue.put(line)
    except Exception as error:  # noqa: BLE001 - whoever reads the queue raises it
        await queue.put(error)
    else:
        await queue.put(None)


async def _lines(
    engine: Engine, name: str, service: Mapping[str, Any], tail: int, *, follow: bool
) -> AsyncGenerator[Line, None]:
    slots: dict[str, str] = {}
    async for entry in _entries(engine, f"/services/{service['ID']}/logs", tail, follow=follow):
        if entry.task_id not in slots:
            slots |= await _instances(engine, name, service)
        yield Line(entry.at, slots.get(entry.task_id, f"{name}.?"), entry.text)


async def _entries(engine: Engine, path: str, tail: int, *, follow: bool) -> AsyncGenerator[Entry, None]:
    if not follow:
        entries, complaint = await held(engine, path, asked(None, tail))
        if complaint:
            raise EngineError(complaint)
        for entry in entries:
            yield entry
        return
    async with contextlib.aclosing(entries_of(engine, path, {**asked(None, tail), "follow": True}, None)) as followed:
        async for entry in followed:
            yield entry


async def _instances(engine: Engine, name: str, service: Mapping[str, Any]) -> dict[str, str]:
    tasks = [read_task(each) for each in await engine.get("/tasks", filters={"service": [service["ID"]]}) or []]
    return {task.id: f"{name}.{task.slot or task.node_id[:12]}" for task in tasks}
