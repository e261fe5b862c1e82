"""The manager as a program: what it is made of, and in which order it starts and stops.

Order of stopping, and why: the HTTP server ends first (nothing new comes in, what is under way gets a moment), because
everything else serves it.
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Self

from prometheus_client import CollectorRegistry

from bridge.clock import Clock
from bridge.manager.door import Application, Door
from bridge.manager.metrics import Metrics
from bridge.manager.settings import ManagerSettings
from bridge.manager.web import Web
from bridge.service import Health, page

_log = logging.getLogger(__name__)


class Manager:
    """A program (bridge.service.Program).

    `eager` says whether the API is loaded at the start, or when somebody first asks for it.
    """

    name = "manager"

    def __init__(self, settings: ManagerSettings, *, clock: Clock, eager: bool = True) -> None:
        self.settings = settings
        self.health = Health()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self._clock = clock
        self._eager = eager
        self._stack = AsyncExitStack()
        self._door = Door(self._application, self._page, self.metrics, clock)
        self._web = Web(self._door, settings.http.host, settings.http.port)

    @property
    def url(self) -> str:
        """Where a client on this machine finds the manager."""
        return self._web.url

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._eager:
                await self._door.application()
            await stack.enter_async_context(self._web)
            self.health.require_alive("http", lambda: self._web.problem)
            self._stack = stack.pop_all()
        _log.info("manager started", extra={"op": "manager.start", "url": self.url})
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        _log.info("manager stopped", extra={"op": "manager.stop"})

    async def failed(self) -> None:
        """Wait until the server ends by itself, and raise its error."""
        await self._web.failed()

    def _application(self) -> Application:
        from bridge.manager.app import make  # noqa: PLC0415 - it brings FastAPI; see door.py

        return make()

    def _page(self, path: str) -> tuple[int, str, bytes] | None:
        return page(path, self.health, self.registry)
