"""What an attempt's answer means, and whether and when to try again (PROTOCOL.md, rule 11).

What may not live here: HTTP, clocks, randomness. The caller gives the jitter as a number between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

PATIENCE_STATUSES = frozenset({425, 429})
RETRYABLE_STATUSES = PATIENCE_STATUSES | {408}
RETRY_AFTER_MAX_S = 86400.0
"""A Retry-After of more than a day is a mistake of the function's."""
PARKING_STATUSES = frozenset({401, 403, 404})


class Verdict(Enum):
    """What one attempt came to."""

    SUCCEEDED = "succeeded"
    RETRYABLE = "retryable"
    """It may well succeed later: a connection that broke, a time-out, 408, 425, 429, 5xx."""
    PARKED = "parked"
    """Nothing was reached: there is no connection, or the gateway does not know the function or refuses us. No attempt
    makes sense until that changes, and none is counted."""
    REFUSED = "refused"
    """The function itself said no (another 4xx): trying again would get the same answer."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How one attempt ended. `status` is None when there was no HTTP answer; `body` is cut to what a person reads."""

    verdict: Verdict
    status: int | None
    reason: str
    duration_s: float
    body: str = ""
    retry_after_s: float | None = None

    @property
    def unwell(self) -> bool:
        """Whether it counts for the breaker: 425 and 429 come from a function that is well and asks for patience."""
        return self.verdict is Verdict.RETRYABLE and self.status not in PATIENCE_STATUSES


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently: full jitter over an exponential ceiling, first * 2^(n-1), at most `max_s`.

    Source: M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the variant "full jitter".
    """

    attempts: int = 5
    first_s: float = 1.0
    max_s: float = 60.0
    total_s: float | None = None
    """No attempt starts later than this after the first one that reached its function, when given."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again in `delay_s`."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Park:
    """Keep it without counting the attempt, until a probe of the function succeeds."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A dead letter, for this reason."""

    reason: str


Decision: TypeAlias = RetryAfter | Park | GiveUp


def classify(status: int, *, from_gateway: bool) -> Verdict:
    """What an HTTP status means; `from_gateway` says that the answer carries `X-OpenFaaS-Internal`.

    The gateway's own 500 and 503 speak of the function as a whole (no replica, no provider): parked. Its 502 and 504
    speak of this one call, which the function broke or did not finish: retried and counted, so that one poisonous event
    cannot hold its function for ever.
    """
    if 200 <= status < 300:
        return Verdict.SUCCEEDED
    if status in PARKING_STATUSES or (from_gateway and status in (500, 503)):
        return Verdict.PARKED
    if status in RETRYABLE_STATUSES or status >= 500:
        return Verdict.RETRYABLE
    return Verdict.REFUSED


def decide(policy: RetryPolicy, outcome: Outcome, *, attempt: int, elapsed_s: float, jitter: float) -> Decision:
    """What follows the failed attempt number `attempt` (from 1), `elapsed_s` after the first one began.

    A Retry-After is a floor below the jittered pause and is not cut by `max_s`: who asks for patience gets it, up to a
    day.
    """
    if outcome.verdict is Verdict.REFUSED:
        return GiveUp(f"refused: {outcome.reason}")
    if outcome.verdict is Verdict.PARKED:
        return Park()
    if attempt >= policy.attempts:
        return GiveUp(f"gave up after {_times(attempt)}: {outcome.reason}")
    ceiling_s = min(policy.max_s, policy.first_s * 2.0 ** min(attempt - 1, 62))
    delay_s = max(jitter * ceiling_s, min(outcome.retry_after_s or 0.0, RETRY_AFTER_MAX_S))
    if policy.total_s is not None and elapsed_s + delay_s > policy.total_s:
        return GiveUp(f"gave up after {_times(attempt)} in {elapsed_s:.0f} s: {outcome.reason}")
    return RetryAfter(delay_s)


def _times(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
