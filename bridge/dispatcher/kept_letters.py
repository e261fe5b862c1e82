"""How many dead letters there are, and the bound: what is beyond it goes, the oldest first, counted and told."""

from __future__ import annotations

import asyncio
import logging

from bridge.dispatcher.metrics import Metrics
from bridge.journal.dead_letters import Chosen, counted, drop_oldest
from bridge.journal.engine import Journal

_log = logging.getLogger(__name__)


class KeptLetters:
    """The count of what the journal holds, and who keeps it below `most`. The loop's thread owns it."""

    def __init__(self, journal: Journal, metrics: Metrics, most: int) -> None:
        self._journal = journal
        self._metrics = metrics
        self._most = most
        self._count = 0
        self._dropping = False
        self._told = False

    async def open(self) -> None:
        """Count what an earlier life has left. Raises JournalError."""
        self._set(await self._journal.read(counted(Chosen())))

    def changed(self, by: int) -> None:
        """The journal has so many more of them, or fewer."""
        if by:
            self._set(self._count + by)

    def _set(self, count: int) -> None:
        self._count = count
        self._metrics.letters_kept.set(count)
        if count > self._most and not self._dropping:
            self._dropping = True
            self._journal.write(drop_oldest(self._most)).add_done_callback(self._dropped)

    def _dropped(self, done: asyncio.Future[tuple[int, int]]) -> None:
        self._dropping = False
        if done.cancelled() or done.exception() is not None:
            return  # the journal tells that it cannot write; with the next letter it is tried again
        dropped, left = done.result()
        self._metrics.letters_dropped.inc(dropped)
        if dropped and not self._told:  # once is enough for people: the metric counts on
            self._told = True
            extra = {"op": "dispatcher.deadletters", "dropped": dropped, "kept": left}
            _log.error("more dead letters than limits.dead_letters: the oldest are dropped", extra=extra)
        self._set(left)
