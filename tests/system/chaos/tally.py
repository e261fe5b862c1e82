"""The count: what agents accepted against what functions were called with, dead letters and counted drops."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.system.programs import Call

_BITS = 40
_LAST = f"""
    SELECT s.sensor, e.epoch, max(s.confirmed, coalesce((
        SELECT max(key) - (s.number << {_BITS}) FROM events
        WHERE key > s.number << {_BITS} AND key < (s.number + 1) << {_BITS}), 0))
    FROM streams s JOIN epochs e ON e.number = s.epoch
"""
_DROPS = "SELECT coalesce(sum(events), 0) FROM drops"


class Identity(NamedTuple):
    """An event's identity for dedup and audit (PROTOCOL.md, rule 1)."""

    sensor: str
    epoch: str
    sequence: int


@dataclass(slots=True)
class Outbox:
    """What one agent's outbox says it has accepted and dropped, read from its file without disturbing it."""

    path: Path
    last: dict[tuple[str, str], int] = field(default_factory=dict)
    dropped: int = 0

    def look(self) -> None:
        """Streams of old epochs are forgotten by the outbox, not by us."""
        if not self.path.exists():
            return
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as database:
            for sensor, epoch, last in database.execute(_LAST):
                self.last[sensor, epoch] = max(last, self.last.get((sensor, epoch), 0))
            (self.dropped,) = database.execute(_DROPS).fetchone()

    def accepted(self) -> set[Identity]:
        """Every event that was ever accepted, dropped ones included."""
        return {
            Identity(sensor, epoch, sequence)
            for (sensor, epoch), last in self.last.items()
            for sequence in range(1, last + 1)
        }


@dataclass(frozen=True, slots=True)
class Count:
    """One look at the books; all figures count from the beginning."""

    accepted: int = 0
    delivered: int = 0
    duplicates: int = 0
    dead: int = 0
    dropped: int = 0
    missing: int = 0
    out_of_order: int = 0
    absent: tuple[Identity, ...] = ()
    """Which were neither delivered nor are dead letters; as many as were dropped may be."""
    swapped: tuple[tuple[Identity, int], ...] = ()
    """What came after a later one of its lane, and which."""

    def since(self, earlier: Count) -> Count:
        """What has been added."""
        figures = ("accepted", "delivered", "duplicates", "dead", "dropped", "missing", "out_of_order")
        added = {name: getattr(self, name) - getattr(earlier, name) for name in figures}
        known = (set(earlier.absent), set(earlier.swapped))
        return Count(
            **added,
            absent=tuple(one for one in self.absent if one not in known[0]),
            swapped=tuple(one for one in self.swapped if one not in known[1]),
        )

    @property
    def holds(self) -> bool:
        """accepted = delivered + dead letters + counted drops, and in order."""
        return (
            self.missing == 0 and self.out_of_order == 0 and self.accepted == self.delivered + self.dead + self.dropped
        )


def count(outboxes: Iterable[Outbox], calls: Iterable[Call], letters: Iterable[Mapping[str, Any]]) -> Count:
    """Compare. Each event is meant for exactly one function."""
    accepted: set[Identity] = set()
    dropped = 0
    for outbox in outboxes:
        outbox.look()
        accepted |= outbox.accepted()
        dropped += outbox.dropped
    delivered: set[Identity] = set()
    begun: set[Identity] = set()
    highest: dict[tuple[str, str, str], int] = {}
    swapped = []
    duplicates = 0
    for call in calls:
        identity = _identity(call.body)
        if call.answer == "ok":
            duplicates += identity in delivered
            delivered.add(identity)
        if identity not in begun:
            begun.add(identity)
            lane = (call.mapping, identity.sensor, identity.epoch)
            if identity.sequence < highest.get(lane, 0):
                swapped.append((identity, highest[lane]))
            highest[lane] = max(identity.sequence, highest.get(lane, 0))
    dead = {_identity(letter["event"]) for letter in letters} - delivered
    absent = accepted - delivered - dead
    return Count(
        accepted=len(accepted),
        delivered=len(delivered),
        duplicates=duplicates,
        dead=len(dead),
        dropped=dropped,
        missing=len(absent) - dropped,
        out_of_order=len(swapped),
        absent=tuple(sorted(absent)),
        swapped=tuple(swapped),
    )


def _identity(event: Mapping[str, Any]) -> Identity:
    sensor = event["source"].rpartition("/")[2]
    return Identity(sensor, event["epoch"], int(event["sequence"]))
