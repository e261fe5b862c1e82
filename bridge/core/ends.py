"""How an invocation ends: well, as a dead letter, dropped by a named rule, or called off.

What may not live here: deciding that an attempt was the last one.
"""

from __future__ import annotations

from typing import Final

from bridge.core import letters
from bridge.core.books import Books
from bridge.core.entrance import Entrance
from bridge.core.lanes import Lanes
from bridge.core.long_lanes import LongLanes
from bridge.core.mapping import MappingSet
from bridge.core.retry import Outcome
from bridge.core.steps import Cancelled, Effect, Ended, Expired, Instant
from bridge.core.work import ON_FAILURE, Work, on_failure

MAPPING_REMOVED: Final = "mapping removed"
IN_WORK: Final = "another event with the id {} is in work"
MAX_AGE: Final = "max_age"
LATEST: Final = "backlog latest"


class Ends:
    """Ends invocations, in whatever place they are. `works` are the ledger's invocations in memory by id."""

    def __init__(
        self,
        works: dict[str, Work],
        lanes: Lanes[Work],
        long: LongLanes,
        books: Books,
        entrance: Entrance,
        effects: list[Effect],
    ) -> None:
        self._works = works
        self._lanes = lanes
        self._long = long
        self._books = books
        self._entrance = entrance
        self._effects = effects

    def end(self, work: Work, failed_at: float | None = None) -> None:
        """One that was running has ended; `failed_at` as in `Lanes.end`."""
        self._lanes.end(work.lane, failed_at=failed_at)
        self._close(work)

    def give_up(self, work: Work, reason: str, now: Instant, outcome: Outcome) -> None:
        """One that was running becomes a dead letter, after this outcome."""
        self.bury(work, reason, now, outcome)
        self.end(work, now.monotonic if outcome.unwell else None)

    def give_up_unqueued(self, work: Work, reason: str, now: Instant) -> None:
        """One that is in no lane becomes a dead letter."""
        self.bury(work, reason, now, None)
        self._close(work)

    def bury(self, work: Work, reason: str, now: Instant, outcome: Outcome | None) -> None:
        """Its dead letter; also of one that has never been admitted. Somebody may want to be told of it."""
        invocation, event = work.invocation, work.entry.event
        letter = letters.of_work(work, reason, now.wall, outcome)
        self._books.bury(letter, work.entry)
        self._effects.append(Ended(invocation, event, work.attempts, outcome, letter))
        if invocation.on_failure is not None and invocation.id + ON_FAILURE not in self._works:
            self._entrance.queue(Work(on_failure(invocation, letter), work.entry), now)

    def drop(self, work: Work, rule: str) -> None:
        """It is in no lane, and gives way by a named rule."""
        self._effects.append(Expired(work.invocation, work.entry.event, rule))
        self._books.drop(work.entry.key.source)
        self._close(work)

    def cancel(self, key: str, by: str) -> None:
        """Call off a waiting invocation; plan has seen to it that it did not fall due before (rule 15)."""
        work = self._entrance.call_off(key)
        if work is not None:
            self._effects.append(Cancelled(work.invocation, work.entry.event, by))
            self._close(work)

    def bury_removed(self, mappings: MappingSet, now: Instant) -> None:
        """What waits for a mapping that is gone becomes a dead letter (rule 13); what runs may end."""
        for work in list(self._works.values()):
            if removed(work, mappings) and self._withdraw(work):
                self.give_up_unqueued(work, MAPPING_REMOVED, now)

    def _withdraw(self, work: Work) -> bool:
        """Take it out of where it waits; False when it is running."""
        return self._entrance.withdraw(work) or self._long.withdraw(work) or self._lanes.remove(work.lane, work)

    def _close(self, work: Work) -> None:
        del self._works[work.invocation.id]
        del work.entry.open[work.invocation.id]
        if work.long is not None:
            self._long.left(work)
        if work.entry.open:
            self._books.change(work.entry)
        else:
            self._books.finish(work.entry)


def removed(work: Work, mappings: MappingSet) -> bool:
    """Whether its mapping is gone; what tells of a death is told all the same."""
    invocation = work.invocation
    return invocation.mapping not in mappings.mappings and not invocation.id.endswith(ON_FAILURE)
