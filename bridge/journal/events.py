"""Events as the journal keeps them: their attributes as JSON, and beside it what arrived, byte for byte."""

from __future__ import annotations

from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from bridge.core.event import Event, rfc3339

_ATTRIBUTES: Final = (
    *("id", "source", "type", "topic", "subject", "epoch", "sequence", "timesynced"),
    *("site", "node", "sensor", "kind", "name"),
)
_values: Final = attrgetter(*_ATTRIBUTES)


def attributes_of(event: Event) -> dict[str, Any]:
    """The event without its body."""
    attributes: dict[str, Any] = dict(zip(_ATTRIBUTES, _values(event), strict=True))
    attributes["time"] = rfc3339(event.time)
    attributes["data"] = event.data
    return attributes


def event_of(attributes: dict[str, Any], body: bytes) -> Event:
    """The event that `attributes_of` told of."""
    return Event(**{**attributes, "time": datetime.fromisoformat(attributes["time"])}, body=body)
