"""The count: what agents accepted against what functions were called with, dead letters and counted drops."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bridge.core.frames import scan
from bridge.core.young import Young, read
from bridge.journal.log import frames_of
from bridge.journal.outbox.log import log_path
from tests.system.programs import Call

_BITS = 40
_LAST = f"""
    SELECT s.number, s.sensor, e.epoch, max(s.confirmed, coalesce((
        SELECT max(key) - (s.number << {_BITS}) FROM events
        WHERE key > s.number << {_BITS} AND key < (s.number + 1) << {_BITS}), 0))
    FROM streams s JOIN epochs e ON e.number = s.epoch
"""
_DROPS = "SELECT coalesce(sum(events), 0) FROM drops"


class Identity(NamedTuple):
    """An event's identity for dedup and audit (PROTOCOL.md, rule 1)."""

    node: str
    sensor: str
    epoch: str
    sequence: int


@dataclass(slots=True)
class Outbox:
    """What one agent's outbox says it has accepted and dropped, read from its files without disturbing it."""

    node: str
    path: Path
    last: dict[tuple[str, str], int] = field(default_factory=dict)
    dropped: int = 0
    _dropped_before: int = 0

    def look(self) -> None:
        """Streams of old epochs are forgotten by the outbox, not by us."""
        if not self.path.exists():
            return
        young = self._young()  # before the database: what is folded meanwhile is looked at twice, and not never
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as database:
            streams = {number: (sensor, epoch) for number, sensor, epoch, _ in database.execute(_LAST)}
            for _, sensor, epoch, last in database.execute(_LAST):
                self._note(sensor, epoch, last)
            self.dropped = self._dropped_before + database.execute(_DROPS).fetchone()[0]

        streams |= {number: (sensor, epoch) for number, sensor, epoch in young.streams}
        for number, last in young.through.items():
            if number in streams:
                self._note(*streams[number], last)
        for entry in young:
            event = json.loads(entry.body)
            self._note(event["subject"], event["epoch"], int(event["sequence"]))

    def _young(self) -> Young:
        """What the log says, also of what the database has taken over since."""
        path = log_path(self.path)
        return read(scan(frames_of(path), None).payloads) if path.exists() else Young()

    def _note(self, sensor: str, epoch: str, last: int) -> None:
        self.last[sensor, epoch] = max(last, self.last.get((sensor, epoch), 0))

    def renewed(self) -> None:
        """Look a last time: the file is going to be lost, and another one will begin to count anew."""
        self.look()
        self._dropped_before = self.dropped

    def accepted(self) -> set[Identity]:
        """Every event that was ever accepted, dropped ones included."""
        return {
            Identity(self.node, sensor, epoch, sequence)
            for (sensor, epoch), last in self.last.items()
            for sequence in range(1, last + 1)
        }


class Twice(NamedTuple):
    """A function was called again although it had answered 200: when it answered, and when it was called again."""

    identity: Identity
    first_at: float
    again_at: float


@dataclass(frozen=True, slots=True)
class Count:
    """One look at the books; all figures count from the beginning."""

    accepted: int = 0
    delivered: int = 0
    duplicates: int = 0
    dead: int = 0
    dropped: int = 0
    lost: int = 0
    """Gone with a disk that was damaged on purpose, and reported as lost by the program whose disk it was."""
    missing: int = 0
    out_of_order: int = 0
    absent: tuple[Identity, ...] = ()
    """Which were neither delivered nor are dead letters; as many as were dropped may be."""
    swapped: tuple[tuple[Identity, int], ...] = ()
    """What came after a later one of its lane, and which."""
    twice: tuple[Twice, ...] = ()

    def since(self, earlier: Count) -> Count:
        """What has been added."""
        figures = ("accepted", "delivered", "duplicates", "dead", "dropped", "lost", "missing", "out_of_order")
        added = {name: getattr(self, name) - getattr(earlier, name) for name in figures}
        known = (set(earlier.absent), set(earlier.swapped))
        return Count(
            **added,
            absent=tuple(one for one in self.absent if one not in known[0]),
            swapped=tuple(one for one in self.swapped if one not in known[1]),
            twice=self.twice[len(earlier.twice) :],
        )

    @property
    def complete(self) -> bool:
        """accepted = delivered + dead letters + counted drops + reported losses."""
        return self.missing == 0 and self.accepted == self.delivered + self.dead + self.dropped + self.lost

    @property
    def holds(self) -> bool:
        """Complete, and in order."""
        return self.complete and self.out_of_order == 0


def count(
    outboxes: Iterable[Outbox], calls: Iterable[Call], letters: Iterable[Mapping[str, Any]], reported_lost: int = 0
) -> Count:
    """Compare. Each event is meant for exactly one function.

    What was reported as lost may have arrived all the same, because somebody else had not heard yet that it was kept;
    so at most that many may be absent. Calls of one function stand in their order, those of different ones do not.
    """
    accepted: set[Identity] = set()
    dropped = 0
    for outbox in outboxes:
        outbox.look()
        accepted |= outbox.accepted()
        dropped += outbox.dropped
    delivered: dict[Identity, float] = {}
    twice = []
    begun: set[Identity] = set()
    highest: dict[tuple[str, str, str, str], int] = {}
    swapped = []
    for call in calls:
        identity = identity_of(call.body)
        if call.answer == "ok":
            if identity in delivered:
                twice.append(Twice(identity, delivered[identity], call.at))
            delivered.setdefault(identity, call.at)
        if identity not in begun:
            begun.add(identity)
            lane = (call.mapping, identity.node, identity.sensor, identity.epoch)
            if identity.sequence < highest.get(lane, 0):
                swapped.append((identity, highest[lane]))
            highest[lane] = max(identity.sequence, highest.get(lane, 0))
    dead = {identity_of(letter["event"]) for letter in letters} - delivered.keys()
    absent = accepted - delivered.keys() - dead
    lost = max(0, min(reported_lost, len(absent) - dropped))
    return Count(
        accepted=len(accepted),
        delivered=len(delivered),
        duplicates=len(twice),
        dead=len(dead),
        dropped=dropped,
        lost=lost,
        missing=len(absent) - dropped - lost,
        out_of_order=len(swapped),
        absent=tuple(sorted(absent)),
        swapped=tuple(swapped),
        twice=tuple(twice),
    )


def letters_kept(state: Path) -> list[dict[str, Any]]:
    """The dead letters of a dispatcher that is a standby now, and does not serve them."""
    path = state / "ledger.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        return [{"event": json.loads(event)} for (event,) in database.execute("SELECT event FROM dead_letters")]


def identity_of(event: Mapping[str, Any]) -> Identity:
    """Whose it is and which; the source is /sites/<site>/nodes/<node>/sensors/<sensor>."""
    *_, node, _, sensor = event["source"].split("/")
    return Identity(node, sensor, event["epoch"], int(event["sequence"]))
