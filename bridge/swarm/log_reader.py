"""Reads the logs of services and tasks from an engine: what they hold by now, or entry by entry as they come."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from datetime import datetime

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm.engine import Engine
from bridge.swarm.logs import Entry, FrameReader

_SILENCE_S = 3.0
"""A machine that is away may keep the engine from ending a log: what came until then is all."""
_PAUSE_S = 1.0
"""The lines that a followed log begins with have come when there was none for this long."""
_AWAY = re.compile(r"\bnode (\w+) is not available")


async def held(engine: Engine, path: str, params: dict[str, object]) -> tuple[list[Entry], str]:
    """What a log holds by now, and the engine's words about what it lacks. Raises EngineUnavailable.

    Once the power of a machine has failed, Swarm says that it is not available also when it is back, until its engine
    is started once more. Only who follows a log gets its lines, those that were written before at first.
    """
    found: list[Entry] = []
    try:
        await _collect(found, entries_of(engine, path, {**params, "follow": False}, _SILENCE_S))
    except EngineUnavailable:
        raise
    except EngineError as error:
        more: list[Entry] = []
        with contextlib.suppress(TimeoutError, EngineError):  # what is lacking then is told by the first one
            async with asyncio.timeout(_SILENCE_S):
                await _collect(more, entries_of(engine, path, {**params, "follow": True}, _PAUSE_S))
        known = {entry.task_id for entry in found}
        found += [entry for entry in more if entry.task_id not in known]
        lacking = set(_AWAY.findall(str(error))) - {entry.node_id for entry in more}
        return found, str(error) if lacking or not more else ""
    return found, ""


async def _collect(found: list[Entry], entries: AsyncGenerator[Entry, None]) -> None:
    async with contextlib.aclosing(entries):
        async for entry in entries:
            found.append(entry)  # noqa: PERF401 - what came before an error counts


async def entries_of(
    engine: Engine, path: str, params: dict[str, object], silence_s: float | None
) -> AsyncGenerator[Entry, None]:
    """The entries as they come, until the engine ends them or says nothing for so long."""
    reader = FrameReader()
    async with engine.stream(path, **params) as stream:
        pieces = aiter(stream)
        while True:
            try:
                async with asyncio.timeout(silence_s):
                    piece = await anext(pieces)
            except (StopAsyncIteration, TimeoutError):
                return
            for entry in reader.feed(piece):
                yield entry


def asked(since: datetime | None, tail: int | None) -> dict[str, object]:
    """What the engine is asked for; all lines without a tail."""
    return {
        "stdout": True,
        "stderr": True,
        "timestamps": True,
        "details": True,
        "tail": "all" if tail is None else tail,
        **({} if since is None else {"since": f"{since.timestamp():.6f}"}),
    }
