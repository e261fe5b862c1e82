"""Load: the sensors of many virtual Pis change at a steady pace, and what became of their events is counted.

Whether a change becomes an event is for the agents' filters to say, as on a real Pi; what is counted are the events
that the agents accepted, and what the dispatcher and the functions did with them.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

from bridge.demo import steps
from bridge.local import Local
from bridge.ulid import made_at

KEPT: Final = 10_000
"""So many of the latest latencies are looked at."""
DRAIN_S: Final = 15.0
"""How long the end waits for what is still on its way."""
_ANSWERED = "invocation"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was counted since everything was started."""

    changes: int
    """Changes of pins and quantities."""
    behind_s: float
    """How late the last change was: the machine does not keep up."""
    accepted: int
    confirmed: int
    waiting: int
    """Accepted, and neither confirmed nor dropped."""
    dropped: int
    missing: int
    """Events whose sequences the dispatcher misses."""
    answered: int
    """Invocations that succeeded."""
    dead: int
    retries: int
    p50_ms: float | None
    """From the event to the function's answer, of the last ones."""
    p99_ms: float | None

    @property
    def passed(self) -> bool:
        """Whether all that was accepted arrived, or was dropped as settings say, and no invocation was given up."""
        return not (self.waiting or self.missing or self.dead)

    def text(self) -> str:
        """One line for people."""
        took = "-" if self.p50_ms is None or self.p99_ms is None else f"{self.p50_ms:.0f}/{self.p99_ms:.0f} ms"
        told = (
            f"{self.changes} changes, {self.accepted} events accepted, {self.confirmed} confirmed,"
            f" {self.waiting} waiting, {self.answered} invocations answered, p50/p99 {took}"
        )
        for count, name in (
            (self.retries, "retries"),
            (self.dead, "dead letters"),
            (self.dropped, "dropped"),
            (self.missing, "missing"),
        ):
            told += f", {count} {name}" if count else ""
        return told + (f"; {self.behind_s:.1f} s behind" if self.behind_s >= 1 else "")


class Load:
    """Changes one sensor after another of a running `Local`, `rate` a second in all; an async context manager."""

    def __init__(self, local: Local, rate: float) -> None:
        self._local = local
        self._rate = rate
        self._changes = 0
        self._behind_s = 0.0
        self._told: Counter[str] = Counter()
        self._took_ms: deque[float] = deque(maxlen=KEPT)
        self._tasks: list[asyncio.Task[None]] = []
        # Drops are counted since an outbox was made, all else since the agents were started.
        self._dropped_before = self._dropped()

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._watch(), name="load watches"),
            asyncio.create_task(self._drive(), name="load drives"),
        ]
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def failed(self) -> None:
        """Wait until it cannot go on, and raise why."""
        # Not gathered: whoever stops waiting here does not end the load.
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def drain(self, timeout_s: float = DRAIN_S) -> Figures:
        """Change nothing more, and wait until nothing is on its way; the last figures."""
        drives = self._tasks[1]
        drives.cancel()
        await asyncio.gather(drives, return_exceptions=True)
        self._behind_s = 0.0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            figures = self.figures()
            under_way = figures.waiting or self._local.dispatcher.ledger.open_invocations
            if not under_way or loop.time() >= deadline:
                return figures
            await asyncio.sleep(0.05)

    def figures(self) -> Figures:
        """What was counted so far."""
        counters = [agent.counters for agent in self._local.agents.values()]
        dispatcher = self._local.dispatcher
        took = sorted(self._took_ms)
        return Figures(
            changes=self._changes,
            behind_s=self._behind_s,
            accepted=sum(one.accepted for one in counters),
            confirmed=sum(one.confirmed for one in counters),
            waiting=sum(agent.backlog for agent in self._local.agents.values()),
            dropped=self._dropped() - self._dropped_before + self._told["dropped"],
            missing=dispatcher.auditor.missing(dispatcher.now()),
            answered=self._told[_ANSWERED],
            dead=self._told["deadletter"],
            retries=self._told["retry"],
            p50_ms=_percentile(took, 0.5),
            p99_ms=_percentile(took, 0.99),
        )

    def _dropped(self) -> int:
        return sum(sum(agent.counters.dropped.values()) for agent in self._local.agents.values())

    async def _drive(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, (node, sensor, value) in enumerate(self._script()):
            due = began + number / self._rate
            self._behind_s = max(0.0, loop.time() - due)
            await asyncio.sleep(max(0.0, due - loop.time()))
            await self._local.boards[node].drive(sensor, value)
            self._changes += 1

    def _script(self) -> Iterator[tuple[str, str, str]]:
        """Each sensor of each node in turn: first it sees something, in the next round it rests again."""
        # One sensor of every node, then the next of every node: neighbours in time are on different Pis.
        by_node = [list(group) for _, group in itertools.groupby(steps(self._local), key=lambda step: step.node)]
        order = [step for several in itertools.zip_longest(*by_node) for step in several if step is not None]
        while order:
            for step in order:
                yield step.node, step.sensor, step.value
            for step in order:
                yield step.node, step.sensor, step.rest

    async def _watch(self) -> None:
        async for lines in self._local.dispatcher.feed.follow():
            for line in lines:
                kind = str(line.get("type"))
                self._told[kind] += 1
                if kind == _ANSWERED:
                    took = datetime.fromisoformat(line["at"]) - made_at(line["event_id"])
                    self._took_ms.append(took.total_seconds() * 1000)


def _percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that is not exceeded by `share` of the sorted values (nearest rank); None of none."""
    return values[math.ceil(share * len(values)) - 1] if values else None
