"""Schemas of what is said of decisions, stories, dead letters and changes."""

from __future__ import annotations

from typing import Any, Final

from bridge.core.story import OUTCOMES
from bridge.manager.api.schemas.parts import COUNT, MAYBE, TEXT, page, record, ref

_STORY: Final[dict[str, Any]] = {
    "event_id": "01M82H1EZBNXHNVDENNKK81R47",
    "at": "2026-11-22T17:30:00.124456Z",
    "time": "2026-11-22T17:30:00.123456Z",
    "node": "pi-1",
    "sensor": "front-door",
    "event": "motion.detected",
    "value": True,
    "unit": None,
    "topic": None,
    "invocations": [
        {
            "mapping": "night-intruder",
            "function": "intruder-alert",
            "result": "succeeded",
            "attempts": 1,
            "to_start_s": 0.0004,
            "attempt_s": 0.012,
            "to_end_s": 0.0131,
        }
    ],
}
SCHEMAS: Final[dict[str, Any]] = {
    "DeadLetter": record(
        {"number": {"type": "integer", "minimum": 1}, "id": TEXT, "at": TEXT, "reason": TEXT},
        {
            "event_id": MAYBE,
            "topic": MAYBE,
            "mapping": MAYBE,
            "function": MAYBE,
            "status": {"type": ["integer", "null"]},
            "body": {**MAYBE, "description": "What the function answered."},
            "attempts": {"type": ["integer", "null"]},
            "replayable": {"type": "boolean"},
            "event": {"description": "The event, or what arrived in its place."},
        },
    ),
    "DeadLetters": page("dead_letters", "DeadLetter"),
    "Replay": record(
        {},
        {
            "numbers": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 2**53},
                "maxItems": 1000,
            },
            "mapping": TEXT,
            "function": TEXT,
            "older_than": {**TEXT, "description": "Such as 2d."},
            "all": {"type": "boolean"},
        },
        additionalProperties=False,
        description="Those of which all of this is so; without anything, only with `all`.",
        example={"mapping": "night-intruder", "older_than": "1h"},
    ),
    "Replayed": record(
        {
            "replayed": COUNT,
            "refused": {
                "type": "array",
                "items": record({"number": {"type": "integer"}, "reason": TEXT}),
            },
            "left": {**COUNT, "description": "So many more are meant; ask again."},
        }
    ),
    "Purged": record({"purged": COUNT}),
    "Decisions": record(
        {
            "decisions": {"type": "array", "items": ref("Decision")},
            "last_id": {**TEXT, "description": "Where `Last-Event-ID` goes on from."},
            "problem": {**MAYBE, "description": "Why the dispatcher is not heard now, if so."},
        }
    ),
    "Decision": record(
        {"type": TEXT},
        {"id": TEXT, "at": TEXT, "event_id": MAYBE, "node": MAYBE, "sensor": MAYBE, "event": MAYBE},
        description="A line of the dispatcher's feed, with more by its type; `gap` and `missed` say what is not there.",
        example={
            "id": "01M82H1EZBNXHNVDENNKK81R47-17",
            "type": "judgement",
            "at": "2026-11-22T17:30:00.125000Z",
            "event_id": "01M82H1EZBNXHNVDENNKK81R47",
            "node": "pi-1",
            "sensor": "front-door",
            "event": "motion.detected",
            "mapping": "night-intruder",
            "result": "fires",
            "text": "",
        },
    ),
    "Story": record(
        {
            "event_id": TEXT,
            "at": {**TEXT, "description": "When the dispatcher received it."},
            "time": {**MAYBE, "description": "When it happened."},
            "node": MAYBE,
            "sensor": MAYBE,
            "event": MAYBE,
            "value": {},
            "unit": MAYBE,
            "topic": {**MAYBE, "description": "Where it came from, if it is no sensor's."},
            "invocations": {"type": "array", "items": ref("Hop")},
        },
        description="An event, and what became of it.",
        example=_STORY,
    ),
    "Hop": record(
        {
            "mapping": TEXT,
            "function": TEXT,
            "result": {"enum": [one for one in OUTCOMES if one != "none"]},
            "attempts": COUNT,
            "to_start_s": {"type": ["number", "null"]},
            "attempt_s": {"type": ["number", "null"], "description": "How long the last attempt took."},
            "to_end_s": {"type": ["number", "null"]},
        }
    ),
    "Traces": record(
        {
            "traces": {"type": "array", "items": ref("Story")},
            "limit": COUNT,
            "next": {**MAYBE, "description": "What to give as `after` for the next page, if there is one."},
        }
    ),
    "Trace": record(
        {
            "event_id": TEXT,
            "story": {"type": "array", "items": {"type": "object"}, "description": "The decisions, in order."},
            "latency": {"type": "object", "description": "What each hop took, in seconds."},
        }
    ),
    "Audit": record(
        {
            "total": COUNT,
            "entries": {
                "type": "array",
                "items": record(
                    {
                        "number": COUNT,
                        "at": TEXT,
                        "who": TEXT,
                        "what": TEXT,
                        "target": TEXT,
                        "status": {"type": "integer"},
                        "revision": {"type": ["integer", "null"]},
                        "address": TEXT,
                        "request_id": TEXT,
                    }
                ),
            },
        }
    ),
}
