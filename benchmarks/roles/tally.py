"""The tally: which events a row of HTTP requests told; how many distinct, repeated, before an earlier one's.

It reads the event from the request's body, so it judges every program alike, whatever headers a program sends. Memory
grows with what is missing, not with what came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIME = re.compile(rb'"time":"([^"]+)"')
_FOREIGN = re.compile(rb'"device":"(\d+)","number":(\d+)')
_SOURCE = re.compile(rb'"source":"([^"]+)"')
_SEQUENCE = re.compile(rb'"sequence":"(\d+)"')


@dataclass(slots=True)
class _Lane:
    """One sensor, or one foreign topic: the numbers from `first` to `highest` came, but those of `gaps`."""

    first: int
    highest: int
    gaps: set[int] = field(default_factory=set)


class Tally:
    """Counts events by sensor (or foreign topic) and number. Numbers of a sensor follow each other."""

    def __init__(self) -> None:
        self.distinct = 0
        self.repeated = 0
        self.out_of_order = 0
        self.unnamed = 0
        self._lanes: dict[bytes, _Lane] = {}

    def add(self, request: bytes) -> None:
        """One request that came."""
        named = _event(request)
        if named is None:
            self.unnamed += 1
            return
        place, number = named
        lane = self._lanes.get(place)
        if lane is None:
            self._lanes[place] = _Lane(number, number)
        elif number > lane.highest:
            lane.gaps.update(range(lane.highest + 1, number))
            lane.highest = number
        elif number < lane.first:
            lane.gaps.update(range(number + 1, lane.first))
            lane.first = number
            self.out_of_order += 1
        elif number in lane.gaps:
            lane.gaps.remove(number)
            self.out_of_order += 1
        else:
            self.repeated += 1
            return
        self.distinct += 1


def latency_s(at_ns: int, request: bytes) -> float | None:
    """From the event's own time to the request, in seconds; None when the request tells no time."""
    found = _TIME.search(request)
    return None if found is None else at_ns / 1e9 - datetime.fromisoformat(found[1].decode()).timestamp()


def _event(request: bytes) -> tuple[bytes, int] | None:
    foreign = _FOREIGN.search(request)  # first: around a foreign message the dispatcher puts an event with a source
    if foreign is not None:
        return foreign[1], int(foreign[2])
    source, sequence = _SOURCE.search(request), _SEQUENCE.search(request)
    return None if source is None or sequence is None else (source[1], int(sequence[1]))
