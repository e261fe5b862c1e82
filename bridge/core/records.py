"""What the ledger has kept: records of unfinished events, one commit of changes, and what an earlier life left.

What may not live here: deciding, and how it is written to a disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bridge.core.dedup import SourceRow
from bridge.core.event import Event, Identity
from bridge.core.invocation import DeadLetter, Invocation
from bridge.core.mapping_state import MappingState, StateChange


@dataclass(slots=True)
class Pause:
    """The pause before another attempt, as another life can tell it: by wall time."""

    begun_at: datetime
    """When the first attempt began."""
    until: datetime
    whole_s: float
    """It is never longer than this, however far a clock has been put back meanwhile."""


@dataclass(slots=True)
class OpenInvocation:
    """An invocation that has not ended, as the journal keeps it."""

    invocation: Invocation
    attempts: int
    pause: Pause | None = None
    """The last one before another attempt."""


@dataclass(slots=True)
class Record:
    """An event that is not finished, with what of it is open: one row (rule 7)."""

    number: int
    event: Event
    received_at: datetime
    open: tuple[OpenInvocation, ...]
    lane: str | None = None
    """The long lane that it waits in, when it is on the shelf: then it holds one invocation of its event."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """A long lane as the journal keeps it: how many of its records there are, and the lowest number of them."""

    lane: str
    count: int
    first: int


@dataclass(frozen=True, slots=True)
class Commit:
    """What one group commit keeps, all or nothing. `finished` are numbers of records that may be stored."""

    records: tuple[Record, ...]
    finished: tuple[int, ...]
    letters: tuple[DeadLetter, ...]
    sources: tuple[SourceRow, ...]
    ids: tuple[Identity, ...]
    changes: tuple[StateChange, ...]
    replayed: tuple[int, ...] = ()
    """Numbers of dead letters that became invocations again."""
    entries: tuple[Any, ...] = field(repr=False, default=())
    """The ledger's own: whose receipts wait for this commit."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What the journal kept of an earlier life; `next_number` is above every number it has seen."""

    records: tuple[Record, ...] = ()
    sources: tuple[SourceRow, ...] = ()
    ids: tuple[Identity, ...] = ()
    state: MappingState = field(default_factory=MappingState)
    next_number: int = 1
    shelved: tuple[Shelved, ...] = ()
