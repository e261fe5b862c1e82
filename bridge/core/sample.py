"""A sample: an event as somebody gives it to be judged, and not as a device sent it.

What may not live here: judging it (plan.py).
"""

from __future__ import annotations

from datetime import datetime

import orjson

from bridge.core.event import Event, parse_any
from bridge.core.topics import Topics
from bridge.errors import EventError


def read_event(payload: bytes, topics: Topics, received_at: datetime) -> Event:
    """The event in a request: {"topic", "payload"} as a device would publish it, or an event's own JSON.

    Raises EventError.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise EventError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise EventError("the body is not a JSON object")
    if "specversion" in document:
        data = document.get("data")
        names = [data.get(name) for name in ("site", "node", "sensor")] if isinstance(data, dict) else []
        if len(names) == 3 and all(isinstance(name, str) for name in names):
            own = topics.event(*[str(name) for name in names])
            return parse_any(payload, topics.parse(own) or own, id="explained", received_at=received_at)
        missing = [name for name in ("id", "source", "type") if not isinstance(document.get(name), str)]
        if missing:
            raise EventError(f"this is no CloudEvent: it has no {', '.join(missing)}, which must be text")
        return parse_any(payload, "explained", id="explained", received_at=received_at)
    topic = document.get("topic")
    if not isinstance(topic, str) or "payload" not in document:
        raise EventError('give a CloudEvent, or {"topic": ..., "payload": ...}')
    content = document["payload"]
    raw = content.encode() if isinstance(content, str) else orjson.dumps(content)
    return parse_any(raw, topics.parse(topic) or topic, id="explained", received_at=received_at)
