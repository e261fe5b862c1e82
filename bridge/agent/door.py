"""Where edges cross from the driver's thread to the loop: in order, with their own times, and bounded.

A pin that oscillates (a loose wire next to a motor) makes edges faster than they can be handled. Then the oldest go,
and are counted; the newest stay, so that the level known in the end is the true one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from bridge.agent.bell import Bell, Soon, Waking
from bridge.clock import Clock, RealClock

WAITING = 1000
"""At most so many edges of one sensor wait for the loop."""


A_TURN = 32
"""So many are taken in one turn of the loop: a pin that never rests must not keep it from everything else, and what is
answered in between has left the memory. An edge that waits is small, an event is not."""


class Edge(NamedTuple):
    """A change of a level: wall time and monotonic time are those of the driver's callback."""

    level: bool
    at: datetime
    now: float


class Door:
    """One sensor's door; `push` is called on the driver's thread, `take` on the loop that made the door."""

    def __init__(self, clock: Clock, take: Callable[[Edge], None], *, waiting: int = WAITING) -> None:
        self.dropped = 0
        """Edges that were too many."""
        self._clock = clock
        self._take = take
        self._bell: Waking = Bell(self._serve) if isinstance(clock, RealClock) else Soon(self._serve)
        self._edges: deque[Edge] = deque(maxlen=waiting)
        self._knocked = False
        self._open = True

    def push(self, level: bool) -> None:  # noqa: FBT001 - a level is a boolean
        """Take an edge over to the loop; one call there serves all that wait, some in a turn.

        The order of the last lines against those of `_serve` makes it safe without a lock: an edge that finds
        `_knocked` set was put into the queue before the loop looks whether it is empty.
        """
        self.dropped += len(self._edges) == self._edges.maxlen
        self._edges.append(Edge(level, self._clock.now(), self._clock.monotonic()))
        if not self._knocked:
            self._knocked = True
            self._bell.ring()

    def close(self) -> None:
        """Take nothing any more, also what still waits."""
        self._open = False
        self._bell.close()

    def _serve(self) -> None:
        edges = self._edges
        try:
            for _ in range(min(len(edges), A_TURN)):
                if not self._open:
                    return
                self._take(edges.popleft())
        finally:
            self._bell.hush()
            self._knocked = False
            if edges and self._open:
                self._knocked = True
                self._bell.ring()
