"""Confirming: whoever has an event ends our responsibility for it, and then it leaves the disk."""

from __future__ import annotations

import logging
from typing import Final

from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.stock import Stock
from bridge.core.confirm import parse
from bridge.core.outbox import Stream
from bridge.errors import EventError

_log = logging.getLogger(__name__)

PURGE_S: Final = 5.0
PURGE_EVENTS: Final = 500
"""Confirmed events are purged together, this often or at this many: noting each of them would wear the SD card."""


class Confirmation:
    """Notes how far each stream is confirmed, and purges in batches."""

    def __init__(self, stock: Stock, keeping: Keeping) -> None:
        self._stock = stock
        self._keeping = keeping
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
        self._keeping.confirmed(stream, through, before)
        if self._purge_at is None:
            self._purge_at = self._stock.clock.monotonic() + PURGE_S
        if self._stock.unpurged >= PURGE_EVENTS:
            self.purge()

    def purge(self) -> None:
        """Forget what is confirmed."""
        self._purge_at = None
        self._keeping.purge()

    def tick(self, now: float) -> None:
        """Purge when it is time; also what could not be purged before."""
        if self._purge_at is None and self._keeping.anything_to_purge:
            self._purge_at = now + PURGE_S
        if self._purge_at is not None and now >= self._purge_at:
            self.purge()
