"""Confirming: whoever has an event ends our responsibility for it, and then it leaves the disk."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.stock import Stock
from bridge.core.confirm import Confirmed, parse
from bridge.core.outbox import Stream
from bridge.errors import EventError
from bridge.journal import outbox as store

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
        if not self._stock.set_back:
            self._look_for_set_back(document)
        if self._stock.set_back:
            return
        for sensor, said in document.items():
            before = self._confirmed_of(sensor)
            news = self._stock.sender.confirm(sensor, said, now)
            if news is not None:
                self.note(news[0], news[1], before)

    def _look_for_set_back(self, document: Mapping[str, Confirmed]) -> None:
        """Look for what cannot be; the disk remembers it for the restart, which gives new numbers."""
        for sensor, said in document.items():
            if self._stock.sender.set_back(sensor, said, self._stock.epoch):
                self._stock.set_back = True
                self._stock.journal.post(store.mark_set_back)
                _log.error(
                    "the outbox is older than what is known of it: a copy of its files was put back; restart the agent",
                    extra={"op": "outbox.set_back", "sensor": sensor, "epoch": said.epoch, "known": said.highest},
                )
                return

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
