"""The confirm document: how far the dispatcher has finished or stored what a node sent (PROTOCOL.md, rule 2).

    {"version": 1, "confirmed": {"front-door": {"epoch": "k3v9w0ab", "sequence": 42}}}

Per sensor the highest sequence up to which nothing is missing, in the epoch it counts in. Published on the node's
`.../confirm`; said twice it changes nothing. What may not live here: deciding what is confirmed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from bridge.core.event import MAX_BYTES
from bridge.errors import EventError

VERSION: Final = 1


class Confirmed(NamedTuple):
    """Everything of a sensor up to `sequence` in `epoch` is finished or stored; 0 is nothing yet."""

    epoch: str
    sequence: int


def encode(confirmed: Mapping[str, Confirmed]) -> bytes:
    """The document for one node: its sensors and how far each is confirmed."""
    return orjson.dumps(
        {
            "version": VERSION,
            "confirmed": {
                sensor: {"epoch": epoch, "sequence": sequence} for sensor, (epoch, sequence) in confirmed.items()
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
    if not isinstance(epoch, str) or not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 0:
        raise EventError(f"the confirm document's entry for {sensor!r} needs an epoch and a sequence")
    return Confirmed(epoch, sequence)
