"""Which events a group commit leaves to the broker: those that will probably have ended before the next one (rule 8).

An event that is not acknowledged stands at the broker and in its sender's outbox, and comes again after a kill. Storing
it, to mark it as finished a moment later, costs as much as everything else that is done for it; so what came only just
waits, as long as what comes ends soon. What is left must be as if it had not come: of its source nothing that followed
it is recorded, and of what was last known of its sensor the commit keeps what was known before. What may not live here:
acknowledging, and what a commit is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bridge.core.event import FOREIGN_TYPE
from bridge.core.work import Entry

PATIENT_S: Final = 0.5
"""An event that is older is stored."""
MANY: Final = 64
"""With so many younger ones behind one that has to be stored, all are: they would hold up what waits at the broker."""
AGAIN_S: Final = 5.0
"""So long everything is stored then."""


@dataclass(slots=True)
class Left:
    """What a commit leaves out."""

    entries: dict[int, Entry] = field(default_factory=dict)
    """By their numbers, in order."""
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    """The lowest sequence of each source and epoch: from there on nothing is recorded."""
    first: dict[str, Entry] = field(default_factory=dict)
    """The first event of each sensor, by the key of what is last known of it: what to keep is what was known before."""


class Patience:
    """Chooses what to leave, and stops for a while where that does not pay."""

    __slots__ = ("_again_at",)

    def __init__(self) -> None:
        self._again_at = 0.0

    def choose(self, entries: Iterable[Entry], now: float, *, whole: Iterable[str] = ()) -> Left:
        """What to leave of the events that a commit could keep (in the order in which they came; `now` is monotonic).

        Of one source these are the last ones, so that what is recorded of it has no gap; of those in `whole`, none.
        """
        left = Left()
        if now < self._again_at:
            return left
        closed, late = set(whole), False
        chosen: list[Entry] = []
        for entry in reversed(list(entries)):
            source, last = entry.key.source, entry.last
            may_be_left = _may_be_left(entry)
            old = may_be_left and entry.arrived is not None and now - entry.arrived >= PATIENT_S
            if source in closed or last in closed or old or not may_be_left:
                late = late or old
                closed.add(source)
                if last is not None:
                    closed.add(last)
            else:
                chosen.append(entry)
        if late and len(chosen) >= MANY:
            self._again_at = now + AGAIN_S
            return left
        for entry in reversed(chosen):
            identity = entry.key
            left.entries[entry.number] = entry
            if identity.sequence:
                left.sequences.setdefault((identity.source, identity.epoch), identity.sequence)
            if entry.last is not None:
                left.first.setdefault(entry.last, entry)
        return left


def _may_be_left(entry: Entry) -> bool:
    """Whether it is open as it was planned, nothing on the disk depends on it, and the broker still has it."""
    return bool(
        entry.open
        and entry.tickets
        and not (entry.written or entry.must_commit or entry.changed)
        and (entry.key.sequence or entry.event.type == FOREIGN_TYPE)
    )
