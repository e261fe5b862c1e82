"""Confirming: whoever has an event ends our responsibility for it, and then it leaves the disk."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bridge.agent.outbox.stock import Stock
from bridge.core.confirm import parse
from bridge.core.outbox import Stream
from bridge.errors import EventError
from bridge.journal import outbox as store

_log = logging.getLogger(__name__)

PURGE_S: Final = 5.0
PURGE_EVENTS: Final = 500
"""Confirmed events are purged together, this often or at this many: a commit for each would wear the SD card."""


class Confirmation:
    """Notes how far each stream is confirmed, and purges in batches."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._unpurged: dict[int, tuple[str, int]] = {}
        self._purge_at: float | None = None

    def take(self, message: bytes) -> None:
        """A confirm document came; one that cannot be read is logged and changes nothing."""
        try:
            document = parse(message)
        except EventError as error:
            _log.warning("confirm document not understood", extra={"op": "outbox.confirm", "why": str(error)})
            return
        if self._stock.settings.confirm != "dispatcher":
            return
        now = self._stock.clock.monotonic()
        for sensor, said in document.items():
            before = self._confirmed_of(sensor)
            news = self._stock.sender.confirm(sensor, said, now)
            if news is not None:
                self.note(news[0], news[1], before)

    def _confirmed_of(self, sensor: str) -> int:
        return next((stream.confirmed for stream in self._stock.sender if stream.sensor == sensor), 0)

    def note(self, stream: Stream, through: int, before: int) -> None:
        """The stream is confirmed up to `through`, and was up to `before`."""
        self._stock.counters.confirmed += through - before
        self._unpurged[stream.number] = (stream.sensor, through)
        self._stock.unpurged += through - before
        if self._purge_at is None:
            self._purge_at = self._stock.clock.monotonic() + PURGE_S
        if self._stock.unpurged >= PURGE_EVENTS:
            self.purge()

    def purge(self) -> None:
        """Forget on the disk what is confirmed."""
        if not self._unpurged:
            return
        through, sequences = self._unpurged, self._stock.unpurged
        self._unpurged, self._stock.unpurged, self._purge_at = {}, 0, None
        change = store.purge([(number, sensor, sequence) for number, (sensor, sequence) in through.items()])

        def purged(done: asyncio.Future[tuple[int, int]]) -> None:
            if done.exception() is not None:
                self._unpurged = {**through, **self._unpurged}
                self._stock.unpurged += sequences
                self._purge_at = self._stock.clock.monotonic() + PURGE_S
                return
            events, size = done.result()
            self._stock.events -= events
            self._stock.bytes -= size

        self._stock.journal.write(change).add_done_callback(purged)

    def tick(self, now: float) -> None:
        """Purge when it is time."""
        if self._purge_at is not None and now >= self._purge_at:
            self.purge()
