"""The confirm document: how far the dispatcher has finished or stored what a node sent (PROTOCOL.md, rule 2).

    {"version": 1, "confirmed": {"front-door": {"epoch": "k3v9w0ab", "sequence": 42, "runs": [[1, 42], [45, 46]]}}}

Per sensor the highest sequence up to which nothing is missing, in the epoch it counts in, and everything that is
confirmed as runs. The runs matter where a dispatcher has lost its disk: it then knows nothing of the beginning, and
must not be taken to confirm it. Published on the node's `.../confirm`; said twice it changes nothing.
What may not live here: deciding what is confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from bridge.core.event import MAX_BYTES
from bridge.errors import EventError

VERSION: Final = 1
RUNS: Final = 32
"""At most so many runs are told of one sensor; the others follow when these have closed."""


class Confirmed(NamedTuple):
    """What of a sensor is finished or stored in `epoch`: all of `runs`, each (first, last), the lowest first.

    Without runs it is all up to `sequence`; 0 is nothing yet.
    """

    epoch: str
    sequence: int
    runs: tuple[tuple[int, int], ...] = ()

    @property
    def highest(self) -> int:
        """The highest sequence that is known to who said it."""
        return self.runs[-1][1] if self.runs else self.sequence

    def through(self, known: int) -> int:
        """Up to where all is confirmed, when that is so up to `known` already; never less than `known`."""
        if not self.runs:
            return max(known, self.sequence)
        return max([known, *(last for first, last in self.runs if first <= known + 1)])


def encode(confirmed: Mapping[str, Confirmed]) -> bytes:
    """The document for one node: its sensors and how far each is confirmed."""
    return orjson.dumps(
        {
            "version": VERSION,
            "confirmed": {
                sensor: {"epoch": one.epoch, "sequence": one.sequence} | ({"runs": one.runs[:RUNS]} if one.runs else {})
                for sensor, one in confirmed.items()
            },
        }
    )


def parse(payload: bytes) -> dict[str, Confirmed]:
    """What a confirm document says, by sensor; fields that are not known are ignored.

    Raises EventError when it is none, or of another version.
    """
    if len(payload) > MAX_BYTES * 16:
        raise EventError(f"the confirm document has {len(payload)} bytes")
    try:
        document: Any = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise EventError("the confirm document is no JSON") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise EventError(f"the confirm document is not of version {VERSION}")
    entries = document.get("confirmed")
    if not isinstance(entries, dict):
        raise EventError("the confirm document has no map `confirmed`")
    return {sensor: _entry(sensor, entry) for sensor, entry in entries.items()}


def _entry(sensor: str, entry: Any) -> Confirmed:
    epoch, sequence = (entry.get("epoch"), entry.get("sequence")) if isinstance(entry, dict) else (None, None)
    if not isinstance(epoch, str) or not isinstance(sequence, int) or not _count(sequence):
        raise EventError(f"the confirm document's entry for {sensor!r} needs an epoch and a sequence")
    runs = entry.get("runs", [])
    if not isinstance(runs, list) or not all(isinstance(run, list) and len(run) == 2 for run in runs):
        raise EventError(f"the confirm document's runs for {sensor!r} are no list of pairs")
    if not all(_count(first) and _count(last) and first <= last for first, last in runs):
        raise EventError(f"the confirm document's runs for {sensor!r} are not of a first and a last sequence")
    return Confirmed(epoch, sequence, tuple(sorted((first, last) for first, last in runs)))


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
