"""What the dispatcher measures: `gpio_bridge_dispatcher_...`, with labels that stay few."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from bridge.core.delivery import Ledger
from bridge.core.ends import LATEST, MAX_AGE
from bridge.core.invocation import Invocation
from bridge.core.mapping_state import KINDS
from bridge.core.retry import Outcome, Verdict
from bridge.core.steps import (
    Acknowledge,
    Bereaved,
    Buried,
    Cancelled,
    Ended,
    Expired,
    Forgotten,
    Instant,
    Invoke,
    Judged,
    Postponed,
    Repeated,
    Retrying,
)
from bridge.core.tombstone import Reason
from bridge.dispatcher.audit import ACCEPTED, DAMAGED
from bridge.dispatcher.tallies import Spread, Tally

REASONS: Final = (*get_args(Reason), MAX_AGE, LATEST, ACCEPTED, DAMAGED)
"""Why events are dropped, or lost with a damaged journal."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

SUCCEEDED: Final[str] = Verdict.SUCCEEDED.value

TRACES_LOST: Final = ("too many at once", "disk", "not JSON")
"""Why a decision is in no trace."""


class Metrics:
    """The counters, and the gauges that are read from the ledger when somebody scrapes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "gpio_bridge_dispatcher"
        self._events = Tally(f"{prefix}_events", "Events received for the first time", registry=registry)
        self._bereaved = Counter(
            f"{prefix}_outbox_dropped", "Events that agents' outboxes dropped before they arrived", registry=registry
        )
        self._acknowledged = Tally(f"{prefix}_acknowledged", "Deliveries acknowledged", registry=registry)
        self._judged = Tally(
            f"{prefix}_judgements", "What mappings said to events", ["mapping", "result"], registry=registry
        )
        self._attempts = Tally(
            f"{prefix}_attempts", "Attempts by their verdict", ["function", "verdict"], registry=registry
        )
        self._invocations = Tally(
            f"{prefix}_invocations", "Invocations that ended", ["mapping", "function", "result"], registry=registry
        )
        self._duration = Spread(
            f"{prefix}_attempt_seconds", "Duration of attempts", ["function"], bounds=SECONDS, registry=registry
        )
        self._latency = Spread(
            f"{prefix}_event_age_seconds", "From the event's time to the start of its first attempt",
            bounds=SECONDS, registry=registry,
        )  # fmt: skip
        self._postponed = Counter(
            f"{prefix}_postponed", "Events let go because their sender left too many gaps; it sends them again",
            registry=registry,
        )  # fmt: skip
        self._forgotten = Counter(
            f"{prefix}_mapping_state_forgotten",
            "Cooldowns, waits and last values that gave way to newer: mappings decide without them",
            ["kind"],
            registry=registry,
        )
        for kind in KINDS:
            self._forgotten.labels(kind)
        self._letters = Counter(
            f"{prefix}_dead_letters", "Dead letters, whatever they were given up for", registry=registry
        )
        self._parked = Gauge(
            f"{prefix}_function_parked", "1 while a function is parked and probed", ["function"], registry=registry
        )
        self._ignored = Counter(f"{prefix}_ignored", "Messages that are no events", ["why"], registry=registry)
        self._dropped = Counter(f"{prefix}_dropped", "Invocations dropped", ["mapping", "why"], registry=registry)
        # The next three are named for the whole system: the audit that DESIGN.md promises.
        self._missing = Gauge(
            "gpio_bridge_events_missing_total", "Events that agents numbered and that are not here: zero, or an alert",
            registry=registry,
        )  # fmt: skip
        self._duplicate = Counter("gpio_bridge_events_duplicate", "Events that arrived again", registry=registry)
        self._lost = Counter(
            "gpio_bridge_events_dropped",
            "Drops by a named rule, and losses with a damaged journal, also of earlier lives",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:  # from zero on, or nobody sees the first one grow
            self._lost.labels(reason)
        self._traces_lost = Counter(
            f"{prefix}_traces_lost", "Decisions that are in no trace", ["why"], registry=registry
        )
        for why in TRACES_LOST:
            self._traces_lost.labels(why)
        self.letters_kept = Gauge(
            f"{prefix}_dead_letters_kept", "Dead letters that nobody has replayed or purged", registry=registry
        )
        self.letters_dropped = Counter(
            f"{prefix}_dead_letters_dropped",
            "Dead letters that gave way to newer (limits.dead_letters)",
            registry=registry,
        )
        self._trace_bytes = Gauge(f"{prefix}_traces_bytes", "What traces take on the disk", registry=registry)
        self._counted: dict[type, Callable[[Any, Instant], None]] = {
            Judged: self._count_judged,
            Invoke: self._count_invoke,
            Ended: self._count_ended,
            Cancelled: self._count_cancelled,
            Retrying: lambda effect, _: self._count_attempt(effect.invocation, effect.outcome),
            Acknowledge: self._count_acknowledged,
            Bereaved: lambda effect, _: self._bereaved.inc(effect.lost),
            Postponed: lambda _, _now: self._postponed.inc(),
            Forgotten: self._count_forgotten,
            Repeated: lambda _, _now: self._duplicate.inc(),
            Expired: lambda effect, _: self._dropped.labels(effect.invocation.mapping, effect.rule).inc(),
            Buried: lambda _, _now: self._letters.inc(),
        }
        self.quarantined = Gauge(
            f"{prefix}_quarantined", "1 when a damaged journal was set aside at this start", registry=registry
        )
        self.held = Counter(
            f"{prefix}_quarantined_messages", "Messages that were not handled, having ended the dispatcher before",
            registry=registry,
        )  # fmt: skip
        self.commit_failures = Counter(f"{prefix}_commit_failures", "Commits that failed", registry=registry)
        self._registry = registry
        self._prefix = prefix

    def observe(self, ledger: Ledger) -> None:
        """Read these from the ledger whenever the metrics are asked for."""
        gauges = {
            "open_events": ("Events that are not finished", lambda: ledger.open_events),
            "stored_events": ("Those of them that wait on the disk alone", lambda: ledger.stored_events),
            "open_invocations": ("Invocations that have not ended", lambda: ledger.open_invocations),
            "running": ("Attempts under way", lambda: ledger.running),
            "unacknowledged": ("Deliveries not acknowledged to the broker", lambda: ledger.unacknowledged),
            "parked_functions": (
                "Functions that do not answer and are waited for",
                lambda: len(ledger.parked),
            ),
            "waiting": ("Invocations that wait for their `for`", lambda: ledger.waiting),
        }
        for name, (text, read) in gauges.items():
            Gauge(f"{self._prefix}_{name}", text, registry=self._registry).set_function(read)

    def observe_audit(self, missing: Callable[[], int], trace_bytes: Callable[[], int]) -> None:
        """Read these whenever the metrics are asked for."""
        self._missing.set_function(missing)
        self._trace_bytes.set_function(trace_bytes)

    def dropped(self, reason: str, count: int) -> None:
        """Count drops that the audit names."""
        self._lost.labels(reason).inc(count)

    def traces_lost(self, why: str, count: int) -> None:
        """Count what is in no trace."""
        self._traces_lost.labels(why).inc(count)

    def parked(self, function: str, *, now: bool) -> None:
        """Tell whether a function is parked."""
        self._parked.labels(function).set(now)

    def ignored(self, why: str) -> None:
        """Count a message that was acknowledged and is no event to us."""
        self._ignored.labels(why).inc()

    def counter(self, kind: type) -> Callable[[Any, Instant], None] | None:
        """What counts this kind of effect; None for one that is not counted."""
        return self._counted.get(kind)

    def _count_judged(self, effect: Judged, now: Instant) -> None:
        self._events.counts[()] += 1.0
        if effect.plan.failures:
            self._letters.inc(len(effect.plan.failures))
        for judgement in effect.plan.judgements:
            self._judged.counts[judgement.mapping, judgement.result] += 1.0

    def _count_invoke(self, effect: Invoke, now: Instant) -> None:
        if effect.attempt == 1:
            self._latency.add((), max(0.0, (now.wall - effect.event.time).total_seconds()))

    def _count_attempt(self, invocation: Invocation, outcome: Outcome) -> None:
        verdict = outcome.verdict
        # The value of a member of an Enum is two calls of Python away, and nearly all of them are the same one.
        named = SUCCEEDED if verdict is Verdict.SUCCEEDED else verdict.value
        self._attempts.counts[invocation.function, named] += 1.0
        self._duration.add((invocation.function,), outcome.duration_s)

    def _count_ended(self, effect: Ended, now: Instant) -> None:
        invocation = effect.invocation
        if effect.outcome is not None:
            self._count_attempt(invocation, effect.outcome)
        self._invocations.counts[invocation.mapping, invocation.function, "dead" if effect.letter else SUCCEEDED] += 1.0
        if effect.letter:
            self._letters.inc()

    def _count_acknowledged(self, effect: Acknowledge, _: Instant) -> None:
        self._acknowledged.counts[()] += len(effect.tickets)

    def _count_forgotten(self, effect: Forgotten, _: Instant) -> None:
        for key in effect.keys:
            self._forgotten.labels(key.partition("|")[0]).inc()

    def _count_cancelled(self, effect: Cancelled, now: Instant) -> None:
        self._invocations.counts[effect.invocation.mapping, effect.invocation.function, "cancelled"] += 1.0
