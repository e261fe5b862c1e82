"""Accepting: events wait until they are on the disk, all that came meanwhile in one commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Final, TypeAlias

from bridge.agent.outbox.bounds import Bounds
from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.sending import Sending
from bridge.agent.outbox.settings import Durability, Priority
from bridge.agent.outbox.stock import Stock
from bridge.clock import Timer
from bridge.core.event import MAX_BYTES, Observation
from bridge.core.outbox import Row, Stream
from bridge.core.young import Entry, key_of
from bridge.errors import EventError, JournalError
from bridge.journal import outbox as store
from bridge.journal.outbox import Level

_log = logging.getLogger(__name__)

Accept: TypeAlias = tuple[str, Observation, Durability, Priority]
"""A sensor's name, what it saw, what its commit must survive, and whether it is dropped last."""

WAITING: Final = 5000
"""At most this many events wait in memory for a commit; beyond it, `accept` fails."""
_GROUP: Final = 1000
_OF_STREAM: Final[Callable[[Stream], tuple[int, str, str]]] = attrgetter("number", "sensor", "epoch")
ALONE_S: Final = 0.002
"""An event after a pause like this one is written at once; those of a burst are written together, once a turn."""
TOGETHER: Final = 100
"""So many events of a burst do not wait for the turn: what waits takes memory, and the most may come in one turn."""
QUIET_S: Final = 1.0
"""After so long without an event there is time for something else."""


@dataclass(slots=True)
class _Waiting:
    seen: Sequence[Accept]
    seen_at: float
    accepted: asyncio.Future[tuple[str, ...]]
    ids: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    """What one write keeps; `streams` are those of the entries, `last` the highest sequence of each by its number."""

    waiting: list[_Waiting] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    new: dict[str, Stream] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    size_bytes: int = 0
    power: bool = False


class Acceptance:
    """Takes events, numbers and encodes them, and hands them to the sending once they are on the disk."""

    def __init__(
        self,
        stock: Stock,
        keeping: Keeping,
        bounds: Bounds,
        sending: Sending,
        mint_id: Callable[[datetime], str],
    ) -> None:
        self._stock = stock
        self._keeping = keeping
        self._bounds = bounds
        self._sending = sending
        self._mint_id = mint_id
        self.events = 0
        """Events that wait for their commit."""
        self._waiting: deque[_Waiting] = deque()
        self._committing = False
        self._accepted_at = 0.0
        self._retry_s = 0.0
        self._commit_timer: Timer | None = None
        self._turn: asyncio.Handle | None = None

    @property
    def quiet(self) -> bool:
        """Whether nothing waits, and nothing has come for a while."""
        return not self.events and self._stock.clock.monotonic() - self._accepted_at >= QUIET_S

    def accept(self, seen: Sequence[Accept], seen_at: float | None = None) -> asyncio.Future[tuple[str, ...]]:
        """As `Outbox.accept`."""
        accepted: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        if self.events + len(seen) > WAITING:
            self._stock.counters.lost += len(seen)
            why = self._keeping.problem or "the disk is too slow for what happens"
            self._stock.tell_flaw(f"{self._stock.counters.lost} events could not be stored and are lost: {why}")
            accepted.set_exception(JournalError(f"the outbox {self._stock.journal.path} takes no more events: {why}"))
            return accepted
        now = self._stock.clock.monotonic()
        alone, self._accepted_at = now - self._accepted_at >= ALONE_S, now
        self._waiting.append(_Waiting(seen, now if seen_at is None else seen_at, accepted))
        self.events += len(seen)
        if self._retry_s:
            return accepted
        if alone or self.events >= TOGETHER:
            self._commit()
        elif self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._commit)
        return accepted

    async def stop(self) -> None:
        """Commit what waits; what the disk refuses even now is lost, and told so."""
        if self._commit_timer is not None:
            self._commit_timer.cancel()
        while self._waiting or self._committing:
            self._commit()
            try:
                await self._keeping.flush()
            except JournalError:
                break
            await asyncio.sleep(0)
        self._fail_waiting(JournalError(f"the outbox {self._stock.journal.path} is closed"))

    def abandon(self) -> None:
        """Commit nothing more; nobody hears what became of what waits."""
        if self._turn is not None:
            self._turn.cancel()
        if self._commit_timer is not None:
            self._commit_timer.cancel()
        self._waiting.clear()

    def _commit(self) -> None:
        """Keep everything that waits, together; one such write at a time keeps sequences without gaps."""
        self._commit_timer = None
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._committing or not self._waiting:
            return
        group = _Group()
        while self._waiting and len(group.entries) < _GROUP:
            self._add(self._waiting.popleft(), group)
        if not group.waiting:
            return
        excess = self._bounds.excess(len(group.entries), group.size_bytes)
        self._committing = True
        written = self._keeping.append([*map(_OF_STREAM, group.new.values())], group.entries, excess, power=group.power)
        if written.done():
            self._written(group, written)
        else:
            written.add_done_callback(partial(self._written, group))

    def _add(self, waiting: _Waiting, group: _Group) -> None:
        """Number and encode what waits: all of it into the group, or, with an error, nothing."""
        if waiting.accepted.cancelled():
            self.events -= len(waiting.seen)
            return
        stock = self._stock
        entries: list[Entry] = []
        streams: list[Stream] = []
        last: dict[int, int] = {}
        size_bytes, power, ids = 0, False, []
        try:
            for sensor, seen, durability, priority in waiting.seen:
                stream = stock.sender.current(sensor) or group.new.get(sensor)
                if stream is None:
                    stream = group.new[sensor] = stock.new_stream(sensor)
                number = stream.number
                last[number] = sequence = (last.get(number) or group.last.get(number) or stream.last) + 1
                identifier = self._mint_id(seen.time)
                body = stock.form(sensor, seen).encode(seen, id=identifier, sequence=sequence)
                if len(body) > MAX_BYTES:
                    raise EventError(f"it has {len(body)} bytes, more than {MAX_BYTES}")  # noqa: TRY301 - as any other
                alarm, still_open, level = priority == "alarm", not seen.timesynced, _is_level(seen)
                key = key_of(number, sequence)
                entries.append(Entry(key, body, seen.time.timestamp(), waiting.seen_at, alarm, still_open, level))
                streams.append(stream)
                ids.append(identifier)
                size_bytes += len(body)
                power = power or durability == "power"
        except (EventError, TypeError, ValueError) as error:
            self.events -= len(waiting.seen)
            waiting.accepted.set_exception(EventError(f"an event cannot be encoded: {error}"))
            return
        waiting.ids = tuple(ids)
        group.waiting.append(waiting)
        group.entries += entries
        group.streams += streams
        group.last.update(last)
        group.size_bytes += size_bytes
        group.power = group.power or power

    def _written(self, group: _Group, written: asyncio.Future[store.Dropped]) -> None:
        self._committing = False
        error = written.exception()
        if error is not None:
            self._put_back(group.waiting, error)
            return
        self._retry_s = 0.0
        stock = self._stock
        for stream in group.new.values():
            stock.sender.add(stream)
        for stream, entry in zip(group.streams, group.entries, strict=True):
            stock.sender.appended(stream, Row(stream.last + 1, entry.body, entry.open == 1, entry.monotonic))
        count = len(group.entries)
        stock.events += count
        stock.bytes += group.size_bytes
        self.events -= count
        stock.counters.accepted += count
        dropped = written.result()
        if dropped.events:
            self._bounds.note_dropped(dropped)
        self._sending.pump()
        for waiting in group.waiting:
            for sensor, seen, _, _ in waiting.seen:
                if _is_level(seen):
                    stock.levels[sensor] = Level(seen.name, seen.value, seen.time)
            if not waiting.accepted.done():
                waiting.accepted.set_result(waiting.ids)
        self._commit()

    def _put_back(self, group: list[_Waiting], error: BaseException) -> None:
        self._waiting.extendleft(reversed(group))
        self._retry_s = min(max(1.0, self._retry_s * 2), 15.0)
        _log.error(
            "events wait for the disk",
            extra={"op": "outbox.accept", "events": self.events, "why": str(error)},
            exc_info=None if isinstance(error, JournalError) else error,
        )
        self._commit_timer = self._stock.clock.call_at(self._stock.clock.monotonic() + self._retry_s, self._commit)

    def _fail_waiting(self, error: JournalError) -> None:
        for waiting in self._waiting:
            self._stock.counters.lost += len(waiting.seen)
            self.events -= len(waiting.seen)
            if not waiting.accepted.done():
                waiting.accepted.set_exception(error)
        self._waiting.clear()


def _is_level(seen: Observation) -> bool:
    """Faults and recoveries tell of the sensor itself, everything else of what it sees."""
    return not seen.name.startswith("sensor.")
