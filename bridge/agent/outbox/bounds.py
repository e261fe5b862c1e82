"""The outbox's bounds: what is too much or too old is dropped, a tombstone takes its place, and it is counted."""

from __future__ import annotations

import logging
from datetime import datetime

from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.stock import Stock
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.core.topics import SensorEventTopic
from bridge.errors import JournalError
from bridge.journal import outbox as store

_log = logging.getLogger(__name__)


class Bounds:
    """Keeps the stock within its settings."""

    def __init__(self, stock: Stock, keeping: Keeping) -> None:
        self._stock = stock
        self._keeping = keeping
        self._expire_at = 0.0
        self._oldest: tuple[float, float, str] | None = None

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest event on the disk has been there, when it was last looked at; 0 for none."""
        if self._oldest is None:
            return 0.0
        wall, monotonic, epoch = self._oldest
        if epoch == self._stock.epoch:
            return max(0.0, self._stock.clock.monotonic() - monotonic)
        return max(0.0, self._stock.clock.now().timestamp() - wall)

    def excess(self, events: int, size_bytes: int) -> store.Excess | None:
        """How much must go when so many events of this size come in; None when there is room."""
        # Confirmed events that are not purged yet take no part: they go with the next purge.
        events += self._stock.events - self._stock.unpurged - self._stock.settings.max_events
        size_bytes += self._stock.bytes - self._stock.settings.max_bytes
        if events <= 0 and size_bytes <= 0:
            return None
        return store.Excess(
            max(0, events), max(0, size_bytes), self._stock.settings.policy, self.burial(self._stock.clock.now())
        )

    def burial(self, now: datetime) -> store.Bury:
        """Encodes tombstones on the writer's thread, so it holds copies of what changes here."""
        names, timesynced = dict(self._stock.by_number), self._stock.clock.synchronized()
        topics, site, node = self._stock.topics, self._stock.site, self._stock.node

        def bury(stream: int, stone: Tombstone) -> bytes:
            sensor, epoch = names[stream]
            at = SensorEventTopic(topics.event(site, node, sensor), site, node, sensor)
            return encode_tombstone(stone, at=at, epoch=epoch, time=now, timesynced=timesynced)

        return bury

    def note_dropped(self, dropped: store.Dropped) -> None:
        """Take account of what the disk has dropped."""
        if not dropped.events:
            return
        self._stock.events -= dropped.events
        self._stock.bytes -= dropped.bytes
        by_number = {stream.number: stream for stream in self._stock.sender}
        for number, first, last in dropped.runs:
            stream = by_number.get(number)
            if stream is not None:
                self._stock.sender.dropped(stream, first)
                _log.warning(
                    "events dropped: the outbox is full or they are too old",
                    extra={"op": "outbox.drop", "sensor": stream.sensor, "first": first, "last": last},
                )
        for reason, events in dropped.reasons.items():
            self._stock.counters.dropped[reason] = self._stock.counters.dropped.get(reason, 0) + events
        self._stock.tell_flaw(
            f"the outbox dropped {dropped.events} events ({', '.join(dropped.reasons)} over its bound); "
            "see that the broker and the dispatcher are reachable, or raise the bound"
        )

    async def look_after(self) -> None:
        """Drop what is too old, and see how old the oldest is."""
        now = self._stock.clock.monotonic()
        try:
            if now >= self._expire_at:
                self._expire_at = now + min(60.0, max(1.0, self._stock.settings.max_age_s / 10))
                await self._expire(now - self._stock.settings.max_age_s)
            self._oldest = await self._keeping.oldest()
        except JournalError as error:
            _log.warning("outbox not looked after", extra={"op": "outbox.age", "why": str(error)})

    async def _expire(self, limit: float) -> None:
        """Drop what was accepted before a moment of the monotonic clock."""
        young = self._keeping.young.oldest()
        if young is not None and young.monotonic < limit:
            await self._keeping.fold()
        elif not self._keeping.stored_events:
            return
        else:
            self._keeping.purge()
        synchronized = self._stock.clock.synchronized()
        moment = self._stock.clock.now()
        expire = store.expire(
            monotonic=limit,
            wall=moment.timestamp() - self._stock.settings.max_age_s if synchronized else None,
            current_epoch=self._stock.epoch,
            bury=self.burial(moment),
        )
        self.note_dropped(await self._stock.journal.write(expire))
