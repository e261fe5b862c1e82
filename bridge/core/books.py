"""The books: which events are open, what the next commit has to keep, and what may be acknowledged (rules 7 and 8).

An event that is finished before a commit never has its body written; one that is not has a record, and is acknowledged
when that is on the disk. What may not live here: what becomes of an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bridge.core.dedup import Dedup, SourceRow
from bridge.core.event import Identity
from bridge.core.invocation import DeadLetter
from bridge.core.mapping_state import LAST, MappingState, StateChange, last_key, sensor_of
from bridge.core.patience import Left, Patience
from bridge.core.receipts import Receipts, Ticket
from bridge.core.records import Commit, Record, Restored
from bridge.core.work import Entry, opened


class Books:
    """One ledger's books.

    `acknowledge_stored` says whether what is stored and not finished may be acknowledged.
    """

    def __init__(self, restored: Restored, *, acknowledge_stored: bool) -> None:
        self.acknowledge_stored = acknowledge_stored
        self.state: Final[MappingState] = restored.state
        self.receipts = Receipts()
        self.dedup = Dedup.restore(restored.sources, restored.ids)
        self._entries: dict[Identity, Entry] = {}
        self._patience = Patience()
        self._held: list[Entry] = []
        self._dirty: dict[int, Entry] = {}
        self._opened = 0  # since the last commit was taken
        self._letters: list[DeadLetter] = []
        self._changes: dict[str, StateChange] = {}
        self._replayed: list[int] = []
        self._going: set[int] = set()  # of these and of a commit under way
        self._dropped: set[str] = set()  # sources of which something was, since a commit was taken

    def __len__(self) -> int:
        """Events in memory: open ones, and those whose end waits for its commit."""
        return len(self._entries)

    # --- events ---

    def find(self, identity: Identity) -> Entry | None:
        """The event, when it is open."""
        return self._entries.get(identity)

    def open(self, entry: Entry, *, restored: bool = False) -> None:
        """An event is open from now on; one of an earlier life is kept already."""
        self._entries[entry.key] = entry
        if not restored:
            self._dirty[entry.number] = entry
            self._opened += 1
            if entry.event.node is not None:
                entry.last = last_key(sensor_of(entry.event))
                entry.before = self._changes.get(entry.last)

    def change(self, entry: Entry) -> None:
        """What is open of the event has changed: the next commit tells the disk."""
        entry.changed = True
        self._dirty[entry.number] = entry

    def finish(self, entry: Entry) -> None:
        """Nothing of the event is open any more. Where the disk need not know that, it is forgotten at once."""
        if entry.must_commit or entry.written:
            self._dirty[entry.number] = entry
            return
        self._complete(entry)
        del self._dirty[entry.number], self._entries[entry.key]

    def drop(self, source: str) -> None:
        """An event of this source is dropped, and counted: the next commit keeps both its sequence and the count."""
        self._dropped.add(source)

    def bury(self, letter: DeadLetter, entry: Entry) -> None:
        """The event has a dead letter, which is kept before the event is acknowledged."""
        self._letters.append(letter)
        entry.must_commit = True

    def remember(self, changes: Sequence[StateChange], entry: Entry | None) -> None:
        """Change the mapping state, on behalf of an event if there is one.

        What an event changes is kept before it is acknowledged, except what was last known of a sensor: that is only
        looked at, and told again by the next event.
        """
        self.state.apply(changes)
        for change in changes:
            self._changes[change.key] = change
            if entry is not None and not change.key.startswith(LAST):
                entry.must_commit = True

    def replay(self, number: int) -> None:
        """A dead letter has become an invocation again."""
        self._replayed.append(number)
        self._going.add(number)

    def is_going(self, number: int) -> bool:
        """Whether a dead letter was replayed, although the disk may still have it."""
        return number in self._going

    # --- acknowledging ---

    def connect(self, generation: int) -> None:
        """A new connection: tickets of the old one are void."""
        self.receipts.begin(generation)
        self._held.clear()
        for entry in self._entries.values():
            entry.tickets.clear()

    def join(self, entry: Entry | None, ticket: Ticket | None) -> None:
        """A duplicate is acknowledged with its original, or at once when that is finished or stored."""
        if ticket is None:
            return
        if entry is None or (entry.stored and entry.open and self.acknowledge_stored):
            self.receipts.complete(ticket)
        else:
            entry.tickets.append(ticket)

    def release(self, *, withhold: bool) -> tuple[Ticket, ...]:
        """What to acknowledge now, in order; nothing of what was only stored while that is withheld."""
        if self._held and not withhold:
            for entry in self._held:
                self._complete(entry)
            self._held.clear()
        return self.receipts.release()

    def _complete(self, entry: Entry) -> None:
        for ticket in entry.tickets:
            self.receipts.complete(ticket)
        entry.tickets.clear()

    # --- commits ---

    @property
    def dirty(self) -> bool:
        """Whether `take` has something to hand over."""
        return bool(self._dirty or self._letters or self._changes or self.dedup.changed)

    @property
    def unkept(self) -> int:
        """Events that the disk does not know of yet, and others whose change it has to learn."""
        return max(self._opened, len(self._dirty))

    @property
    def waiting(self) -> int:
        """Events that are finished, and are not acknowledged before they are kept."""
        return sum(entry.must_commit and not entry.open for entry in self._dirty.values())

    def take(self, now: float | None = None) -> Commit | None:
        """What the next commit has to keep, or None; answer with `committed` or `not_committed`.

        With `now` (monotonic), what came only just may be left to a later one.
        """
        if not self.dirty:
            return None
        left = Left()
        if now is not None:
            left = self._patience.choose(self._dirty.values(), now, whole=self._dropped)
        taken = [entry for number, entry in self._dirty.items() if number not in left.entries]
        records, finished = [], []
        for entry in taken:
            if entry.open:
                entry.written = True
                records.append(Record(entry.number, entry.event, entry.received_at, opened(entry), entry.lane))
            elif entry.written:
                finished.append(entry.number)
        sources, ids, changes = self.dedup.take(left.sequences), self.dedup.take_ids(), self._take_changes(left)
        if not (taken or sources or ids or changes or self._letters or self._replayed):
            return None
        commit = Commit(
            tuple(records),
            tuple(finished),
            tuple(self._letters),
            sources,
            ids,
            changes,
            tuple(self._replayed),
            tuple(taken),
        )
        self._dirty, self._letters, self._replayed = left.entries, [], []
        self._dropped.clear()
        self._opened = 0
        return commit

    def _take_changes(self, left: Left) -> tuple[StateChange, ...]:
        """The changes of mapping state, as if what is left had not come."""
        changes, self._changes = self._changes, {}
        for key, entry in left.first.items():
            newest = changes.pop(key, None)
            if newest is not None:
                self._changes[key] = newest
            if entry.before is not None:
                changes[key] = entry.before
                entry.before = None
        return tuple(changes.values())

    def committed(self, commit: Commit) -> Iterator[Entry]:
        """It is on the disk. Each event of it, to be looked at before it counts as stored."""
        self._going.difference_update(commit.replayed)
        entry: Entry
        for entry in commit.entries:
            entry.stored = True
            yield entry
            if self.acknowledge_stored or not entry.open:
                self._held.append(entry)
            if not entry.open:
                self._entries.pop(entry.key, None)

    def not_committed(self, commit: Commit) -> None:
        """It could not be kept, and is handed over again."""
        self._dirty = {entry.number: entry for entry in commit.entries} | self._dirty
        self._letters[:0] = commit.letters
        self._replayed[:0] = commit.replayed
        changes = {change.key: change for change in commit.changes}
        for entry in self._dirty.values():
            if entry.last is not None and entry.before is None:
                entry.before = changes.get(entry.last)
        self._changes = changes | self._changes
        self.dedup.put_back(commit.sources, commit.ids)


def known(rows: Iterable[SourceRow]) -> tuple[SourceRow, ...]:
    """Those rows that tell of something; the others tell that an epoch is forgotten."""
    return tuple(row for row in rows if row.runs)
