"""The timers of `for`: one for each mapping and source, in the order in which they fall due (PROTOCOL.md, rule 15).

What may not live here: what is done when one has fallen due, and clocks.
"""

from __future__ import annotations

import heapq
import itertools
import math

from bridge.core.work import Work


class Timers:
    """Invocations that wait for their time. Held timers wait on, whatever the time is, until they are released."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Work]] = []
        self._by_key: dict[str, tuple[float, Work]] = {}
        self._order = itertools.count()
        self.held = False
        self.wake_at: float | None = None
        """When the next one falls due (monotonic); None also while they are held."""

    def __len__(self) -> int:
        return len(self._by_key)

    def hold(self) -> None:
        """Let those that wait now, and whatever comes, wait on; with none nothing is held."""
        self.held = len(self) > 0
        self._look_ahead()

    def release(self) -> None:
        """Hold them no longer."""
        self.held = False
        self._look_ahead()

    def find(self, key: str) -> Work | None:
        """What waits under a key."""
        _, work = self._by_key.get(key, (0.0, None))
        return work

    def add(self, key: str, work: Work, due: float) -> None:
        """Let an invocation wait under a free key until `due` (monotonic)."""
        work.timer = key
        self._by_key[key] = due, work
        heapq.heappush(self._due, (due, next(self._order), work))
        self._look_ahead()

    def overdue(self, key: str, now: float) -> bool:
        """Whether what waits under a key has fallen due, also while it is held."""
        due, _ = self._by_key.get(key, (math.inf, None))
        return due <= now

    def forget(self, work: Work) -> None:
        """It waits no longer."""
        assert work.timer is not None
        del self._by_key[work.timer]
        work.timer = None

    def fallen_due(self, now: float) -> list[Work]:
        """What has fallen due, in that order; each still waits until it is forgotten."""
        due: list[Work] = []
        while self._due and not self.held and self._due[0][0] <= now:
            _, _, work = heapq.heappop(self._due)
            if work.timer is not None:
                due.append(work)
        self._look_ahead()
        return due

    def _look_ahead(self) -> None:
        self.wake_at = self._due[0][0] if self._due and not self.held else None
