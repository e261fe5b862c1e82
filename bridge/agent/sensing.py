"""Sensing: a node's sensors, each under its supervisor, and the way of what they see into the outbox."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from datetime import datetime

from bridge.agent.board import Board
from bridge.agent.metrics import Metrics
from bridge.agent.outbox import Durability, Outbox, Priority
from bridge.agent.readers import LoopReader, Reader, ThreadReader
from bridge.agent.sensors.plan import Plan, Polled
from bridge.agent.settings import AgentSettings
from bridge.agent.states import States
from bridge.agent.supervisor import Supervisor
from bridge.clock import Clock
from bridge.core.event import Observation
from bridge.mqtt.transport import Done

_log = logging.getLogger(__name__)

STOP_S = 5.0
"""How long the stop waits for the outbox's last commit."""


class Sensing:
    """Has the outbox accept what is seen; a sink (bridge.agent.supervisor.Sink). The loop owns it.

    `attach` who shows the sensors' states, then `plan` the sensors; whoever runs their supervisors calls `drain` and
    `stop` when these have ended.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        clock: Clock,
        board: Board,
        outbox: Outbox,
        metrics: Metrics,
        threads: bool,
        sensors: dict[str, Supervisor],
    ) -> None:
        self.sensors = sensors
        self._settings = settings
        self._clock = clock
        self._board = board
        self._outbox = outbox
        self._metrics = metrics
        self._threads = threads
        self._readers: dict[str, Reader] = {}
        self._promised: dict[str, tuple[Durability, Priority]] = {
            name: (sensor.committed_to, sensor.priority) for name, sensor in settings.sensors.items()
        }
        self._accepting: set[asyncio.Future[tuple[str, ...]]] = set()
        self._abandoned = False

    def attach(self, show: Callable[[str, Done], None]) -> None:
        """Show states by this from now on."""
        self._states = States(self._clock, show, lambda: bool(self._accepting))

    def plan(self) -> None:
        """Make the supervisors of all sensors, each with what its last life has told."""
        for name, settings in self._settings.sensors.items():
            plan = settings.plan()
            known = self._outbox.level(name)
            self.sensors[name] = Supervisor(
                name,
                settings.KIND,
                plan,
                board=self._board,
                clock=self._clock,
                reader=self._reader(name, plan),
                sink=self,
                metrics=self._metrics,
                known={} if known is None else plan.interpreter.known(known.name, known.value),
                limits=settings.limits,
                quiet_s=0.0 if known is None or isinstance(plan.source, Polled) else self._age_s(known.time),
            )
        self._metrics.watch_sensors(self.sensors.values())

    def observed(self, sensor: str, seen: Observation, now: float) -> None:
        """A sensor's event goes into the outbox; from its commit on it is promised (PROTOCOL.md, "Accepted")."""
        if self._abandoned:
            return  # an edge that was on its way to a process that is no more
        accepted = self._outbox.accept([(sensor, seen, *self._promised[sensor])], now)
        if accepted.done():
            self._accepted(sensor, accepted)
            return
        self._accepting.add(accepted)
        accepted.add_done_callback(functools.partial(self._accepted, sensor))

    def state_changed(self, sensor: str) -> None:
        """A sensor's state is another one than before."""
        self._states.changed(sensor)

    def show_all(self) -> None:
        """Somebody has to hear every state anew."""
        for name in self.sensors:
            self._states.changed(name)

    def stuck(self) -> str | None:
        """For health: which sensors are not looked after any more."""
        return "; ".join(reason for each in self.sensors.values() if (reason := each.stuck())) or None

    async def drain(self) -> None:
        """Wait a moment until what was seen is on the disk."""
        if not self._accepting:
            return
        _, late = await asyncio.wait(tuple(self._accepting), timeout=STOP_S)
        if late:
            _log.error("Events are not on the disk at the stop", extra={"op": "stop", "events": len(late)})

    def stop(self) -> None:
        """Values are no longer watched, and the last states say so."""
        self._states.stop()
        for sensor in self.sensors.values():
            sensor.stop("the agent has stopped")

    def abandon(self) -> None:
        """See nothing more, and show nothing more."""
        self._abandoned = True
        self._states.abandon()

    def close(self) -> None:
        """End the readers' threads."""
        for reader in self._readers.values():
            reader.close()

    def _accepted(self, sensor: str, accepted: asyncio.Future[tuple[str, ...]]) -> None:
        self._accepting.discard(accepted)
        if not self._accepting:
            self._states.caught_up()
        if accepted.cancelled():
            return
        error = accepted.exception()
        if error is not None:
            self._metrics.unaccepted.labels(sensor).inc()
            _log.error(
                "An event is lost: the outbox could not store it",
                extra={"op": "accept", "sensor": sensor, "reason": str(error)},
            )

    def _reader(self, name: str, plan: Plan) -> Reader:
        queue = (plan.source.queue if isinstance(plan.source, Polled) else None) or f"sensor {name}"
        if queue not in self._readers:
            self._readers[queue] = (
                ThreadReader(f"{self._settings.node} {queue}", self._clock)
                if self._threads
                else LoopReader(self._clock, self._board.took_s)
            )
        return self._readers[queue]

    def _age_s(self, at: datetime) -> float:
        """How long ago that was; a clock that was set back makes nothing younger than now."""
        return max(0.0, (self._clock.now() - at).total_seconds())
