"""The engine door as a program: what it is made of, and in which order it starts and stops.

Order of stopping, and why: the clients' sockets go first, and what is followed there is cut off; then nobody needs the
engine any more; health and metrics tell of it until the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final, Self

from prometheus_client import CollectorRegistry

from bridge.clock import Clock
from bridge.engine_door.engine import EngineSide
from bridge.engine_door.handler import Handler
from bridge.engine_door.inspector import Inspector
from bridge.engine_door.listener import listening
from bridge.engine_door.metrics import Metrics
from bridge.engine_door.passages import Client
from bridge.engine_door.services import allowed_bind
from bridge.engine_door.settings import EngineDoorSettings, GatewayClient, ManagerClient, user_number
from bridge.errors import EngineDoorError
from bridge.service import Health, status_server

_log = logging.getLogger(__name__)

_LOOK_S: Final = 5.0
_IDLE_S: Final = 75.0


class EngineDoor:
    """A program (bridge.service.Program)."""

    name = "engine-door"

    def __init__(self, settings: EngineDoorSettings, *, clock: Clock) -> None:
        self.settings = settings
        self.health = Health()
        self.registry = CollectorRegistry()
        self._clock = clock
        self._metrics = Metrics(self.registry)
        self._stack = AsyncExitStack()
        self._watching: asyncio.Task[None] | None = None
        self.http_port = 0

    async def __aenter__(self) -> Self:
        settings = self.settings
        async with AsyncExitStack() as stack:
            status = status_server(self.health, self.registry, settings.http.host, settings.http.port)
            try:
                await stack.enter_async_context(status)
            except OSError as error:
                where = f"{settings.http.host}, port {settings.http.port}"
                raise EngineDoorError(f"the engine door cannot listen on {where}: {error.strerror or error}") from error
            self.http_port = status.port
            engine = await stack.enter_async_context(EngineSide(settings.engine))
            self.health.require_ready("engine", lambda: engine.problem)
            self._metrics.observe_engine(lambda: engine.problem is None)
            await engine.ping()
            self._watching = asyncio.create_task(self._watch(engine), name="engine door engine")
            stack.push_async_callback(_ended, self._watching)
            inspector = Inspector(engine, settings)
            self._metrics.begin(name for name, _ in self._clients())
            for name, client in self._clients():
                handler = Handler(name, user_number(client.user), engine, inspector, self._metrics, settings)
                server = await stack.enter_async_context(
                    listening(
                        client.socket,
                        handler,
                        max_connections=settings.max_connections,
                        idle_s=_IDLE_S,
                    )
                )
                self._metrics.observe(name, lambda server=server: len(server.connections))  # type: ignore[misc] # bound early
                facts = {"op": "engine_door.start", "client": name, "socket": str(client.socket), "user": client.user}
                _log.info("Listening", extra=facts)
            paths = (settings.engine.socket, settings.engine.socket.resolve())
            if any(allowed_bind(str(path), settings.binds) for path in paths):
                _log.warning(
                    "A service may mount the engine's socket: whoever may deploy one needs no door any more",
                    extra={"op": "engine_door.start", "binds": ", ".join(settings.binds)},
                )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        _log.info("Stopping", extra={"op": "engine_door.stop"})
        await self._stack.aclose()

    async def failed(self) -> None:
        assert self._watching is not None, "the engine door has not been started"
        await asyncio.shield(self._watching)

    def _clients(self) -> Iterator[tuple[Client, GatewayClient | ManagerClient]]:
        if self.settings.gateway is not None:
            yield "gateway", self.settings.gateway
        if self.settings.manager is not None:
            yield "manager", self.settings.manager

    async def _watch(self, engine: EngineSide) -> None:
        """Know how the engine is also while nobody asks it."""
        while True:
            await self._clock.sleep(_LOOK_S)
            await engine.ping()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
