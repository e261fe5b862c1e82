"""The gateway as a program: what it is made of, and in which order it starts and stops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from aiohttp import web
from prometheus_client import CollectorRegistry

from bridge.clock import Clock
from bridge.errors import FunctionError
from bridge.gateway.api.asynchronous import Accept
from bridge.gateway.api.functions import Functions
from bridge.gateway.api.invoke import Invoke
from bridge.gateway.api.logs import Logs
from bridge.gateway.api.secrets import SecretVerbs
from bridge.gateway.api.system import System, release
from bridge.gateway.app import App, Verb, metrics_handler
from bridge.gateway.async_queue import AsyncQueue
from bridge.gateway.auth import BasicAuth
from bridge.gateway.backends import Backend
from bridge.gateway.background import Background
from bridge.gateway.cors import Cors
from bridge.gateway.door import Door, allow_files
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.scaler import Scaler
from bridge.gateway.settings import GatewaySettings
from bridge.gateway.upstream import Upstream
from bridge.service import Disk, Health, page

if TYPE_CHECKING:
    from bridge.gateway.backends.local import LocalBackend
    from bridge.gateway.backends.swarm import SwarmBackend

_log = logging.getLogger(__name__)

_CUT_OFF_S = 1.0


class Gateway:
    """Serves OpenFaaS' interface over a backend; a `bridge.service.Program`.

    Stops in this order: the doors are closed to new connections; requests in flight get `timeouts.drain`, and what is
    left is cut off (a log that is followed never ends by itself, and is cut at once); asynchronous calls in work get
    the same time, those that wait stay in the journal; then the backend, which all of these needed.
    """

    name = "gateway"

    def __init__(self, settings: GatewaySettings, *, clock: Clock) -> None:
        self.settings = settings
        self.health = Health()
        self.registry = CollectorRegistry()
        self.backend: Backend | None = None
        self._clock = clock
        self._stack = AsyncExitStack()
        self._background: Background | None = None
        self._queue: AsyncQueue | None = None
        self._logs: Logs | None = None
        self._port = 0
        self._metrics_port: int | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        _log.info("Stopping", extra={"op": "stop"})
        await self._stack.aclose()

    async def failed(self) -> None:
        assert self._background is not None, "the gateway has not been started"
        await self._background.failed()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def metrics_port(self) -> int | None:
        """The port of the metrics alone, None where it is switched off."""
        return self._metrics_port

    @property
    def url(self) -> str:
        """Where a client on this machine finds the gateway."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.settings.host, self.settings.host)  # noqa: S104 - compared
        if ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"http://{host}:{self._port}"

    async def _start(self) -> None:
        settings, stack = self.settings, self._stack
        served_by = f"gpio-bridge/{release()}"
        allow_files(settings.max_connections)
        auth = BasicAuth(settings.basic_auth)
        background = self._background = Background()
        stack.push_async_callback(background.close)
        metrics: GatewayMetrics | None = None

        def restarted(name: str) -> None:
            if metrics is not None:
                metrics.restarted(name)

        backend = self._backend(background, restarted)
        metrics = GatewayMetrics(self.registry, backend.wanted)
        Disk(settings.state_dir, self.registry)
        await stack.enter_async_context(backend)
        self.backend = backend
        upstream = await stack.enter_async_context(Upstream(backend, settings))
        queue = AsyncQueue(
            settings.state_dir / "async.db",
            upstream,
            metrics,
            settings,
            clock=self._clock,
            background=background,
            served_by=served_by,
        )
        self._queue = await stack.enter_async_context(queue)
        background.spawn(Scaler(backend, metrics, settings.scaling, self._clock).run(), "scaler")
        self.health.require_ready("functions", backend.not_ready)
        self.health.require_ready("async queue", queue.problem)
        logs = self._logs = Logs(backend)
        app = App(
            auth=auth,
            cors=Cors(settings.cors_origins),
            invoke=Invoke(backend, upstream, metrics, settings, served_by),
            accept=Accept(backend, queue, settings, served_by),
            functions=Functions(backend, metrics),
            secrets=SecretVerbs(backend.secrets),
            logs=logs,
            system=System(backend, settings),
            page=self._page,
        )
        self._port = await self._listen(app, settings.port, "port")
        if settings.metrics.enabled:
            handler = metrics_handler(self._page)
            self._metrics_port = await self._listen(handler, settings.metrics.port, "metrics.port")
        _log.info("Listening", extra={"op": "start", "url": self.url, "metrics_port": self._metrics_port})

    def _backend(self, background: Background, restarted: Callable[[str], None]) -> LocalBackend | SwarmBackend:
        # Each takes memory and time to load that a gateway over the other has no use for.
        if self.settings.backend == "swarm":
            from bridge.gateway.backends.swarm import SwarmBackend  # noqa: PLC0415

            return SwarmBackend(self.settings, clock=self._clock, background=background, restarted=restarted)
        from bridge.gateway.backends.local import LocalBackend  # noqa: PLC0415

        return LocalBackend(self.settings, clock=self._clock, background=background, restarted=restarted)

    def _page(self, path: str) -> tuple[int, str, bytes] | None:
        return page(path, self.health, self.registry)

    async def _listen(self, handler: Verb | App, port: int, key: str) -> int:
        settings = self.settings
        server = Door(handler, max_connections=settings.max_connections, idle_s=settings.timeouts.idle_s)
        runner = web.ServerRunner(server, shutdown_timeout=_CUT_OFF_S)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self.settings.host, port, backlog=1024, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            raise FunctionError(
                f"the gateway cannot listen on {self.settings.host}, port {port}: {error.strerror or error};"
                f" stop what uses it, or choose another {key}"
            ) from error
        self._stack.push_async_callback(self._close_door, site, server, handler)
        return int(runner.addresses[0][1])

    async def _close_door(self, site: web.TCPSite, server: web.Server, handler: Verb | App) -> None:
        """Take no new connection, end those that idle, and let the calls in flight finish."""
        await site.stop()
        server.pre_shutdown()
        if isinstance(handler, App):
            if self._queue is not None:
                self._queue.stop()
            if self._logs is not None:
                self._logs.close()
            deadline = self._clock.monotonic() + self.settings.timeouts.drain_s
            while handler.calls_in_flight and self._clock.monotonic() < deadline:
                await self._clock.sleep(0.02)
