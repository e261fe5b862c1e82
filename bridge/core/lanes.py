"""Lanes: order within one, independence between them, and fair shares of what may run at once (PROTOCOL.md, rule 9).

A lane is (mapping, sensor), or (mapping, topic) for a foreign topic. In a lane the first attempt of an invocation
starts only after the one before it has ended. What may not live here: what an invocation is, how it is attempted, why
it failed.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Lane(Generic[T]):
    name: str
    function: str
    """The head's function. A mapping that was changed may have queued others behind it."""
    queue: deque[tuple[str, T]] = field(default_factory=deque)
    running: bool = False
    not_before: float | None = None
    """The head waits for its retry until this monotonic time."""


@dataclass(slots=True, eq=False)
class _Function(Generic[T]):
    ready: deque[_Lane[T]] = field(default_factory=deque)
    lanes: int = 0
    running: int = 0
    failures: int = 0
    """Failed attempts in a row, of whatever lane: what the breaker counts."""
    probe_at: float | None = None
    """Parked: nothing starts before this monotonic time, and then one alone."""
    probing: bool = False
    pause_s: float = 0.0


class Lanes(Generic[T]):
    """Which invocation may start next.

    `per_function` and `total` bound what runs at once. Functions take turns, and within a function its lanes do, so
    that one chattering sensor cannot starve the rest. After `failures` failed attempts in a row the breaker opens: the
    function is parked, and probed, as one that cannot be reached (M. Nygard, "Release It!", 2nd edition, 5.2).
    """

    PROBE_FIRST_S = 1.0
    PROBE_MAX_S = 60.0

    def __init__(self, *, per_function: int, total: int, failures: int = 10) -> None:
        self._per_function = per_function
        self._total = total
        self._failures = failures
        self._lanes: dict[str, _Lane[T]] = {}
        self._functions: dict[str, _Function[T]] = {}
        self.turns: deque[str] = deque()
        """Functions that have a ready lane, each once: while there is none, `start` has nothing to do."""
        self.wake_at: float | None = None
        """When `wake` has something to do: a retry or a probe falls due."""
        self._waiting: list[tuple[float, int, _Lane[T]]] = []
        self._probes: list[tuple[float, int, str]] = []
        self._order = itertools.count()
        self._running = 0
        self._queued = 0

    @property
    def running(self) -> int:
        """Attempts under way."""
        return self._running

    @property
    def queued(self) -> int:
        """Invocations that have not ended, running ones included."""
        return self._queued

    @property
    def parked(self) -> tuple[str, ...]:
        """Functions that something waits for and that are parked, in the order of their names."""
        return tuple(
            sorted(
                name for name, function in self._functions.items() if function.lanes and function.probe_at is not None
            )
        )

    def is_parked(self, function: str) -> bool:
        """Whether nothing of this function starts but a probe."""
        found = self._functions.get(function)
        return found is not None and found.probe_at is not None

    def add(self, name: str, function: str, item: T, *, not_before: float | None = None) -> None:
        """Queue an invocation at the end of its lane; one at the head waits until a monotonic time, if one is given."""
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name, function)
            self._enter(function)
        lane.queue.append((function, item))
        self._queued += 1
        if len(lane.queue) > 1:
            return
        if not_before is None:
            self._make_ready(lane)
        else:
            self._wait(lane, not_before)

    def start(self) -> list[T]:
        """The invocations that may start now; each counts as running until `end`, `again` or `park`."""
        started: list[T] = []
        rest = len(self.turns)
        while rest and self._running < self._total:
            name = self.turns.popleft()
            function = self._functions.get(name)
            if function is None or not function.ready:
                rest -= 1
                continue
            # One that is parked runs a probe, and nothing beside it.
            resting = function.probe_at is not None and (not function.probing or function.running > 0)
            if resting or function.running >= self._per_function:
                self.turns.append(name)
                rest -= 1
                continue
            lane = function.ready.popleft()
            lane.running = True
            function.running += 1
            self._running += 1
            started.append(lane.queue[0][1])
            if function.ready:
                self.turns.append(name)
            rest = len(self.turns)
        return started

    def end(self, name: str, *, answered: bool = True, failed_at: float | None = None) -> None:
        """The lane's running invocation has ended, well or dead; the next one may start.

        `answered` is False when it ended without an attempt: that says nothing about its function. `failed_at` is the
        monotonic time at which its last attempt failed, when that says that the function is not well.
        """
        lane = self._stop(name)
        if failed_at is not None:
            self._fail(lane.function, failed_at)
        elif answered:
            function = self._functions[lane.function]
            if function.failures or function.probe_at is not None:
                self._unpark(function)
        self._next(lane)

    def again(self, name: str, not_before: float, *, failed_at: float | None = None) -> None:
        """The lane's running invocation is tried again, not before this monotonic time; the lane waits with it.

        `failed_at` as in `end`.
        """
        lane = self._stop(name)
        if failed_at is not None:
            self._fail(lane.function, failed_at)
        else:
            self._unpark(self._functions[lane.function])
        self._wait(lane, not_before)

    def park(self, name: str, now: float) -> None:
        """Nothing of this lane's function starts until a probe succeeds; the running invocation stays the head.

        The probes go round the lanes, so that one event that the function itself calls unknown (its own 404) does not
        hold the others for ever.
        """
        lane = self._stop(name)
        function = self._functions[lane.function]
        if function.probe_at is None or function.probing:
            self._hold(lane.function, now)
        self._make_ready(lane)

    def remove(self, name: str, item: T) -> bool:
        """Take out an invocation that is not running; False when it is running or not there."""
        lane = self._lanes.get(name)
        if lane is None:
            return False
        at = next((i for i, (_, queued) in enumerate(lane.queue) if queued is item), None)
        if at is None or (at == 0 and lane.running):
            return False
        if at:
            del lane.queue[at]
            self._queued -= 1
            return True
        if lane.not_before is None:
            self._functions[lane.function].ready.remove(lane)
        lane.not_before = None
        self._next(lane)
        return True

    def cut(self, name: str, keep: int) -> list[T]:
        """Take out what is behind the first `keep` (at least one) of a lane, in order."""
        lane = self._lanes.get(name)
        if lane is None or len(lane.queue) <= keep:
            return []
        taken = [lane.queue.pop()[1] for _ in range(len(lane.queue) - max(1, keep))]
        self._queued -= len(taken)
        return taken[::-1]

    def wake(self, now: float) -> None:
        """Let what fell due by `now` be started."""
        while self._waiting and self._waiting[0][0] <= now:
            due, _, lane = heapq.heappop(self._waiting)
            if lane.not_before == due and self._lanes.get(lane.name) is lane:
                lane.not_before = None
                self._make_ready(lane)
        while self._probes and self._probes[0][0] <= now:
            due, _, name = heapq.heappop(self._probes)
            function = self._functions.get(name)
            if function is not None and function.probe_at == due:
                function.probing = True
        self._look_ahead()

    def _look_ahead(self) -> None:
        self.wake_at = min((heap[0][0] for heap in (self._waiting, self._probes) if heap), default=None)

    def _wait(self, lane: _Lane[T], not_before: float) -> None:
        lane.not_before = not_before
        heapq.heappush(self._waiting, (not_before, next(self._order), lane))
        self._look_ahead()

    def _make_ready(self, lane: _Lane[T]) -> None:
        function = self._functions[lane.function]
        function.ready.append(lane)
        if len(function.ready) == 1 and lane.function not in self.turns:
            self.turns.append(lane.function)

    def _fail(self, name: str, now: float) -> None:
        """An attempt failed: enough of them in a row open the breaker, and a probe that fails keeps it open."""
        function = self._functions[name]
        function.failures += 1
        if function.probing or (function.probe_at is None and function.failures >= self._failures):
            self._hold(name, now)

    def _hold(self, name: str, now: float) -> None:
        function = self._functions[name]
        function.pause_s = min(self.PROBE_MAX_S, function.pause_s * 2 or self.PROBE_FIRST_S)
        function.probe_at = now + function.pause_s
        function.probing = False
        heapq.heappush(self._probes, (function.probe_at, next(self._order), name))
        self._look_ahead()

    def _unpark(self, function: _Function[T]) -> None:
        function.failures, function.probe_at, function.probing, function.pause_s = 0, None, False, 0.0

    def _next(self, lane: _Lane[T]) -> None:
        """The head leaves its lane; the one behind it, if any, is ready."""
        lane.queue.popleft()
        self._queued -= 1
        if not lane.queue:
            del self._lanes[lane.name]
            self._leave(lane.function)
            return
        left, following = lane.function, lane.queue[0][0]
        if following != left:
            lane.function = following
            self._enter(following)
            self._leave(left)
        self._make_ready(lane)

    def _enter(self, name: str) -> None:
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = _Function()
        function.lanes += 1

    def _leave(self, name: str) -> None:
        function = self._functions[name]
        function.lanes -= 1
        if not function.lanes and not function.failures:  # what has failed is remembered until it is well again
            del self._functions[name]

    def _stop(self, name: str) -> _Lane[T]:
        lane = self._lanes[name]
        assert lane.running, f"the lane {name} runs nothing"
        lane.running = False
        self._functions[lane.function].running -= 1
        self._running -= 1
        return lane
