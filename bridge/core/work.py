"""Events and invocations in work: what the ledger holds in its hands, and what becomes of a plan.

What may not live here: the order of anything, and deciding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from bridge.core.event import Event, Identity
from bridge.core.invocation import DeadLetter, Invocation, letter_document
from bridge.core.mapping import MappingSet
from bridge.core.mapping_state import StateChange
from bridge.core.plan import Planned, decision_time
from bridge.core.receipts import Ticket
from bridge.core.records import OpenInvocation, Pause
from bridge.core.steps import Instant

ON_FAILURE: Final = ":on-failure"
"""The end of the id of an invocation that tells of another one's death; no mapping's name begins with a colon."""


@dataclass(slots=True, eq=False)
class Work:
    """An invocation on its way."""

    invocation: Invocation
    entry: Entry
    attempts: int = 0
    first_at: float | None = None
    pause: Pause | None = None
    """The last one before another attempt."""
    not_before: float | None = None
    """What of a pause an earlier life has left (monotonic)."""
    timer: str | None = None
    slot: bool = False
    """Whether it is kept until a backlog is over."""
    lane: str = ""
    since: float = 0.0
    """When it came into memory (monotonic)."""
    long: str | None = None
    """The long lane of which it is one that is in memory."""

    @property
    def queued(self) -> bool:
        """Whether it is in its lane, waiting or running."""
        return self.timer is None and not self.slot


@dataclass(slots=True, eq=False)
class Entry:
    """An event in work."""

    number: int
    key: Identity
    event: Event
    received_at: datetime
    tickets: list[Ticket] = field(default_factory=list)
    open: dict[str, Work] = field(default_factory=dict)
    stored: bool = False
    """A commit that holds its record, or its end, is on disk."""
    written: bool = False
    """A record of it may be on disk, so that its end must be written too."""
    arrived: float | None = None
    """When it was received (monotonic); None where that was in an earlier life."""
    must_commit: bool = False
    """Its end changes more than dedup (state, dead letters): it is acknowledged only after the commit."""
    changed: bool = False
    """What is open of it is no longer as it was planned."""
    last: str | None = None
    """The key of the mapping state that tells what was last known of its sensor."""
    before: StateChange | None = None
    """What of that key was to be kept when the event came; None: what is on the disk."""
    lane: str | None = None
    """The long lane on whose shelf its record stands: then it holds one invocation of its event."""


def invocation_of(planned: Planned, mappings: MappingSet) -> Invocation:
    """What a planned invocation needs to be attempted, taken from its mapping as it stands now."""
    mapping = mappings.mappings[planned.mapping]
    return Invocation(
        id=planned.id,
        mapping=mapping.name,
        function=mapping.function,
        lane=planned.lane,
        mode=mapping.mode,
        payload=mapping.payload if isinstance(mapping.payload, str) else "text",
        text=planned.text,
        timeout_s=mapping.timeout_s,
        headers=tuple(mapping.headers.items()) if mapping.headers else (),
        retry=mapping.retry,
        on_failure=mapping.on_failure,
        max_age_s=mapping.max_age_s,
        due_at=planned.due_at,
        cooldown_key=planned.cooldown_key,
    )


def on_failure(failed: Invocation, letter: DeadLetter) -> Invocation:
    """The invocation that tells of another one's death, with the dead letter as its payload."""
    return replace(
        failed,
        id=failed.id + ON_FAILURE,
        function=failed.on_failure or "",
        lane="",
        payload="text",
        text=letter_document(letter).decode(),
        on_failure=None,
        due_at=None,
        max_age_s=None,
        cooldown_key=None,
    )


def opened(entry: Entry) -> tuple[OpenInvocation, ...]:
    """What of an event has not ended, as the journal keeps it."""
    return tuple([OpenInvocation(work.invocation, work.attempts, work.pause) for work in entry.open.values()])


def pause(elapsed_s: float, delay_s: float, now: Instant) -> Pause:
    """A pause that begins now, so long after the first attempt."""
    return Pause(now.wall - timedelta(seconds=elapsed_s), now.wall + timedelta(seconds=delay_s), delay_s)


def resumed(kept: OpenInvocation, entry: Entry, now: Instant) -> Work:
    """What an earlier life has begun: its pause goes on and its `total` runs by wall time."""
    work = Work(kept.invocation, entry, attempts=kept.attempts, pause=kept.pause)
    if kept.pause is not None:
        work.first_at = now.monotonic - max(0.0, (now.wall - kept.pause.begun_at).total_seconds())
        left_s = min((kept.pause.until - now.wall).total_seconds(), kept.pause.whole_s)
        work.not_before = now.monotonic + left_s if left_s > 0 else None
    return work


def shelf_of(invocation: Invocation) -> str:
    """What the shelf knows its lane by; all of a mapping without order are one."""
    return invocation.lane or f"{invocation.mapping} "  # no lane's name ends with a space


def shelf_key(number: int) -> Identity:
    """What an invocation of the shelf is known by: its event may be in work for other mappings."""
    return Identity("shelf", str(number), 0)


def replay_key(number: int) -> Identity:
    """What a replay is known by: its event may be in work for another mapping."""
    return Identity("replay", str(number), 0)


def place_of(event: Event) -> tuple[str, str] | None:
    """The node (of a site) that an event comes from; None for devices that are not ours."""
    return (event.site, event.node) if event.site is not None and event.node is not None else None


def expired(work: Work, now: Instant) -> bool:
    """Whether what has a `max_age` is older than that.

    Its age at receipt counts, and the time since then, which no clock can jump over. What an earlier life has received
    ages by wall time.
    """
    limit_s = work.invocation.max_age_s
    assert limit_s is not None
    entry = work.entry
    since = decision_time(entry.event, entry.received_at)
    if entry.arrived is None:
        return (now.wall - since).total_seconds() > limit_s
    return (entry.received_at - since).total_seconds() + now.monotonic - entry.arrived > limit_s


def waits_s(work: Work, wall: datetime) -> float:
    """How long a `for` has still to wait; never longer than the `for` itself, however much two clocks disagree."""
    due_at = work.invocation.due_at
    assert due_at is not None
    whole = due_at - decision_time(work.entry.event, work.entry.received_at)
    return max(0.0, min(due_at - wall, whole).total_seconds())
