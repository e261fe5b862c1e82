"""The way from the API to the swarm: an engine for each request, and what it refuses as a problem.

Each request connects anew. That costs a few milliseconds, and an engine that was away is back with the next request.
The docker SDK is loaded at the first one; nothing of it is imported with the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from bridge.errors import ClusterError, EngineError, EngineUnavailable
from bridge.manager.problems import Refusal
from bridge.manager.settings import SwarmSettings
from bridge.swarm.settings import told_address

if TYPE_CHECKING:
    from bridge.swarm.engine import Engine

NONE: Final = (
    "no swarm is configured: the manager's settings have no section swarm. Name the engine of one of the swarm's"
    " managers there, `swarm: {host: unix:///var/run/docker.sock}`, or in GPIO_BRIDGE_SWARM_HOST"
)
_AT_ONCE: Final = 8
"""So many requests ask the engine at a time; an engine that hangs holds no more threads than theirs."""


class Swarm:
    """The swarm that the settings name, if they do."""

    def __init__(self, settings: SwarmSettings | None) -> None:
        self._settings = settings
        self.own_stack = None if settings is None else settings.own_stack
        self._room = asyncio.Semaphore(_AT_ONCE)

    @asynccontextmanager
    async def asked(self) -> AsyncGenerator[Engine, None]:
        """An engine that answers. Raises Refusal, also for what it raises inside."""
        async with self._room, self.connected() as engine:
            yield engine

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Engine, None]:
        """As `asked`, for what takes long: it keeps nobody waiting."""
        if self._settings is None:
            raise Refusal(503, NONE)
        from bridge.swarm.engine import Engine  # noqa: PLC0415 - it brings the docker SDK

        settings = self._settings
        try:
            async with Engine(told_address(settings.host, settings.tls), timeout_s=settings.timeout_s) as engine:
                await engine.connect()
                yield engine
        except (EngineError, ClusterError) as error:
            raise refused(error) from error


def refused(error: EngineError | ClusterError) -> Refusal:
    """What an engine, or the state of its swarm, refuses, as a problem."""
    if isinstance(error, ClusterError | EngineUnavailable) or error.status == 0 or error.status >= 500:
        return Refusal(503, str(error))
    return Refusal(404 if error.status == 404 else 409, str(error))
