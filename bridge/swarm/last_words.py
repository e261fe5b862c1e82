"""What a task wrote last, for messages about its end."""

from __future__ import annotations

import logging

from bridge.errors import EngineError
from bridge.swarm.engine import Engine
from bridge.swarm.log_reader import asked, held
from bridge.swarm.logs import Entry
from bridge.swarm.tasks import Task

_log = logging.getLogger(__name__)

_LAST_LINES = 3


async def last_words(engine: Engine, task: Task) -> str:
    """The last lines that a task wrote, for messages; empty when there are none, or nobody knows them any more."""
    entries: list[Entry] = []
    try:
        entries, complaint = await held(engine, f"/tasks/{task.id}/logs", asked(None, _LAST_LINES))
    except EngineError as error:
        complaint = str(error)
    if complaint:
        _log.debug("No last words", extra={"op": "logs", "task": task.id, "reason": complaint})
    return " | ".join(text for entry in entries if (text := entry.text.strip()))
