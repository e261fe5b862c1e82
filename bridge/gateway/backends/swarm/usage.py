"""What the tasks of a function use: the engine knows it of its own machine's containers only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bridge.errors import EngineError
from bridge.openfaas.deployment import Usage
from bridge.swarm.engine import Engine
from bridge.swarm.services import moment
from bridge.swarm.tasks import Task

_LEAST_S = 0.5


class UsageMeter:
    """Tells CPU over the time since it was asked last (at first, since a container's start), and memory now."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._samples: dict[str, tuple[datetime, int]] = {}

    async def usage(self, tasks: Sequence[Task], node_id: str) -> Usage | None:
        """What these tasks use together; None when one of them runs on another machine, or none runs."""
        serving = [task for task in tasks if task.serving]
        if not serving or any(task.node_id != node_id or not task.container_id for task in serving):
            return None
        found = await asyncio.gather(*(self._ask(task) for task in serving))
        used = [each for each in found if each is not None]
        self._samples = {key: value for key, value in self._samples.items() if key not in _over(tasks)}
        if len(used) != len(serving):
            return None
        return Usage(round(sum(cpu for cpu, _ in used) * 1000, 3), sum(memory for _, memory in used))

    async def _ask(self, task: Task) -> tuple[float, int] | None:
        path = f"/containers/{task.container_id}/stats"
        try:
            stats: Mapping[str, Any] = await self._engine.get(path, stream=False, **{"one-shot": True})
        except EngineError as error:
            if error.status in (404, 409):
                return None  # it ended just now
            raise
        at, cpu_ns = moment(stats["read"]), int(stats["cpu_stats"]["cpu_usage"]["total_usage"])
        since, used_then = self._samples.get(task.id, (task.at, 0))
        self._samples[task.id] = (at, cpu_ns)
        rate = max(0, cpu_ns - used_then) / 1e9 / max(_LEAST_S, (at - since).total_seconds())
        return rate, memory_in_use(stats.get("memory_stats") or {})


def memory_in_use(stats: Mapping[str, Any]) -> int:
    """Bytes resident, as `docker stats` has it: without the files that the kernel could drop at once."""
    details = stats.get("stats") or {}
    inactive = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(stats.get("usage") or 0) - int(inactive))


def _over(tasks: Sequence[Task]) -> set[str]:
    return {task.id for task in tasks if not task.serving}
