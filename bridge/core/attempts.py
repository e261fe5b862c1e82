"""Attempts: which ones begin, what follows from how they end, and which functions are parked meanwhile (rules 10, 11).

What may not live here: whose turn it is, and how often something is tried.
"""

from __future__ import annotations

from bridge.core.books import Books
from bridge.core.ends import MAPPING_REMOVED, MAX_AGE, Ends, removed
from bridge.core.lanes import Lanes
from bridge.core.mapping import MappingSet
from bridge.core.plan import succeeded
from bridge.core.retry import GiveUp, Park, RetryAfter, Verdict, decide
from bridge.core.steps import Answered, Attempted, Effect, Ended, Instant, Invoke, Parked, Retrying
from bridge.core.work import Work, expired, pause


class Attempts:
    """Begins attempts, and hears how they ended. `works` are the ledger's invocations in memory by id."""

    def __init__(
        self, works: dict[str, Work], lanes: Lanes[Work], books: Books, ends: Ends, effects: list[Effect]
    ) -> None:
        self._works = works
        self._lanes = lanes
        self._books = books
        self._ends = ends
        self._effects = effects
        self._why_parked: dict[str, str] = {}

    @property
    def parked_because(self) -> dict[str, str]:
        """What the last attempt said, for each parked function that something waits for."""
        return {name: self._why_parked[name] for name in self._lanes.parked}

    def start(self, now: Instant) -> None:
        """Begin what may begin; what is too old for that is dropped."""
        again = True
        while again:
            again = False
            for work in self._lanes.start():
                invocation, event = work.invocation, work.entry.event
                if invocation.max_age_s is not None and expired(work, now):
                    self._lanes.end(work.lane, answered=False)
                    self._ends.drop(work, MAX_AGE)
                    again = True  # what is behind it may start
                    continue
                if work.first_at is None:
                    work.first_at = now.monotonic
                work.attempts += 1
                self._effects.append(Invoke(invocation, event, work.attempts))

    def ended(self, given: Attempted, mappings: MappingSet, now: Instant) -> None:
        """One has ended: so has its invocation, or it is tried again."""
        work = self._works.get(given.invocation_id)
        if work is None:
            return  # it became a dead letter while its last attempt ran
        invocation, entry, outcome = work.invocation, work.entry, given.outcome
        if outcome.verdict is Verdict.SUCCEEDED:
            books = self._books
            if invocation.cooldown_key is not None:
                begun = succeeded(invocation.cooldown_key, entry.event, entry.received_at, books.state)
                books.remember((begun,), entry)
            self._effects.append(Ended(invocation, entry.event, work.attempts, outcome, None))
            self._ends.end(work)
            if self._why_parked:
                self._tell_parked(invocation.function, "")
            return
        if removed(work, mappings):
            self._ends.give_up(work, MAPPING_REMOVED, now, outcome)
        else:
            self._failed(work, given, now)
        self._tell_parked(invocation.function, outcome.reason)

    def tell_answered(self) -> None:
        """Tell which functions are parked no longer, since nothing waits for them."""
        for function in [name for name in self._why_parked if not self._lanes.is_parked(name)]:
            del self._why_parked[function]
            self._effects.append(Answered(function))

    def _failed(self, work: Work, given: Attempted, now: Instant) -> None:
        invocation, entry, outcome = work.invocation, work.entry, given.outcome
        elapsed_s = now.monotonic - work.first_at if work.first_at is not None else 0.0
        match decide(
            invocation.retry,
            outcome,
            attempt=work.attempts,
            elapsed_s=elapsed_s,
            jitter=given.jitter,
        ):
            case RetryAfter(delay_s):
                self._effects.append(Retrying(invocation, entry.event, work.attempts, outcome, delay_s))
                failed_at = now.monotonic if outcome.unwell else None
                self._lanes.again(work.lane, now.monotonic + delay_s, failed_at=failed_at)
                work.pause = pause(elapsed_s, delay_s, now)
                self._books.change(entry)
            case Park():
                self._effects.append(Retrying(invocation, entry.event, work.attempts, outcome, None))
                work.attempts -= 1  # it never reached the function
                if not work.attempts:
                    work.first_at = work.pause = None  # nor does its `total` begin with it
                self._lanes.park(work.lane, now.monotonic)
            case GiveUp(reason):  # pragma: no branch - the last of them, as mypy knows
                self._ends.give_up(work, reason, now, outcome)

    def _tell_parked(self, function: str, reason: str) -> None:
        """Tell when a function is parked, and when it no longer is."""
        parked, known = self._lanes.is_parked(function), function in self._why_parked
        if parked:
            self._why_parked[function] = reason
            if not known:
                self._effects.append(Parked(function, reason))
        elif known:
            del self._why_parked[function]
            self._effects.append(Answered(function))
