"""What a task wrote last, for messages about its end."""

from __future__ import annotations

import asyncio
import logging

from bridge.errors import EngineError
from bridge.swarm.engine import Engine
from bridge.swarm.logs import FrameReader
from bridge.swarm.tasks import Task

_log = logging.getLogger(__name__)

_SILENCE_S = 3.0
"""A machine that is away keeps the engine from ending a log: what came until then is all."""
_LAST_LINES = 3


async def last_words(engine: Engine, task: Task) -> str:
    """The last lines that a task wrote, for messages; empty when there are none, or nobody knows them any more."""
    reader = FrameReader()
    said: list[str] = []
    params = {"stdout": True, "stderr": True, "timestamps": True, "details": True, "tail": _LAST_LINES}
    try:
        async with engine.stream(f"/tasks/{task.id}/logs", **params) as stream, asyncio.timeout(_SILENCE_S):
            async for piece in stream:
                said += [entry.text.strip() for entry in reader.feed(piece)]
    except (EngineError, TimeoutError) as error:
        _log.debug("No last words", extra={"op": "logs", "task": task.id, "reason": str(error)})
    return " | ".join(line for line in said if line)
