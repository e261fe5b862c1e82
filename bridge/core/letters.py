"""What a dead letter says of what was given up, was never planned, or could not be read.

What may not live here: deciding to give up.
"""

from __future__ import annotations

from datetime import datetime

from bridge.core.invocation import DeadLetter
from bridge.core.judgement import Failure
from bridge.core.retry import Outcome
from bridge.core.steps import Unreadable
from bridge.core.work import Entry, Work


def of_work(work: Work, reason: str, at: datetime, outcome: Outcome | None) -> DeadLetter:
    """An invocation is given up; `outcome` is that of its last attempt, where one says why."""
    invocation, event = work.invocation, work.entry.event
    return DeadLetter(
        id=invocation.id,
        reason=reason,
        at=at,
        event_id=event.id,
        topic=event.topic,
        event=event.body,
        mapping=invocation.mapping,
        function=invocation.function,
        status=outcome.status if outcome else None,
        body=outcome.body if outcome else "",
        attempts=work.attempts,
        invocation=invocation,
        of=event,
    )


def of_failure(failure: Failure, entry: Entry, at: datetime) -> DeadLetter:
    """A mapping could not say whether it fires."""
    return DeadLetter(
        id=failure.id,
        reason=failure.text,
        at=at,
        event_id=entry.event.id,
        topic=entry.event.topic,
        event=entry.event.body,
        mapping=failure.mapping,
        function=failure.function,
        of=entry.event,
    )


def of_unreadable(given: Unreadable, at: datetime) -> DeadLetter:
    """What arrived is no event."""
    return DeadLetter(
        id=given.id, reason=given.reason, at=at, event_id=given.id, topic=given.topic, event=given.payload
    )
