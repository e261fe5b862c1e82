"""The tombstone: an event that stands for events an outbox had to drop (PROTOCOL.md, "Dropped").

It is a CloudEvent of the sensor whose `data.event` is `tombstone`, whose `data.value` counts the dropped events and
whose `data.dropped` names them: `{"first": 3, "last": 7, "reason": "events"}`, in the epoch of the tombstone. Its own
sequence is `last`, so that what was dropped and what arrived leave no gap. It never fires a mapping.
What may not live here: deciding what is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

import orjson

from bridge.core.event import Event, Observation, encode
from bridge.core.topics import SensorEventTopic
from bridge.errors import EventError

NAME: Final = "tombstone"
KIND: Final = "outbox"

Reason: TypeAlias = Literal["events", "bytes", "age"]
"""Which bound of the outbox dropped them."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The events of one sensor from `first` to `last`, both included, were dropped."""

    first: int
    last: int
    reason: str

    @property
    def count(self) -> int:
        return self.last - self.first + 1


def encode_tombstone(stone: Tombstone, *, at: SensorEventTopic, epoch: str, time: datetime, timesynced: bool) -> bytes:
    """The structured JSON of a tombstone; its id follows from what it stands for."""
    seen = Observation(
        kind=KIND, name=NAME, value=stone.count, unit=None, initial=False, time=time, timesynced=timesynced
    )
    identifier = f"{NAME}-{epoch}-{stone.first}-{stone.last}"
    document = orjson.loads(encode(seen, at=at, id=identifier, epoch=epoch, sequence=stone.last))
    document["data"]["dropped"] = {"first": stone.first, "last": stone.last, "reason": stone.reason}
    return orjson.dumps(document)


def parse_tombstone(event: Event) -> Tombstone | None:
    """What a tombstone says; None for every other event. Raises EventError when it contradicts itself."""
    if event.name != NAME:
        return None
    dropped = event.data.get("dropped")
    first, last = (dropped.get("first"), dropped.get("last")) if isinstance(dropped, dict) else (None, None)
    if not isinstance(first, int) or not isinstance(last, int) or not 1 <= first <= last or last != event.sequence:
        raise EventError(f"the tombstone {event.id!r} does not say which events it stands for")
    return Tombstone(first, last, str(dropped.get("reason", "")) if isinstance(dropped, dict) else "")
