"""Schemas of what is said of mappings, the mapping file, and what dispatchers run."""

from __future__ import annotations

from typing import Any, Final

from bridge.manager.api.schemas.parts import COUNT, NAME, NAMES, TEXT, record, ref

_SELECT: Final = {
    "description": "A selector by its names (globs), or `topic` for any MQTT device; or a list of such.",
    "oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}],
}
_CHANGES: Final = {
    "type": "object",
    "properties": {"added": NAMES, "changed": NAMES, "removed": NAMES},
    "required": ["added", "changed", "removed"],
}
_OR_MAP: Final = {"oneOf": [TEXT, {"type": "object"}]}
_MAPPING: Final[dict[str, Any]] = {
    "name": "night-intruder",
    "select": {"sensor": "front-door", "event": "motion.detected"},
    "hours": "22:00-06:00",
    "cooldown": "30s",
    "invoke": {"function": "intruder-alert", "timeout": "10s"},
}
SCHEMAS: Final[dict[str, Any]] = {
    "Mapping": record(
        {"name": NAME, "select": _SELECT, "invoke": _OR_MAP},
        {
            "when": {"type": "string", "description": "A CEL expression."},
            "hours": _OR_MAP,
            "for": TEXT,
            "until": _SELECT,
            "on_fault": {"enum": ["cancel", "keep"]},
            "cooldown": _OR_MAP,
            "retry": {"type": "object"},
            "on_failure": TEXT,
            "max_age": TEXT,
            "backlog": {"enum": ["all", "latest"]},
            "order": {"enum": ["sensor", "none"]},
            "initial": {"enum": ["never", "changed", "always"]},
            "shadow": {"type": "boolean"},
            "enabled": {"type": "boolean"},
            "examples": {"type": "array"},
        },
        additionalProperties=False,
        description="A mapping as it stands in the mapping file, with its name.",
        example=_MAPPING,
    ),
    "MappingBody": {
        "type": "object",
        "description": "A mapping; its name stands in the path, and may stand here too.",
        "example": {key: value for key, value in _MAPPING.items() if key != "name"},
    },
    "MappingPatch": {
        "type": "object",
        "description": "What changes in a mapping (RFC 7396): null takes a key away.",
        "example": {"cooldown": "1m", "hours": None},
    },
    "Mappings": record(
        {
            "mappings": {"type": "array", "items": ref("Mapping")},
            "total": COUNT,
            "limit": COUNT,
            "offset": COUNT,
            "version": {"type": "string", "description": "Of the mapping set in force: a hash of what it means."},
        }
    ),
    "Revision": record(
        {
            "number": COUNT,
            "at": TEXT,
            "who": TEXT,
            "what": TEXT,
            "why": TEXT,
            "version": TEXT,
            "changes": _CHANGES,
            "diff": TEXT,
        }
    ),
    "History": record({"revisions": {"type": "array", "items": ref("Revision")}, "total": COUNT}),
    "Applied": record({"revision": COUNT, "version": TEXT, "changes": _CHANGES, "mappings": COUNT}),
    "Planned": record({"changes": _CHANGES, "diff": TEXT, "version": TEXT, "etag": TEXT}),
    "Valid": record({"valid": {"const": True}, "mappings": COUNT, "version": TEXT, "changes": _CHANGES}),
    "Rollback": record(
        {"revision": {"type": "integer", "minimum": 1, "maximum": 2**53}},
        additionalProperties=False,
        example={"revision": 1},
    ),
    "DryRun": {
        "type": "object",
        "description": "An event: as `event` (a CloudEvent), as `topic` and `payload`, as `recorded` (a line that"
        " `gpio-bridge record` wrote), or as `event_id` (of one that the dispatcher still has the trace of). With"
        " `mapping`, a mapping that is not saved is asked, and else all that are in force.",
        "properties": {
            "event": {"type": "object"},
            "topic": TEXT,
            "payload": {},
            "recorded": {"type": "object"},
            "event_id": TEXT,
            "mapping": ref("Mapping"),
        },
        "additionalProperties": False,
        "example": {"topic": "zigbee2mqtt/door", "payload": {"contact": False}},
    },
    "Judgements": record(
        {
            "event_id": TEXT,
            "version": TEXT,
            "judgements": {
                "type": "array",
                "items": record({"mapping": TEXT, "result": TEXT, "text": TEXT}),
            },
        }
    ),
    "Dispatchers": record(
        {
            "version": {"type": "string", "description": "Of the mapping set in force here."},
            "dispatchers": {
                "type": "array",
                "items": record(
                    {
                        "id": TEXT,
                        "state": TEXT,
                        "mappings": {"type": "object"},
                        "current": {"type": "boolean"},
                        "heard_at": TEXT,
                    }
                ),
            },
        }
    ),
    "TopicAnnotations": record(
        {
            "enabled": {"type": "boolean", "description": "Whether annotations count (a setting)."},
            "problem": {"type": ["string", "null"], "description": "Why they are not known now."},
            "functions": {
                "type": "array",
                "items": record(
                    {
                        "function": TEXT,
                        "topic": {
                            "type": "string",
                            "description": "The annotation: topic filters with commas between.",
                        },
                        "problem": {"type": ["string", "null"]},
                        "mappings": {"type": "object", "additionalProperties": {"type": "object"}},
                    }
                ),
            },
        },
        description="What cannot be read now changes nothing: `mappings` are then what was good before.",
    ),
}
