"""The shelf: what waits on the disk alone, so that slow lanes neither fill the memory nor hold up the others (rule 9).

A lane that has something on the shelf is a **long** one: its next invocations are in memory, everything behind them is
on the disk, and what comes new goes to the disk as well, because it must not overtake. What may not live here: which
lanes are slow, what an invocation is, and how the disk is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Long(Generic[T]):
    """One long lane. Numbers are those of records; they rise in the order of the lane."""

    stored: int = 0
    """On the disk alone."""
    read_to: int = 0
    """Up to this number taken back into memory."""
    resident: int = 0
    """In memory, and not on its way to the disk."""
    reading: bool = False
    coming: dict[int, T] = field(default_factory=dict)
    """On its way to the disk, in order: in memory until a commit has kept it."""
    void: set[int] = field(default_factory=set)
    """Ended on its way there: the disk may have it for a while yet."""


class Shelf(Generic[T]):
    """The long lanes, and what of them is on the disk, on its way there, or being read."""

    def __init__(self, stored: Mapping[str, int]) -> None:
        self.lanes: Final[dict[str, _Long[T]]] = {lane: _Long(stored=count) for lane, count in stored.items()}
        """The long lanes, by name."""
        self._stored = sum(stored.values())
        self._looked_at: set[str] = set(self.lanes)

    def __contains__(self, lane: object) -> bool:
        return lane in self.lanes

    def __len__(self) -> int:
        return len(self.lanes)

    @property
    def stored(self) -> int:
        """Invocations that are on the disk alone."""
        return self._stored

    def begin(self, lane: str, resident: int, after: int) -> None:
        """The lane is long from now on; so many of it stay in memory, and what is put away has numbers above `after`.

        The disk may hold lower numbers: what was long ago put away, has come back, and has not ended.
        """
        self.lanes[lane] = _Long(resident=resident, read_to=after)

    def put(self, lane: str, number: int, item: T) -> None:
        """The item goes to the disk with the next commit."""
        self.lanes[lane].coming[number] = item

    def arrived(self, lane: str, number: int) -> T | None:
        """A commit has kept it: it is on the disk alone. None when it was withdrawn meanwhile."""
        long = self.lanes.get(lane)
        item = long.coming.pop(number, None) if long is not None else None
        if long is not None and item is not None:
            long.stored += 1
            self._stored += 1
            self._looked_at.add(lane)
        return item

    def withdraw(self, lane: str, number: int) -> bool:
        """It ends before it has reached the disk; False when it is not on its way there."""
        long = self.lanes.get(lane)
        if long is None or long.coming.pop(number, None) is None:
            return False
        long.void.add(number)
        self._looked_at.add(lane)
        return True

    def joined(self, lane: str) -> None:
        """One more of the lane is in memory."""
        self.lanes[lane].resident += 1

    def left(self, lane: str) -> None:
        """One of the lane that was in memory has ended."""
        self.lanes[lane].resident -= 1
        self._looked_at.add(lane)

    def is_coming(self, lane: str, number: int) -> bool:
        """Whether it is on its way to the disk, as far as we have been told."""
        return number in self.lanes[lane].coming

    def wanted(self, low: int) -> Iterator[tuple[str, int]]:
        """The lanes of which at most `low` are in memory and more are on the disk, each with the number to read after.

        Each counts as being read until `taken` or `not_read`. A lane of which nothing is left there is long no more.
        """
        looked_at, self._looked_at = self._looked_at, set()
        for lane in sorted(looked_at):
            long = self.lanes.get(lane)
            if long is None or long.reading:
                continue
            if not long.stored and not long.coming:
                del self.lanes[lane]
            elif long.stored and long.resident <= low:
                long.reading = True
                yield lane, long.read_to

    def taken(self, lane: str, number: int) -> bool:
        """It was read from the disk; whether it is in memory again, which it is not when it ended on its way there."""
        long = self.lanes[lane]
        long.read_to = number
        if number in long.void:
            return False
        long.stored -= 1
        self._stored -= 1
        return True

    def read(self, lane: str) -> None:
        """A reading has ended, well or not."""
        self.lanes[lane].reading = False
        self._looked_at.add(lane)
