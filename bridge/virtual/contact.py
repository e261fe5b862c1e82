"""How a mechanical contact bounces: at which moments its level changes until it has come to rest.

The same name and the same count of changes give the same bounces in every run, so that a test which failed once fails
again. Pure: who plays the moments, in real or virtual time, stands elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from bridge.config import seconds

PAIR_S: Final = 0.002
"""A contact opens and closes about once in this time: real ones do so in fractions of a millisecond up to some."""
MOST_PAIRS: Final = 100
"""More often no contact opens and closes in one burst, however long that is."""

_BOUNCES = re.compile(r"(?:bounce|(.+) bouncing) for (\S+)")


@dataclass(frozen=True, slots=True)
class Edge:
    """One change of a contact's level, and how long after the burst begins."""

    after_s: float
    active: bool


class Contact:
    """How one contact stands, and how often that has changed."""

    def __init__(self, name: str, *, active: bool = False) -> None:
        self.name = name
        self.active = active
        self.changes = 0

    def move(self, *, active: bool) -> None:
        """It now stands so."""
        self.changes += active != self.active
        self.active = active

    def bounces(self, over_s: float, *, active: bool) -> tuple[Edge, ...]:
        """The edges of a burst that begins now and ends at `active` when `over_s` have passed.

        The first edge leaves the level that the contact has; where that is the one it ends at, it chatters.
        """
        chance = Random(f"{self.name} {self.changes}")  # noqa: S311 - bounces that are the same in every run
        pairs = max(1, min(MOST_PAIRS, round(over_s / PAIR_S * chance.uniform(0.5, 1.5))))
        edges = 2 * pairs + (active != self.active)
        # Never nothing between two edges, and a long one now and then.
        gaps = [0.1 + chance.expovariate(1.0) for _ in range(edges - 1)]
        moments = [0.0, *accumulate(gap * over_s / sum(gaps) for gap in gaps)]
        # The sum of the parts may miss the whole by a rounding error.
        moments[-1] = over_s
        return tuple(Edge(at_s, active == ((edges - number) % 2 == 1)) for number, at_s in enumerate(moments))


def read_bounces(text: str) -> tuple[str | None, float] | None:
    """What `press bouncing for 5ms` and `bounce for 5ms` say: the word before, if any, and the time in seconds.

    None when the text says nothing of bounces. Raises ValueError when its time is none.
    """
    found = _BOUNCES.fullmatch(text)
    if found is None:
        return None
    over_s = seconds(found[2])
    if over_s <= 0:
        raise ValueError(f"{found[2]} is no time at all")
    return found[1], over_s
