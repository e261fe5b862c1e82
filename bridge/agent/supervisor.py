"""What keeps one sensor alive: opens its device, takes readings, tells events and health, starts over on failure.

One sensor's failure is its own: it is reported once, retried after 1 s, doubled up to 60 s, and never stops another
sensor or the agent. Everything runs on the loop; edges come from the driver's thread by one door, blocking readings
from a `Reader`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client import Counter

from bridge.agent.board import Board
from bridge.agent.door import Door, Edge
from bridge.agent.metrics import Metrics
from bridge.agent.readers import Reader
from bridge.agent.sensors.plan import Aspect, Edges, Finding, Outlook, Plan, Polled
from bridge.agent.sensors.settings import Limits
from bridge.agent.state import HealthWord, SensorState
from bridge.clock import Clock, Timer
from bridge.config import duration
from bridge.core.event import Observation, Value

_log = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
REFUSED_LIMIT = 5
"""So many implausible readings in a row are a fault; more than `RateOfChange` needs to believe a real step."""
GRACE_S = 30.0
"""A supervisor that is this late in doing what it said it would is stuck (for the watchdog)."""
NO_LIMITS = Limits(0.0, 0.0, 0.0)


class Sink(Protocol):
    """Where a supervisor tells what it has seen."""

    def observed(self, sensor: str, seen: Observation, now: float) -> None:
        """Something happened: it becomes an event. `now` is `seen.time` by the monotonic clock."""

    def state_changed(self, sensor: str) -> None:
        """The sensor's state is another one than before."""


class Supervisor:
    """Runs one sensor. `known` is the level and the measure of its last events, from before the start.

    `quiet_s` is how long ago the last of them was, and `limits` what is expected of the sensor; both are for alerts.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        plan: Plan,
        *,
        board: Board,
        clock: Clock,
        reader: Reader,
        sink: Sink,
        metrics: Metrics,
        known: Mapping[Aspect, tuple[str, Value]],
        limits: Limits = NO_LIMITS,
        quiet_s: float = 0.0,
    ) -> None:
        self.name = name
        self.limits = limits
        self.kind = kind
        self.plan = plan
        self.state = SensorState()
        self._board = board
        self._clock = clock
        self._reader = reader
        self._sink = sink
        self._metrics = metrics
        self._polled = isinstance(plan.source, Polled)
        self._edges = metrics.edges.labels(name) if isinstance(plan.source, Edges) else None
        if self._edges is not None:
            metrics.edges_dropped.labels(name)  # from zero on, or nobody sees the first one grow
        self._events: dict[str, Counter] = {}
        self._known = dict(known)
        self._seen: set[Aspect] = set()
        self._faulty = False
        self._refused = 0
        self._failures = 0
        self._timer: Timer | None = None
        self._door: Door | None = None
        self._dropped = 0
        self._broken: asyncio.Future[None] | None = None
        self._next_sign_at = 0.0
        self._told_at = clock.monotonic() - quiet_s
        self._active_at: float | None = None
        self._reading: float | None = None
        self._same_at = self._told_at
        metrics.set_health(name, self.state.health)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                self._next_sign_at = self._clock.monotonic() + GRACE_S
                if isinstance(self.plan.source, Edges):
                    await self._watch(self.plan.source)
                else:
                    await self._poll(self.plan.source)
            except OSError as error:  # SensorError too
                self._fail(str(error))
            except Exception as error:  # noqa: BLE001 - the outermost loop of a supervised task
                _log.exception("A sensor failed unexpectedly", extra={"op": "sensor", "sensor": self.name})
                self._fail(f"{type(error).__name__}: {error}")
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._failures - 1))
            self._next_sign_at = self._clock.monotonic() + pause_s + GRACE_S
            await self._clock.sleep(pause_s)

    def stop(self, reason: str) -> None:
        """Show that the value is no longer watched; called after the task has ended."""
        self.state = SensorState(reason=reason)
        self._show("stale", reason)

    def stuck(self) -> str | None:
        """Why the supervisor makes no progress, or None when it does."""
        late_s = self._clock.monotonic() - self._next_sign_at
        if isinstance(self.plan.source, Edges) and self._broken is not None:
            return None  # waiting for the next edge, which may be a year away
        return f"{self.name} has made no sign for {duration(round(late_s + GRACE_S))}" if late_s > 0 else None

    @property
    def silent_s(self) -> float:
        """How long its last event is ago."""
        return self._clock.monotonic() - self._told_at

    @property
    def unchanged_s(self) -> float:
        """How long its level has been active, or its number the same to the last digit; 0 at rest."""
        since = self._active_at if self._reading is None else self._same_at
        return 0.0 if since is None else self._clock.monotonic() - since

    async def _watch(self, source: Edges) -> None:
        """Take edges until something breaks."""
        clock = self._clock
        self._broken = asyncio.get_running_loop().create_future()
        self._door, self._dropped = Door(clock, self._edge), 0
        try:
            device = source.open(self._board, self._door.push)
            try:
                # Read after the callbacks are armed: an edge before that cannot be lost, one after it is queued.
                self._read(device.level(), clock.now(), clock.monotonic())
                self._failures = 0
                await self._broken
            finally:
                device.close()
        finally:
            self._door.close()
            self._broken = None
            self._schedule(None)

    async def _poll(self, source: Polled) -> None:
        """Take readings until one fails."""
        clock = self._clock
        self._broken = asyncio.get_running_loop().create_future()
        device = source.open(self._board)
        try:
            due = clock.monotonic()
            while True:
                self._next_sign_at = clock.monotonic() + source.timeout_s + GRACE_S
                try:
                    value = await self._reader.read(device.read, source.timeout_s)
                except Exception:
                    self._metrics.readings.labels(self.name, "failed").inc()
                    raise
                self._read(value, clock.now(), clock.monotonic())
                if self._broken.done():
                    self._broken.result()
                # Readings that were missed are not made up for.
                due = max(due + source.every_s, clock.monotonic())
                self._next_sign_at = due + GRACE_S
                await clock.sleep(due - clock.monotonic())
        finally:
            self._broken = None
            self._schedule(None)
            device.close()

    def _edge(self, edge: Edge) -> None:
        assert self._door is not None
        assert self._edges is not None
        self._guarded(edge.level, edge.at, edge.now)
        # Counted when the event is on its way: somebody waits for that.
        self._edges.inc()
        if self._door.dropped > self._dropped:
            self._metrics.edges_dropped.labels(self.name).inc(self._door.dropped - self._dropped)
            self._dropped = self._door.dropped

    def _guarded(self, value: float | None, at: datetime, now: float) -> None:
        """Read, or wake on None, from a callback: what goes wrong there breaks this run of the sensor."""
        try:
            if value is None:
                self._take(self.plan.interpreter.wake(now), at, now)
            else:
                self._read(value, at, now)
        except Exception as error:  # noqa: BLE001 - handed to the supervised task
            if self._broken is not None and not self._broken.done():
                self._broken.set_exception(error)

    def _read(self, value: float, at: datetime, now: float) -> None:
        outlook = self.plan.interpreter.read(value, now)
        if outlook.faults:
            self._refuse(outlook, at, now)
            return
        if self._polled:
            self._metrics.readings.labels(self.name, "taken").inc()
            self._failures = 0
            if self.plan.measures and value != self._reading:
                self._reading, self._same_at = value, now
        self._refused = 0
        if self._faulty:
            self._faulty = False
            self._tell("sensor.recovered", None, None, at, now, initial=False)
            _log.info("A sensor has recovered", extra={"op": "sensor", "sensor": self.name})
        self._take(outlook, at, now)

    def _refuse(self, outlook: Outlook, at: datetime, now: float) -> None:
        """A reading that cannot be true: doubt the sensor, and after some in a row call it a fault."""
        self._metrics.readings.labels(self.name, "refused").inc()
        self._refused += 1
        reason = outlook.faults[-1].reason
        if self._refused < REFUSED_LIMIT and not self._faulty:
            self._take(Outlook(outlook.findings, outlook.wake_at), at, now, health="suspect", reason=reason)
        else:
            self._fault(f"{REFUSED_LIMIT} implausible readings in a row; the last: {reason}")

    def _take(
        self,
        outlook: Outlook,
        at: datetime,
        now: float,
        health: HealthWord | None = None,
        reason: str | None = None,
    ) -> None:
        """Make events of findings, and show the state once."""
        for finding in outlook.findings:
            self._find(finding, at, now)
        self._schedule(outlook.wake_at)
        if health is None:
            health = "warming_up" if self._warming_up() else "ok"
        state = self.state
        # A finding is news of its own: of it the state says since when it is so.
        if outlook.findings or health != state.health or reason != state.reason:
            self._show(health, reason)

    def _find(self, finding: Finding, at: datetime, now: float) -> None:
        """The first finding of a run is a level that was found, not a change that was seen: `initial`.

        It is an event only when it differs from what the last event said (PROTOCOL.md, "Accepted").
        """
        initial = finding.aspect not in self._seen
        known = self._known.get(finding.aspect)
        self._seen.add(finding.aspect)
        if not initial or known is None or not finding.same_as(*known):
            self._tell(finding.name, finding.value, finding.unit, at, now, initial=initial)
            self._known[finding.aspect] = (finding.name, finding.value)
        state = self.state
        state.value, state.event, state.since = finding.value, finding.name, at
        if finding.aspect == "level":
            state.level = finding.name
            if finding.value is not True:
                self._active_at = None
            elif self._active_at is None:
                self._active_at = now

    def _tell(self, name: str, value: Value, unit: str | None, at: datetime, now: float, *, initial: bool) -> None:
        self._told_at = now
        seen = Observation(
            kind=self.kind, name=name, value=value, unit=unit, initial=initial, time=at,
            timesynced=self._clock.synchronized(),
        )  # fmt: skip
        self._sink.observed(self.name, seen, now)
        counter = self._events.get(name)
        if counter is None:
            counter = self._events[name] = self._metrics.events.labels(self.name, name)
        counter.inc()

    def _fail(self, reason: str) -> None:
        """This run has ended by an error."""
        self._failures += 1
        _log.warning(
            "A sensor is at fault",
            extra={"op": "sensor", "sensor": self.name, "reason": reason, "failures": self._failures},
        )
        self._fault(reason)

    def _fault(self, reason: str) -> None:
        """Forget everything that may be stale, and tell the fault once."""
        self.plan.interpreter.reset()
        self._seen.clear()
        self._active_at = self._reading = None
        self._schedule(None)
        at, now = self._clock.now(), self._clock.monotonic()
        if not self._faulty:
            self._faulty = True
            self._metrics.faults.labels(self.name).inc()
            self._tell("sensor.fault", reason, None, at, now, initial=False)
        elif self.state.reason == reason:
            return
        since = self.state.since if self.state.health == "fault" else at
        self.state = SensorState(None, "sensor.fault", None, since, "fault", reason)
        self._show("fault", reason)

    def _show(self, health: HealthWord, reason: str | None) -> None:
        self.state.health, self.state.reason = health, reason
        self._metrics.set_health(self.name, health)
        self._sink.state_changed(self.name)

    def _warming_up(self) -> bool:
        window = self.plan.interpreter.warm_up
        return window is not None and window.warming_up(self._clock.monotonic())

    def _schedule(self, wake_at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at is not None:
            self._timer = self._clock.call_at(wake_at, self._wake)

    def _wake(self) -> None:
        self._guarded(None, self._clock.now(), self._clock.monotonic())
