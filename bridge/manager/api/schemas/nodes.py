"""Schemas of what is said of nodes, their sensors and what these told, and of whom Prometheus asks."""

from __future__ import annotations

from typing import Any, Final

from bridge.manager.api.schemas.parts import COUNT, MAYBE, NAME, NAMES, TEXT, VALUE, page, record, ref

_NODE: Final[dict[str, Any]] = {
    "name": "pi-1",
    "state": "online",
    "since": "2026-11-22T17:30:00.123456Z",
    "backlog": 0,
    "session": "01M82H1EZBNXHNVDENNKK81R47",
    "started": "2026-11-22T17:29:59.000000Z",
    "told_at": "2026-11-22T17:30:00.123456Z",
    "software": "0.1.0",
    "python": "3.13.5",
    "board": "Raspberry Pi 5 Model B",
    "pin_factory": "lgpio",
    "configuration": "3f1c2a9d",
    "sensors": ["attic"],
    "outputs": {"lamp": "led"},
    "metrics": {"target": "192.168.1.12:8090", "problem": None},
}
_SENSOR: Final[dict[str, Any]] = {
    "name": "attic",
    "kind": "thermometer",
    "value": 21.5,
    "unit": "Cel",
    "event": "temperature.changed",
    "level": "temperature.normal",
    "since": "2026-11-22T17:30:00.123456Z",
    "health": "ok",
    "reason": None,
    "told_at": "2026-11-22T17:30:00.123456Z",
    "age_s": 4.2,
}
_HISTORY: Final[dict[str, Any]] = {
    "node": "pi-1",
    "sensor": "attic",
    "unit": "Cel",
    "shows": "numbers",
    "from": "2026-11-22T17:30:00.000000Z",
    "to": "2026-11-22T17:35:00.000000Z",
    "step_s": 300.0,
    "events": 2,
    "buckets": [
        {
            "at": "2026-11-22T17:30:00.000000Z",
            "events": 2,
            "last": 21.5,
            "count": 2,
            "min": 21.0,
            "max": 21.5,
            "mean": 21.25,
        }
    ],
}
_POINT: Final[dict[str, Any]] = {
    "at": "2026-11-22T17:30:00.123456Z",
    "event_id": "01M82H1EZBNXHNVDENNKK81R47",
    "event": "temperature.changed",
    "value": 21.5,
    "received": False,
    "initial": False,
}
SCHEMAS: Final[dict[str, Any]] = {
    "Node": record(
        {
            "name": NAME,
            "state": {"enum": ["online", "offline", "unknown"]},
            "since": {**MAYBE, "description": "It is so at least since then; null where nobody knows."},
            "backlog": {"type": ["integer", "null"], "minimum": 0, "description": "Events not confirmed yet."},
            "session": MAYBE,
            "started": MAYBE,
            "told_at": MAYBE,
            "software": {**MAYBE, "description": "The agent's version."},
            "python": MAYBE,
            "board": MAYBE,
            "pin_factory": MAYBE,
            "configuration": {**MAYBE, "description": "A hash of the agent's settings."},
            "sensors": NAMES,
            "outputs": {"type": "object", "description": "Their kinds.", "additionalProperties": MAYBE},
            "metrics": record(
                {"target": MAYBE, "problem": MAYBE},
                description="Where Prometheus finds the agent's metrics, or why it does not.",
            ),
        },
        example=_NODE,
    ),
    "Nodes": page("nodes", "Node"),
    "Targets": {
        "type": "array",
        "items": record(
            {"targets": NAMES, "labels": {"type": "object", "additionalProperties": TEXT}},
            description="A target group of Prometheus: `program`, `instance`, `site`, and `node` or `role`.",
        ),
        "example": [
            {
                "targets": ["192.168.1.12:8090"],
                "labels": {"program": "agent", "instance": "pi-1", "site": "home", "node": "pi-1"},
            }
        ],
    },
    "Sensor": record(
        {
            "name": NAME,
            "kind": MAYBE,
            "value": VALUE,
            "unit": MAYBE,
            "event": MAYBE,
            "level": MAYBE,
            "since": {**MAYBE, "description": "Since when it shows this."},
            "health": {**TEXT, "description": "warming_up, ok, suspect, fault or stale."},
            "reason": MAYBE,
            "told_at": MAYBE,
            "age_s": {"type": ["number", "null"], "minimum": 0, "description": "How long ago that was told."},
        },
        example=_SENSOR,
    ),
    "Sensors": page("sensors", "Sensor", {"node": NAME, "state": TEXT}),
    "SensorHistory": record(
        {
            "node": NAME,
            "sensor": NAME,
            "unit": MAYBE,
            "shows": {
                "enum": ["numbers", "states", "nothing"],
                "description": "What the sensor told in this time: numbers have min, max and mean, states have times.",
            },
            "from": {**TEXT, "description": "Buckets begin at multiples of the step."},
            "to": TEXT,
            "step_s": {"type": "number"},
            "events": COUNT,
            "buckets": {"type": "array", "items": ref("Bucket")},
        },
        example=_HISTORY,
    ),
    "Bucket": record(
        {
            "at": {**TEXT, "description": "When it begins."},
            "events": COUNT,
            "last": {**VALUE, "description": "What the sensor showed at its end, also when it was told before."},
        },
        {
            "count": {**COUNT, "description": "How many numbers there are in it."},
            "min": {"type": ["number", "null"]},
            "max": {"type": ["number", "null"]},
            "mean": {"type": ["number", "null"]},
            "changes": {**COUNT, "description": "How often the state became another one."},
            "states_s": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "How long each state lasted in it.",
            },
            "unknown_s": {"type": "number", "description": "How long nobody knows the state."},
        },
    ),
    "Point": record(
        {
            "at": TEXT,
            "event_id": TEXT,
            "event": TEXT,
            "value": VALUE,
            "received": {
                "type": "boolean",
                "description": "Whether `at` is when it was received, as its node did not know the time.",
            },
            "initial": {"type": "boolean", "description": "Whether it was found at start."},
        },
        example=_POINT,
    ),
    "Points": record(
        {
            "node": NAME,
            "sensor": NAME,
            "unit": MAYBE,
            "points": {"type": "array", "items": ref("Point")},
            "total": {**COUNT, "description": "In the whole time that was asked for."},
            "limit": COUNT,
            "next": {**MAYBE, "description": "What to give as `after` for the next page, if there is one."},
        }
    ),
}
