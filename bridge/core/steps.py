"""The language of the ledger: what happened (inputs), and what is to be done or told (effects).

What may not live here: deciding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from bridge.core.dedup import SourceRow
from bridge.core.event import Event
from bridge.core.invocation import DeadLetter, Invocation
from bridge.core.mapping import MappingSet
from bridge.core.plan import Plan
from bridge.core.receipts import Ticket
from bridge.core.records import Commit, Record
from bridge.core.retry import Outcome


@dataclass(slots=True)
class Instant:
    """Now, on both clocks: `monotonic` in seconds for delays, `wall` for what happened in the world."""

    wall: datetime
    monotonic: float


@dataclass(frozen=True, slots=True)
class Connected:
    """A new connection to the broker: tickets of the old one are void."""

    generation: int


@dataclass(slots=True)
class Received:
    """An event arrived. `covers_from` is the first sequence that a tombstone stands for.

    `quarantined` says why no mapping may be asked about it (rule 12).
    """

    event: Event
    ticket: Ticket | None
    backlog: bool = False
    covers_from: int | None = None
    quarantined: str | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something arrived that is no event: a dead letter, then acknowledged (rule 12)."""

    id: str
    topic: str
    payload: bytes
    reason: str
    ticket: Ticket | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something arrived that is nothing to us, such as a retained message (rule 5): acknowledged."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class NodeOffline:
    """A node went offline: what of it waits for a `for` is called off (rule 15)."""

    site: str
    node: str
    ticket: Ticket | None


@dataclass(slots=True)
class Attempted:
    """An attempt ended; `jitter` is a number from 0 to 1."""

    invocation_id: str
    outcome: Outcome
    jitter: float


@dataclass(frozen=True, slots=True)
class Replay:
    """Somebody wants a dead letter to be tried again: an ordinary invocation with the same id.

    Where no invocation was planned because the condition failed, the mapping as it stands now is asked again.
    """

    number: int
    event: Event
    mapping: str
    invocation: Invocation | None


@dataclass(frozen=True, slots=True)
class BacklogEnded:
    """What comes from this node (of a site; None: from devices that are not ours) is live from now on (rule 14)."""

    place: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class TimersReleased:
    """The backlog of an earlier life has been seen: timers that fell due meanwhile may fire (rule 15)."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What `take` handed over is on disk."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class NotCommitted:
    """What `take` handed over could not be kept; it is handed over again."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a long lane has on the shelf next, in order; None when it could not be read."""

    lane: str
    records: tuple[Record, ...] | None


@dataclass(frozen=True, slots=True)
class MappingsReplaced:
    """Another mapping set is in force from now on."""

    mappings: MappingSet


Input: TypeAlias = (
    Connected
    | Received
    | Unreadable
    | Ignored
    | NodeOffline
    | Attempted
    | Replay
    | BacklogEnded
    | TimersReleased
    | Committed
    | NotCommitted
    | Fetched
    | MappingsReplaced
)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Acknowledge these deliveries to the broker, in this order."""

    tickets: tuple[Ticket, ...]


@dataclass(slots=True)
class Invoke:
    """Start an attempt, and answer with `Attempted`."""

    invocation: Invocation
    event: Event
    attempt: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read at most `limit` records of a long lane behind the number `after`, and answer with `Fetched`."""

    lane: str
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tell the agents that these sequences are finished or stored."""

    rows: tuple[SourceRow, ...]


@dataclass(slots=True)
class Judged:
    """For the trace: an event was planned."""

    event: Event
    plan: Plan


@dataclass(frozen=True, slots=True)
class Bereaved:
    """For the trace: a sender's outbox had to drop events; the tombstone says which."""

    event: Event
    first: int
    lost: int
    """How many of them are not here: an outbox may drop what has arrived, and joins tombstones that it had sent."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """For the trace: an event arrived again."""

    event: Event


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Mapping state that gave way to newer, because there is too much of it: mappings decide without it from now on."""

    keys: tuple[str, ...]
    """By "<kind>|<what>"."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """An event was let go, neither remembered nor confirmed: its sender left too many gaps, and must send it again."""

    event: Event


@dataclass(frozen=True, slots=True)
class Retrying:
    """For the trace: an attempt failed, another follows in `delay_s` (None: when the parked function answers)."""

    invocation: Invocation
    event: Event
    attempt: int
    outcome: Outcome
    delay_s: float | None


@dataclass(frozen=True, slots=True)
class Parked:
    """A function cannot be reached, or its breaker has opened: its lanes wait, and it is probed (rule 11)."""

    function: str
    reason: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A function that was parked has answered: its lanes go on."""

    function: str


@dataclass(slots=True)
class Ended:
    """For the trace: an invocation succeeded (no letter) or became a dead letter."""

    invocation: Invocation
    event: Event
    attempt: int
    outcome: Outcome | None
    letter: DeadLetter | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """For the trace: an invocation that waited for its `for` was called off; the judgement says by what."""

    invocation: Invocation
    event: Event
    by: str


@dataclass(frozen=True, slots=True)
class Expired:
    """For the trace: a counted drop by a named rule, `max_age` or `backlog latest`."""

    invocation: Invocation
    event: Event
    rule: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """For the trace: a dead letter is tried again, or why not."""

    number: int
    event: Event
    mapping: str
    refused: str | None


@dataclass(frozen=True, slots=True)
class Buried:
    """For the trace: something that never became an invocation is a dead letter."""

    letter: DeadLetter


Effect: TypeAlias = (
    Acknowledge
    | Invoke
    | Fetch
    | Confirm
    | Judged
    | Bereaved
    | Repeated
    | Postponed
    | Forgotten
    | Retrying
    | Parked
    | Answered
    | Ended
    | Cancelled
    | Expired
    | Replayed
    | Buried
)
