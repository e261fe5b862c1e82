"""Accepting: events wait until they are on the disk, all that came meanwhile in one commit."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from bridge.agent.outbox.bounds import Bounds
from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.sending import Sending
from bridge.agent.outbox.settings import Durability, Priority
from bridge.agent.outbox.stock import Stock
from bridge.clock import Timer
from bridge.core.event import MAX_BYTES, Observation, encode
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
ALONE_S: Final = 0.002
"""An event after a pause like this one is written at once; those of a burst are written together, once a turn."""
QUIET_S: Final = 1.0
"""After so long without an event there is time for something else."""
_UNSET_CLOCK: Final = timedelta(seconds=60)


@dataclass(slots=True)
class _Waiting:
    seen: Sequence[Accept]
    moment: float
    accepted: asyncio.Future[tuple[str, ...]]
    ids: tuple[str, ...] = ()


class Acceptance:
    """Takes events, numbers and encodes them, and hands them to the sending once they are on the disk."""

    def __init__(
        self,
        stock: Stock,
        keeping: Keeping,
        bounds: Bounds,
        sending: Sending,
        mint_id: Callable[[], str],
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

    def accept(self, seen: Sequence[Accept]) -> asyncio.Future[tuple[str, ...]]:
        """Take events in order; the future has their ids when they are on the disk, and they are promised.

        When the disk refuses, it is tried again; the future raises JournalError when too much waits already or the
        outbox closes, and EventError when one of them cannot be encoded; then none of its events is accepted.
        """
        accepted: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        if self.events + len(seen) > WAITING:
            self._stock.counters.lost += len(seen)
            why = self._keeping.problem or "the disk is too slow for what happens"
            self._stock.tell_flaw(f"{self._stock.counters.lost} events could not be stored and are lost: {why}")
            accepted.set_exception(JournalError(f"the outbox {self._stock.journal.path} takes no more events: {why}"))
            return accepted
        now = self._stock.clock.monotonic()
        alone, self._accepted_at = now - self._accepted_at >= ALONE_S, now
        self._waiting.append(_Waiting(seen, now, accepted))
        self.events += len(seen)
        if self._retry_s or self._turn is not None:
            return accepted
        if alone:
            self._commit()
        else:
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
        self._commit_timer = self._turn = None
        if self._committing or not self._waiting:
            return
        group: list[_Waiting] = []
        entries: list[Entry] = []
        streams: dict[str, Stream] = {}
        last: dict[str, int] = {}
        power = False
        now = self._stock.clock.now()
        while self._waiting and len(entries) < _GROUP:
            waiting = self._waiting.popleft()
            if waiting.accepted.cancelled():
                self.events -= len(waiting.seen)
                continue
            mark, marked = len(entries), dict(last)
            try:
                waiting.ids = tuple(
                    self._entry(seen, waiting.moment, now, streams, last, entries) for seen in waiting.seen
                )
            except (EventError, TypeError, ValueError) as error:
                del entries[mark:]
                last = marked
                self.events -= len(waiting.seen)
                waiting.accepted.set_exception(EventError(f"an event cannot be encoded: {error}"))
                continue
            group.append(waiting)
            power = power or any(durability == "power" for _, _, durability, _ in waiting.seen)
        if not group:
            return
        excess = self._bounds.excess(entries, now)
        new = {sensor: stream for sensor, stream in streams.items() if self._stock.sender.current(sensor) is None}
        self._committing = True
        written = self._keeping.append(
            [(stream.number, sensor, stream.epoch) for sensor, stream in new.items()], entries, excess, power=power
        )
        if written.done():
            self._written(group, entries, streams, list(new.values()), written)
        else:
            written.add_done_callback(partial(self._written, group, entries, streams, list(new.values())))

    def _entry(
        self,
        seen: Accept,
        moment: float,
        now: datetime,
        streams: dict[str, Stream],
        last: dict[str, int],
        entries: list[Entry],
    ) -> str:
        sensor, observation, _, priority = seen
        stream = streams.get(sensor) or self._stock.sender.current(sensor)
        if stream is None:
            stream = self._stock.new_stream(sensor)
        streams[sensor] = stream
        sequence = last.get(sensor, stream.last) + 1
        identifier = self._mint_id()
        body = encode(
            observation, at=self._stock.topic(sensor), id=identifier, epoch=self._stock.epoch, sequence=sequence
        )
        if len(body) > MAX_BYTES:
            raise EventError(f"it has {len(body)} bytes, more than {MAX_BYTES}")
        last[sensor] = sequence
        # When it was seen, by the clock that never jumps: it was seen a little before it was handed in.
        late = now - timedelta(seconds=self._stock.clock.monotonic() - moment) - observation.time
        seen_at = moment - late.total_seconds() if timedelta(0) <= late <= _UNSET_CLOCK else moment
        entries.append(
            Entry(
                key_of(stream.number, sequence),
                body,
                now.timestamp(),
                seen_at,
                alarm=priority == "alarm",
                open=not observation.timesynced,
                level=_is_level(observation),
            )
        )
        return identifier

    def _written(
        self,
        group: list[_Waiting],
        entries: list[Entry],
        streams: dict[str, Stream],
        new: list[Stream],
        written: asyncio.Future[store.Dropped],
    ) -> None:
        self._committing = False
        error = written.exception()
        if error is not None:
            self._put_back(group, error)
            return
        self._retry_s = 0.0
        for stream in new:
            self._stock.sender.add(stream)
        rows = iter(entries)
        for waiting in group:
            for sensor, *_ in waiting.seen:
                stream, entry = streams[sensor], next(rows)
                self._stock.sender.appended(stream, Row(stream.last + 1, entry.body, entry.open == 1, entry.monotonic))
        count = len(entries)
        self._stock.events += count
        self._stock.bytes += sum(len(entry.body) for entry in entries)
        self.events -= sum(len(waiting.seen) for waiting in group)
        self._stock.counters.accepted += count
        for waiting in group:
            for sensor, seen, _, _ in waiting.seen:
                if _is_level(seen):
                    self._stock.levels[sensor] = Level(seen.name, seen.value, seen.time)
        self._bounds.note_dropped(written.result())
        self._sending.pump()
        for waiting in group:
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
