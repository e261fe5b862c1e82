"""The agent: one node's program. Pins become events in the outbox, the outbox meets the broker, commands move outputs.

Sensing (sensing.py) does not wait for anybody: sensors start before the broker (link.py) is there, and their events
wait in the outbox. Here is what the agent is made of, and in which order it starts and stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Self

from bridge.agent.board import Board, driver_name
from bridge.agent.link import Link
from bridge.agent.metrics import Metrics
from bridge.agent.outbox import Outbox, OutboxCounters
from bridge.agent.outputs import Output
from bridge.agent.sensing import Sensing
from bridge.agent.settings import AgentSettings
from bridge.agent.supervisor import Supervisor
from bridge.clock import Clock, RealClock
from bridge.core.topics import Topics
from bridge.errors import BridgeError
from bridge.mqtt.transport import Connector
from bridge.runtime.http import Server
from bridge.service import Disk, Health, first_ended, make_folder, status_server
from bridge.ulid import mint

_log = logging.getLogger(__name__)


class Agent:
    """One node's agent; carries out `bridge.service.Program`.

    `board` is closed by whoever opened it, after the agent has stopped. `threads` says whether blocking readings are
    taken and the disk is used on threads; by default they are, except under a virtual clock, which would stand still
    meanwhile. `mint_id` makes the ids of events and of the session, `epoch` names a new outbox; both are random where
    they are not given.
    """

    name = "agent"

    def __init__(
        self,
        settings: AgentSettings,
        *,
        clock: Clock,
        connect: Connector,
        board: Board,
        threads: bool | None = None,
        mint_id: Callable[[], str] | None = None,
        epoch: str | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.metrics = Metrics()
        self.registry = self.metrics.registry
        self._mint_id: Callable[[datetime], str] = mint if mint_id is None else lambda _: mint_id()
        self._epoch = epoch
        self.session = self._mint_id(clock.now())
        self._clock = clock
        self._connect = connect
        self._board = board
        self._threads = isinstance(clock, RealClock) if threads is None else threads
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Server | None = None
        self.sensors: dict[str, Supervisor] = {}
        self.outputs: dict[str, Output] = {}

    @property
    def port(self) -> int | None:
        """The port of the status server, once started; None without one."""
        return None if self._server is None else self._server.port

    @property
    def counters(self) -> OutboxCounters:
        """What its outbox has done."""
        return self._outbox.counters

    @property
    def backlog(self) -> int:
        """Events that are not confirmed."""
        return self._outbox.backlog

    async def __aenter__(self) -> Self:
        """Start: the disk first, so that nothing is seen before it can be kept; the broker last, it may be away."""
        settings = self.settings
        try:
            self._outbox = await self._stack.enter_async_context(self._new_outbox())
            self.metrics.watch(self._outbox)
            Disk(settings.state_dir, self.registry)
            self._sensing = Sensing(
                settings,
                clock=self._clock,
                board=self._board,
                outbox=self._outbox,
                metrics=self.metrics,
                threads=self._threads,
                sensors=self.sensors,
            )
            self._link = Link(
                settings,
                session=self.session,
                clock=self._clock,
                connect=self._connect,
                board=self._board,
                outbox=self._outbox,
                sensing=self._sensing,
                outputs=self.outputs,
                metrics=self.metrics,
                port=lambda: self.port,
            )
            self._open_outputs()
            self._stack.callback(self._sensing.close)
            self._sensing.plan()
            self._require_health()
            if settings.http is not None:
                self._server = status_server(self.health, self.registry, settings.http.host, settings.http.port)
                await self._start_server(self._server)
            await self._link.start()
        except BaseException:
            await self._close()
            raise
        self._start_tasks()
        _log.info(
            "The agent has started",
            extra={
                "op": "start",
                "node": settings.node,
                "board": self._board.description,
                "pin_factory": driver_name(self._board.pin_factory),
                "session": self.session,
            },
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop, in this order.

        1. Sensors: no more edges, so that nothing is seen that cannot be kept.
        2. Outputs off: nobody can command them any more, and the broker still hears their last state.
        3. The outbox's last commit: what was seen is on the disk before we say goodbye.
        4. The broker: values are no longer watched, `offline`, a clean disconnect.
        5. The status server, the outbox's file, and the outputs' pins last: they stay off until then.
        """
        self._link.stopping()
        try:
            await self._stop_tasks()
            for output in self.outputs.values():
                output.stop()
                self._link.show_output(output.name)
            await self._sensing.drain()
            self._sensing.stop()
            await self._link.stop()
        finally:
            await self._close()
        _log.info("The agent has stopped", extra={"op": "stop", "node": self.settings.node})

    def abandon(self) -> None:
        """Let go of everything at once, as a kill of the process does: nothing more is seen, committed or said.

        Only without threads; the connection to the broker is for whoever made it to cut. The pins are free when the
        loop has turned.
        """
        self._link.abandon()
        for task in self._tasks:
            task.cancel()
        self._sensing.abandon()
        self._outbox.abandon()
        for output in self.outputs.values():
            output.abandon()

    async def failed(self) -> None:
        """Wait until a long-lived task ends, which none ever should, and raise why."""
        await first_ended(*self._tasks)

    def _new_outbox(self) -> Outbox:
        settings = self.settings
        make_folder(settings.state_dir)
        return Outbox(
            settings.state_dir / "outbox.db",
            Topics(settings.root),
            settings.site,
            settings.node,
            self._clock,
            settings.outbox,
            mint_id=self._mint_id,
            epoch=self._epoch,
            threads=self._threads,
        )

    def _open_outputs(self) -> None:
        for name, settings in self.settings.outputs.items():
            self.outputs[name] = Output(
                name,
                settings,
                board=self._board,
                clock=self._clock,
                metrics=self.metrics,
                changed=self._link.show_output,
            )
            self.outputs[name].open()

    def _require_health(self) -> None:
        self.health.require_alive("sensors", self._sensing.stuck)
        self.health.require_ready("broker", lambda: self._link.problem)
        self.health.require_ready("subscriptions", lambda: self._link.subscribing.problem)
        self.health.require_ready("outbox", lambda: self._outbox.problem)
        self.health.require_alive(
            "outbox file",
            lambda: (
                f"{self._outbox.journal.path} is damaged; a restart sets it aside"
                if self._outbox.journal.corrupt
                else None
            ),
        )

        self.health.require_alive(
            "outbox numbers",
            lambda: (
                f"{self._outbox.journal.path} is an old copy that was put back; a restart begins with new numbers"
                if self._outbox.set_back
                else None
            ),
        )

    async def _start_server(self, server: Server) -> None:
        try:
            await server.start()
        except OSError as error:
            assert self.settings.http is not None
            address = f"{self.settings.http.host}:{self.settings.http.port}"
            message = (
                f"cannot serve health and metrics on {address}: {error.strerror or error}; set http: {{port: ...}}"
            )
            raise BridgeError(message) from error
        self._stack.push_async_callback(server.stop, drain_s=1.0)

    def _start_tasks(self) -> None:
        loop, node = asyncio.get_running_loop(), self.settings.node
        self._tasks.append(loop.create_task(self._link.subscribing.run(), name=f"{node} subscribes"))
        for name, sensor in self.sensors.items():
            self._tasks.append(loop.create_task(sensor.run(), name=f"{node} sensor {name}"))

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for task, outcome in zip(self._tasks, outcomes, strict=True):
            if isinstance(outcome, Exception):
                _log.error("A task had failed", extra={"op": "stop", "task": task.get_name()}, exc_info=outcome)

    async def _close(self) -> None:
        try:
            await self._stack.aclose()
        finally:
            for output in self.outputs.values():
                output.close()
