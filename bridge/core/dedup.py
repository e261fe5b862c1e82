"""Which events have a record already: dedup by (source, epoch, sequence), or by id where nothing counts.

Memory is one small row per source and epoch, and a bounded number of ids. What may not live here: events in work.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bridge.core.event import Identity
from bridge.core.sequences import Sequences

EPOCHS_PER_SOURCE = 4
"""An agent whose outbox was made anew begins another epoch; what the broker still holds of older ones stays known."""
RUNS = 1_000
"""So many gaps one epoch may have, more than an outbox leaves; who leaves more must send again later."""
IDS = 20_000
"""How many ids of uncounted events are remembered, over all sources."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """What is known of one source in one epoch, as the journal keeps it: runs of sequences; none: forget the epoch."""

    source: str
    epoch: str
    runs: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Dedup:
    """The identities that have a record. What changed since `take` was last called is told by it."""

    _sources: dict[str, OrderedDict[str, Sequences]] = field(default_factory=dict)
    _ids: OrderedDict[Identity, None] = field(default_factory=OrderedDict)
    _changed: dict[tuple[str, str], int] = field(default_factory=dict)  # the lowest sequence that is to be told
    _new_ids: list[Identity] = field(default_factory=list)

    @classmethod
    def restore(cls, rows: Iterable[SourceRow], ids: Iterable[Identity] = ()) -> Dedup:
        """What the journal kept, oldest epoch of a source first."""
        dedup = cls()
        for row in rows:
            epochs = dedup._epochs(row.source)
            epochs[row.epoch] = Sequences(row.runs)
            if len(epochs) > EPOCHS_PER_SOURCE:
                oldest, _ = epochs.popitem(last=False)
                dedup._changed[row.source, oldest] = 0
        for identity in ids:
            dedup._ids[identity] = None
        return dedup

    def knows(self, identity: Identity) -> bool:
        """Whether this event has a record."""
        if identity.sequence == 0:
            return identity in self._ids
        epochs = self._sources.get(identity.source)
        known = epochs.get(identity.epoch) if epochs else None
        return known is not None and identity.sequence in known

    def crowded(self, identity: Identity, *, first: int | None = None) -> bool:
        """Whether the event cannot be added now: it would begin one more run, and its epoch has as many as it may."""
        epochs = self._sources.get(identity.source)
        known = epochs.get(identity.epoch) if epochs else None
        if known is None or len(known) < RUNS:
            return False
        return not known.touches(identity.sequence if first is None else first, identity.sequence)

    def unknown(self, identity: Identity, first: int) -> int:
        """How many of the sequences from `first` to the event's own have no record."""
        epochs = self._sources.get(identity.source)
        known = epochs.get(identity.epoch) if epochs else None
        return identity.sequence - first + 1 - (known.count(first, identity.sequence) if known is not None else 0)

    def add(self, identity: Identity, *, first: int | None = None) -> None:
        """Note that the event has a record; with `first`, all sequences from there to its own (a tombstone's range)."""
        if identity.sequence == 0:
            if identity in self._ids:
                return
            self._ids[identity] = None
            self._new_ids.append(identity)
            if len(self._ids) > IDS:
                self._ids.popitem(last=False)
            return
        epochs = self._epochs(identity.source)
        known = epochs.get(identity.epoch)
        if known is None:
            known = epochs[identity.epoch] = Sequences()
            if len(epochs) > EPOCHS_PER_SOURCE:
                oldest, _ = epochs.popitem(last=False)
                self._changed[identity.source, oldest] = 0
        first = identity.sequence if first is None else first
        known.add(first, identity.sequence)
        key = identity.source, identity.epoch
        self._changed[key] = min(self._changed.get(key, first), first)

    def touch(self, identity: Identity) -> None:
        """Count the event's row as changed: who sent it again has not heard that it was kept."""
        if identity.sequence and identity.epoch in self._sources.get(identity.source, ()):
            self._changed[identity.source, identity.epoch] = 0

    def take(self, left: Mapping[tuple[str, str], int] = MappingProxyType({})) -> tuple[SourceRow, ...]:
        """The rows that changed since the last call.

        `left` names for sources and epochs a sequence from which on nothing is to be told yet.
        """
        rows, later = [], {}
        for key, lowest in self._changed.items():
            source, epoch = key
            known = self._sources[source].get(epoch)
            runs = known.runs if known is not None else ()
            if key in left and known is not None:
                later[key] = max(lowest, left[key])
                runs = known.below(left[key])
                if lowest >= left[key] or not runs:
                    continue
            rows.append(SourceRow(source, epoch, runs))
        self._changed = later
        return tuple(rows)

    def take_ids(self) -> tuple[Identity, ...]:
        """The ids of uncounted events that were added since the last call."""
        ids, self._new_ids = tuple(self._new_ids), []
        return ids

    def put_back(self, rows: Iterable[SourceRow], ids: Iterable[Identity] = ()) -> None:
        """Count rows and ids as changed again, because they could not be kept."""
        for row in rows:
            self._changed[row.source, row.epoch] = 0
        self._new_ids[:0] = ids

    @property
    def changed(self) -> bool:
        """Whether `take` or `take_ids` has something."""
        return bool(self._changed or self._new_ids)

    def rows(self) -> tuple[SourceRow, ...]:
        """Everything that is known of counted sources."""
        return tuple(
            SourceRow(source, epoch, known.runs)
            for source, epochs in self._sources.items()
            for epoch, known in epochs.items()
        )

    def _epochs(self, source: str) -> OrderedDict[str, Sequences]:
        return self._sources.setdefault(source, OrderedDict())
