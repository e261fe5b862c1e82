"""Sets of sequence numbers that are mostly one run: what dedup, confirmation and audit keep per source.

What may not live here: events, epochs, sources.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Sequences:
    """A growing set of positive whole numbers as disjoint runs, in ascending order.

    In the usual order of things there is one run and adding to it costs nothing; runs appear when a broker forgot
    something, and close when it is sent again.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(runs):
            self.add(first, last)

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self._lasts[at]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequences) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment] # it grows

    def __repr__(self) -> str:
        return f"Sequences({list(self)})"

    def __len__(self) -> int:
        """How many runs there are."""
        return len(self._firsts)

    def count(self, first: int, last: int) -> int:
        """How many there are from `first` to `last`."""
        return sum(max(0, min(last, end) - max(first, begin) + 1) for begin, end in self)

    def touches(self, first: int, last: int) -> bool:
        """Whether adding all from `first` to `last` would join a run that is there."""
        return bisect_right(self._lasts, first - 2) < bisect_right(self._firsts, last + 1)

    def add(self, first: int, last: int | None = None) -> None:
        """Add `first`, or all from `first` to `last` inclusive; runs that touch become one."""
        last = first if last is None else last
        if last < first:
            raise ValueError(f"a run from {first} to {last} is empty")
        if self._lasts and first == self._lasts[-1] + 1:  # the usual order of things
            self._lasts[-1] = last
            return
        low = bisect_right(self._lasts, first - 2)  # the first run that touches or follows
        high = bisect_right(self._firsts, last + 1)  # behind the last run that touches
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """The runs, each as (first, last)."""
        return tuple(self)

    def below(self, number: int) -> tuple[tuple[int, int], ...]:
        """The runs of all that are lower than `number`, each as (first, last)."""
        return tuple((first, min(last, number - 1)) for first, last in self if first < number)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """What is missing between the runs, each as (first, last)."""
        between = zip(self._lasts[:-1], self._firsts[1:], strict=True)
        return tuple((last + 1, first - 1) for last, first in between)
