"""The keeper: hands the ledger's commits to the journal, one after another, and reads back what long lanes have there.

A commit gathers for a while, and under load for longer, since what ends meanwhile need not be written. The loop owns
it. What may not live here: what is kept, and the SQL that keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from bridge.clock import Clock
from bridge.core.delivery import Ledger
from bridge.core.records import Commit
from bridge.core.steps import Committed, Fetch, Fetched, Input, Instant, NotCommitted
from bridge.dispatcher.audit import Auditor
from bridge.dispatcher.kept_letters import KeptLetters
from bridge.dispatcher.metrics import Metrics
from bridge.errors import JournalError
from bridge.journal.engine import Journal
from bridge.journal.ledger import keep, shelved

_log = logging.getLogger(__name__)

COMMIT_AGAIN_S: Final = 1.0
READ_AGAIN_S: Final = 1.0
GATHER_TURNS: Final = 5
"""A commit of much gathers at most so many times `commit_every`."""


class Keeper:
    """Keeps one ledger. `step` steps it with what came of a commit or a reading.

    `broken` says that a decision broke: nothing that the ledger holds is kept then.
    """

    ledger: Ledger
    """To be set before anything is asked for."""

    def __init__(
        self,
        journal: Journal,
        auditor: Auditor,
        letters: KeptLetters,
        metrics: Metrics,
        clock: Clock,
        *,
        commit_every_s: float,
        step: Callable[[Iterable[Input]], object],
        broken: Callable[[], bool],
    ) -> None:
        self._journal = journal
        self._auditor = auditor
        self._letters = letters
        self._metrics = metrics
        self._clock = clock
        self._commit_every_s = commit_every_s
        self._step = step
        self._broken = broken
        self._committing = False
        self._fetches: set[asyncio.Task[None]] = set()

    @property
    def done(self) -> bool:
        """Whether everything that the ledger has decided is on the disk."""
        return not self._committing and not self.ledger.dirty

    def look(self, now: float) -> None:
        """Commit soon, where there is something to keep (`now` is monotonic)."""
        if not self._committing and self.ledger.dirty:
            self._committing = True
            self._clock.call_at(now + self._commit_every_s, self._commit_or_gather)

    def fetch(self, wanted: Fetch, _: Instant) -> None:
        """Read what a long lane has on the shelf; a disk that does not answer is asked again."""
        task = asyncio.create_task(self._read(wanted), name=f"fetch {wanted.lane}")
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def abandon(self) -> None:
        """Read nothing more."""
        for task in self._fetches:
            task.cancel()

    async def finish(self, now: Instant) -> None:
        """Keep everything, what is young too. Raises JournalError when it cannot be kept."""
        self.abandon()
        await asyncio.gather(*self._fetches, return_exceptions=True)
        await self._journal.flush()
        commit = self.ledger.take() if not self._broken() else None
        if commit is not None:
            await self._journal.write(self._auditor.with_drops(keep(commit)))
            self.ledger.step((Committed(commit),), now)

    async def _read(self, wanted: Fetch) -> None:
        lane = wanted.lane
        try:
            records = await self._journal.read(shelved(lane, wanted.after, wanted.limit))
        except JournalError as error:
            extra = {"op": "dispatcher.fetch", "lane": lane, "why": str(error)}
            _log.error("stored invocations cannot be read", extra=extra)
            await self._clock.sleep(READ_AGAIN_S)
            self._step((Fetched(lane, None),))
            return
        self._step((Fetched(lane, records),))

    def _commit_or_gather(self, turn: int = 1) -> None:
        """Commit, or under load gather for up to GATHER_TURNS times as long."""
        if turn < GATHER_TURNS and not self._broken() and self.ledger.may_gather:
            at = self._clock.monotonic() + self._commit_every_s
            self._clock.call_at(at, partial(self._commit_or_gather, turn + 1))
        else:
            self._commit()

    def _commit(self) -> None:
        if self._broken():
            self._committing = False
            return
        now = self._clock.monotonic()
        commit = self.ledger.take(Instant(self._clock.now(), now))
        if commit is None:
            self._committing = False
            self.look(now)  # what was left is looked at again
            return
        change = self._auditor.with_drops(keep(commit))
        self._journal.write(change).add_done_callback(lambda future: self._committed(commit, future))

    def _committed(self, commit: Commit, future: asyncio.Future[None]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self._committing = False
            self._auditor.kept()
            self._letters.changed(len(commit.letters) - len(commit.replayed))
            self._step((Committed(commit),))
            return
        self._auditor.not_kept()
        self._metrics.commit_failures.inc()
        _log.error("commit failed", extra={"op": "dispatcher.commit", "why": str(error)})
        self._step((NotCommitted(commit),))
        self._clock.call_at(self._clock.monotonic() + COMMIT_AGAIN_S, self._commit)
