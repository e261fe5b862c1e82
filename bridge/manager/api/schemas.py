"""What the OpenAPI document says of bodies: schemas with examples, and which answers a path may give."""

from __future__ import annotations

from typing import Any, Final

from bridge.core.story import OUTCOMES
from bridge.manager.problems import MEDIA_TYPE

_NAME: Final = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,62}$"}
_SELECT: Final = {
    "description": "A selector by its names (globs), or `topic` for any MQTT device; or a list of such.",
    "oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}, "minItems": 1}],
}
EXAMPLE: Final[dict[str, Any]] = {
    "name": "night-intruder",
    "select": {"sensor": "front-door", "event": "motion.detected"},
    "hours": "22:00-06:00",
    "cooldown": "30s",
    "invoke": {"function": "intruder-alert", "timeout": "10s"},
}
EXAMPLE_FILE: Final = """version: 1
mappings:
  night-intruder:
    select: {sensor: front-door, event: motion.detected}
    invoke: intruder-alert
"""
EXAMPLE_STACK: Final = """services:
  broker:
    image: eclipse-mosquitto:2
    volumes: [data:/mosquitto/data]
volumes:
  data: {}
"""
EXAMPLE_FUNCTIONS: Final = """version: 1.0
provider:
  name: openfaas
functions:
  intruder-alert:
    image: registry.local:5000/intruder-alert:1
    labels:
      com.openfaas.scale.max: "3"
"""
EXAMPLE_NODE: Final[dict[str, Any]] = {
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
EXAMPLE_SENSOR: Final[dict[str, Any]] = {
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
EXAMPLE_STORY: Final[dict[str, Any]] = {
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
EXAMPLE_HISTORY: Final[dict[str, Any]] = {
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
EXAMPLE_POINT: Final[dict[str, Any]] = {
    "at": "2026-11-22T17:30:00.123456Z",
    "event_id": "01M82H1EZBNXHNVDENNKK81R47",
    "event": "temperature.changed",
    "value": 21.5,
    "received": False,
    "initial": False,
}
_TEXT: Final = {"type": "string"}
_VALUE: Final[dict[str, Any]] = {"type": ["boolean", "number", "string", "null"]}
_MAYBE: Final[dict[str, Any]] = {"type": ["string", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_NAMES: Final = {"type": "array", "items": _TEXT}
_CHANGES: Final = {
    "type": "object",
    "properties": {"added": _NAMES, "changed": _NAMES, "removed": _NAMES},
    "required": ["added", "changed", "removed"],
}
_OR_MAP: Final = {"oneOf": [_TEXT, {"type": "object"}]}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": [*required], **more}


_CLUSTER_NODE: Final = _object(
    {
        "id": _TEXT,
        "name": _TEXT,
        "role": {"enum": ["worker", "manager"]},
        "leader": {"type": "boolean"},
        "reachable": {"type": "boolean", "description": "Of a manager: whether the other managers reach it."},
        "state": _TEXT,
        "availability": {"enum": ["active", "pause", "drain"]},
        "os": _TEXT,
        "architecture": _TEXT,
        "cpus": {"type": "number"},
        "memory_bytes": _COUNT,
        "engine": _TEXT,
        "address": _TEXT,
        "labels": {"type": "object", "additionalProperties": _TEXT},
        "tasks": {"type": "array", "items": _TEXT, "description": "A service's name for each task of it that runs."},
        "message": _TEXT,
    },
    description="A machine of the swarm.",
)

_FUNCTION: Final = _object(
    {
        "name": _TEXT,
        "image": _TEXT,
        "replicas": _COUNT,
        "available": _COUNT,
        "invocations": _COUNT,
        "created_at": _TEXT,
        "labels": {"type": "object"},
        "annotations": {"type": "object"},
        "problem": _TEXT,
    },
    description="A function as the gateway knows it; `replicas` are wanted, `available` can be called.",
)


_DEPLOYED_FUNCTION: Final = _object({"name": _TEXT, "outcome": {"enum": ["deployed", "updated"]}})


def _page(name: str, schema: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    listed = {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}
    return _object({name: listed, **(more or {}), "total": _COUNT, "limit": _COUNT, "offset": _COUNT})


COMPONENTS: Final[dict[str, Any]] = {
    "Problem": _object(
        {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "request_id": _TEXT},
        {
            "errors": {
                "type": "array",
                "items": _object(
                    {"detail": _TEXT},
                    {
                        "pointer": {"type": "string", "description": "A JSON pointer into what was sent."},
                        "line": {"type": "integer", "minimum": 1},
                        "column": {"type": "integer", "minimum": 1},
                    },
                ),
            }
        },
        description="RFC 9457.",
    ),
    "Mapping": _object(
        {"name": _NAME, "select": _SELECT, "invoke": _OR_MAP},
        {
            "when": {"type": "string", "description": "A CEL expression."},
            "hours": _OR_MAP,
            "for": _TEXT,
            "until": _SELECT,
            "on_fault": {"enum": ["cancel", "keep"]},
            "cooldown": _OR_MAP,
            "retry": {"type": "object"},
            "on_failure": _TEXT,
            "max_age": _TEXT,
            "backlog": {"enum": ["all", "latest"]},
            "order": {"enum": ["sensor", "none"]},
            "initial": {"enum": ["never", "changed", "always"]},
            "shadow": {"type": "boolean"},
            "enabled": {"type": "boolean"},
            "examples": {"type": "array"},
        },
        additionalProperties=False,
        description="A mapping as it stands in the mapping file, with its name.",
        example=EXAMPLE,
    ),
    "MappingBody": {
        "type": "object",
        "description": "A mapping; its name stands in the path, and may stand here too.",
        "example": {key: value for key, value in EXAMPLE.items() if key != "name"},
    },
    "MappingPatch": {
        "type": "object",
        "description": "What changes in a mapping (RFC 7396): null takes a key away.",
        "example": {"cooldown": "1m", "hours": None},
    },
    "Mappings": _object(
        {
            "mappings": {"type": "array", "items": {"$ref": "#/components/schemas/Mapping"}},
            "total": _COUNT,
            "limit": _COUNT,
            "offset": _COUNT,
            "version": {"type": "string", "description": "Of the mapping set in force: a hash of what it means."},
        }
    ),
    "Revision": _object(
        {
            "number": _COUNT,
            "at": _TEXT,
            "who": _TEXT,
            "what": _TEXT,
            "why": _TEXT,
            "version": _TEXT,
            "changes": _CHANGES,
            "diff": _TEXT,
        }
    ),
    "History": _object(
        {"revisions": {"type": "array", "items": {"$ref": "#/components/schemas/Revision"}}, "total": _COUNT}
    ),
    "Applied": _object({"revision": _COUNT, "version": _TEXT, "changes": _CHANGES, "mappings": _COUNT}),
    "Planned": _object({"changes": _CHANGES, "diff": _TEXT, "version": _TEXT, "etag": _TEXT}),
    "Valid": _object({"valid": {"const": True}, "mappings": _COUNT, "version": _TEXT, "changes": _CHANGES}),
    "Rollback": _object(
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
            "topic": _TEXT,
            "payload": {},
            "recorded": {"type": "object"},
            "event_id": _TEXT,
            "mapping": {"$ref": "#/components/schemas/Mapping"},
        },
        "additionalProperties": False,
        "example": {"topic": "zigbee2mqtt/door", "payload": {"contact": False}},
    },
    "Judgements": _object(
        {
            "event_id": _TEXT,
            "version": _TEXT,
            "judgements": {
                "type": "array",
                "items": _object({"mapping": _TEXT, "result": _TEXT, "text": _TEXT}),
            },
        }
    ),
    "Dispatchers": _object(
        {
            "version": {"type": "string", "description": "Of the mapping set in force here."},
            "dispatchers": {
                "type": "array",
                "items": _object(
                    {
                        "id": _TEXT,
                        "state": _TEXT,
                        "mappings": {"type": "object"},
                        "current": {"type": "boolean"},
                        "heard_at": _TEXT,
                    }
                ),
            },
        }
    ),
    "TopicAnnotations": _object(
        {
            "enabled": {"type": "boolean", "description": "Whether annotations count (a setting)."},
            "problem": {"type": ["string", "null"], "description": "Why they are not known now."},
            "functions": {
                "type": "array",
                "items": _object(
                    {
                        "function": _TEXT,
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
    "ClusterNode": _CLUSTER_NODE,
    "ClusterNodes": _object(
        {"nodes": {"type": "array", "items": {"$ref": "#/components/schemas/ClusterNode"}}, "warnings": _NAMES},
        description="`warnings` say what would stop the cluster, and what to do about it.",
    ),
    "ClusterNodePatch": _object(
        {},
        {"labels": {"type": "object", "additionalProperties": {"type": ["string", "null"]}}},
        additionalProperties=False,
        description="The labels to give; null takes one away.",
        example={"labels": {"disk": "ssd", "spare": None}},
    ),
    "Function": _FUNCTION,
    "Functions": _object({"functions": {"type": "array", "items": {"$ref": "#/components/schemas/Function"}}}),
    "FunctionDeployment": {
        "type": "object",
        "properties": {
            "service": {"type": "string", "description": "The function's name, as in the path."},
            "image": _TEXT,
            "envProcess": _TEXT,
            "envVars": _TEXTS,
            "labels": _TEXTS,
            "annotations": _TEXTS,
            "secrets": _NAMES,
            "constraints": _NAMES,
            "readOnlyRootFilesystem": {"type": "boolean"},
        },
        "description": "As OpenFaaS' gateway takes it; other keys of its are passed over.",
        "example": {"image": "registry.local:5000/intruder-alert:1", "envVars": {"LEVEL": "high"}},
    },
    "DeployedFunction": _DEPLOYED_FUNCTION,
    "DeployedFunctions": _object(
        {"functions": {"type": "array", "items": {"$ref": "#/components/schemas/DeployedFunction"}}}
    ),
    "Secrets": _object({"secrets": _NAMES}, description="Their names; values are never shown."),
    "Secret": _object({"name": _TEXT}),
    "SecretValue": {
        "oneOf": [
            _object({"value": {"type": "string", "minLength": 1}}, additionalProperties=False),
            _object(
                {"value_base64": {"type": "string", "minLength": 1, "contentEncoding": "base64"}},
                additionalProperties=False,
            ),
        ],
        "example": {"value": "s3cret"},
    },
    "Scale": _object(
        {"replicas": {"type": "integer", "minimum": 0, "maximum": 10_000}},
        additionalProperties=False,
        example={"replicas": 2},
    ),
    "Invoked": _object(
        {"status": {"type": "integer"}, "content_type": _TEXT, "duration_s": {"type": "number"}},
        {"body": _TEXT, "body_base64": _TEXT},
        description="What the function answered; `body_base64` where that is no text.",
    ),
    "Stacks": _object(
        {
            "stacks": {
                "type": "array",
                "items": _object({"name": _TEXT, "services": _COUNT, "well": {"type": "boolean"}}),
            }
        }
    ),
    "Stack": _object(
        {
            "name": _TEXT,
            "well": {"type": "boolean", "description": "Whether as many tasks run as are wanted."},
            "services": {
                "type": "array",
                "items": _object(
                    {
                        "name": _TEXT,
                        "image": _TEXT,
                        "mode": {"enum": ["replicated", "global"]},
                        "running": _COUNT,
                        "wanted": _COUNT,
                        "cluster_nodes": _NAMES,
                        "update": _TEXT,
                        "complaint": {"type": "string", "description": "Why not all of it runs; empty when it does."},
                    }
                ),
            },
        }
    ),
    "Deployment": _object(
        {
            "stack": _TEXT,
            "what": {"enum": ["deploy", "remove"]},
            "who": _TEXT,
            "state": {"enum": ["running", "succeeded", "failed"]},
            "begun_at": _TEXT,
            "ended_at": {"type": ["string", "null"]},
            "lines": {"type": "array", "items": _object({"at": _TEXT, "part": _TEXT, "text": _TEXT})},
            "errors": _NAMES,
        },
        description="`lines` say what became of each part; `errors` why it failed.",
    ),
    "RolledBack": _object({"services": {**_NAMES, "description": "Those that go back."}}),
    "JoinCommand": _object({"role": {"enum": ["worker", "manager"]}, "command": _TEXT}),
    "Node": _object(
        {
            "name": _NAME,
            "state": {"enum": ["online", "offline", "unknown"]},
            "since": {**_MAYBE, "description": "It is so at least since then; null where nobody knows."},
            "backlog": {"type": ["integer", "null"], "minimum": 0, "description": "Events not confirmed yet."},
            "session": _MAYBE,
            "started": _MAYBE,
            "told_at": _MAYBE,
            "software": {**_MAYBE, "description": "The agent's version."},
            "python": _MAYBE,
            "board": _MAYBE,
            "pin_factory": _MAYBE,
            "configuration": {**_MAYBE, "description": "A hash of the agent's settings."},
            "sensors": _NAMES,
            "outputs": {"type": "object", "description": "Their kinds.", "additionalProperties": _MAYBE},
            "metrics": _object(
                {"target": _MAYBE, "problem": _MAYBE},
                description="Where Prometheus finds the agent's metrics, or why it does not.",
            ),
        },
        example=EXAMPLE_NODE,
    ),
    "Nodes": _page("nodes", "Node"),
    "Targets": {
        "type": "array",
        "items": _object(
            {"targets": _NAMES, "labels": {"type": "object", "additionalProperties": _TEXT}},
            description="A target group of Prometheus: `program`, `instance`, `site`, and `node` or `role`.",
        ),
        "example": [
            {
                "targets": ["192.168.1.12:8090"],
                "labels": {"program": "agent", "instance": "pi-1", "site": "home", "node": "pi-1"},
            }
        ],
    },
    "Sensor": _object(
        {
            "name": _NAME,
            "kind": _MAYBE,
            "value": _VALUE,
            "unit": _MAYBE,
            "event": _MAYBE,
            "level": _MAYBE,
            "since": {**_MAYBE, "description": "Since when it shows this."},
            "health": {**_TEXT, "description": "warming_up, ok, suspect, fault or stale."},
            "reason": _MAYBE,
            "told_at": _MAYBE,
            "age_s": {"type": ["number", "null"], "minimum": 0, "description": "How long ago that was told."},
        },
        example=EXAMPLE_SENSOR,
    ),
    "Sensors": _page("sensors", "Sensor", {"node": _NAME, "state": _TEXT}),
    "SensorHistory": _object(
        {
            "node": _NAME,
            "sensor": _NAME,
            "unit": _MAYBE,
            "shows": {
                "enum": ["numbers", "states", "nothing"],
                "description": "What the sensor told in this time: numbers have min, max and mean, states have times.",
            },
            "from": {**_TEXT, "description": "Buckets begin at multiples of the step."},
            "to": _TEXT,
            "step_s": {"type": "number"},
            "events": _COUNT,
            "buckets": {"type": "array", "items": {"$ref": "#/components/schemas/Bucket"}},
        },
        example=EXAMPLE_HISTORY,
    ),
    "Bucket": _object(
        {
            "at": {**_TEXT, "description": "When it begins."},
            "events": _COUNT,
            "last": {**_VALUE, "description": "What the sensor showed at its end, also when it was told before."},
        },
        {
            "count": {**_COUNT, "description": "How many numbers there are in it."},
            "min": {"type": ["number", "null"]},
            "max": {"type": ["number", "null"]},
            "mean": {"type": ["number", "null"]},
            "changes": {**_COUNT, "description": "How often the state became another one."},
            "states_s": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "description": "How long each state lasted in it.",
            },
            "unknown_s": {"type": "number", "description": "How long nobody knows the state."},
        },
    ),
    "Point": _object(
        {
            "at": _TEXT,
            "event_id": _TEXT,
            "event": _TEXT,
            "value": _VALUE,
            "received": {
                "type": "boolean",
                "description": "Whether `at` is when it was received, as its node did not know the time.",
            },
            "initial": {"type": "boolean", "description": "Whether it was found at start."},
        },
        example=EXAMPLE_POINT,
    ),
    "Points": _object(
        {
            "node": _NAME,
            "sensor": _NAME,
            "unit": _MAYBE,
            "points": {"type": "array", "items": {"$ref": "#/components/schemas/Point"}},
            "total": {**_COUNT, "description": "In the whole time that was asked for."},
            "limit": _COUNT,
            "next": {**_MAYBE, "description": "What to give as `after` for the next page, if there is one."},
        }
    ),
    "DeadLetter": _object(
        {"number": {"type": "integer", "minimum": 1}, "id": _TEXT, "at": _TEXT, "reason": _TEXT},
        {
            "event_id": _MAYBE,
            "topic": _MAYBE,
            "mapping": _MAYBE,
            "function": _MAYBE,
            "status": {"type": ["integer", "null"]},
            "body": {**_MAYBE, "description": "What the function answered."},
            "attempts": {"type": ["integer", "null"]},
            "replayable": {"type": "boolean"},
            "event": {"description": "The event, or what arrived in its place."},
        },
    ),
    "DeadLetters": _page("dead_letters", "DeadLetter"),
    "Replay": _object(
        {},
        {
            "numbers": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 2**53},
                "maxItems": 1000,
            },
            "mapping": _TEXT,
            "function": _TEXT,
            "older_than": {**_TEXT, "description": "Such as 2d."},
            "all": {"type": "boolean"},
        },
        additionalProperties=False,
        description="Those of which all of this is so; without anything, only with `all`.",
        example={"mapping": "night-intruder", "older_than": "1h"},
    ),
    "Replayed": _object(
        {
            "replayed": _COUNT,
            "refused": {
                "type": "array",
                "items": _object({"number": {"type": "integer"}, "reason": _TEXT}),
            },
            "left": {**_COUNT, "description": "So many more are meant; ask again."},
        }
    ),
    "Purged": _object({"purged": _COUNT}),
    "Decisions": _object(
        {
            "decisions": {"type": "array", "items": {"$ref": "#/components/schemas/Decision"}},
            "last_id": {**_TEXT, "description": "Where `Last-Event-ID` goes on from."},
            "problem": {**_MAYBE, "description": "Why the dispatcher is not heard now, if so."},
        }
    ),
    "Decision": _object(
        {"type": _TEXT},
        {"id": _TEXT, "at": _TEXT, "event_id": _MAYBE, "node": _MAYBE, "sensor": _MAYBE, "event": _MAYBE},
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
    "Story": _object(
        {
            "event_id": _TEXT,
            "at": {**_TEXT, "description": "When the dispatcher received it."},
            "time": {**_MAYBE, "description": "When it happened."},
            "node": _MAYBE,
            "sensor": _MAYBE,
            "event": _MAYBE,
            "value": {},
            "unit": _MAYBE,
            "topic": {**_MAYBE, "description": "Where it came from, if it is no sensor's."},
            "invocations": {"type": "array", "items": {"$ref": "#/components/schemas/Hop"}},
        },
        description="An event, and what became of it.",
        example=EXAMPLE_STORY,
    ),
    "Hop": _object(
        {
            "mapping": _TEXT,
            "function": _TEXT,
            "result": {"enum": [one for one in OUTCOMES if one != "none"]},
            "attempts": _COUNT,
            "to_start_s": {"type": ["number", "null"]},
            "attempt_s": {"type": ["number", "null"], "description": "How long the last attempt took."},
            "to_end_s": {"type": ["number", "null"]},
        }
    ),
    "Traces": _object(
        {
            "traces": {"type": "array", "items": {"$ref": "#/components/schemas/Story"}},
            "limit": _COUNT,
            "next": {**_MAYBE, "description": "What to give as `after` for the next page, if there is one."},
        }
    ),
    "Trace": _object(
        {
            "event_id": _TEXT,
            "story": {"type": "array", "items": {"type": "object"}, "description": "The decisions, in order."},
            "latency": {"type": "object", "description": "What each hop took, in seconds."},
        }
    ),
    "Audit": _object(
        {
            "total": _COUNT,
            "entries": {
                "type": "array",
                "items": _object(
                    {
                        "number": _COUNT,
                        "at": _TEXT,
                        "who": _TEXT,
                        "what": _TEXT,
                        "target": _TEXT,
                        "status": {"type": "integer"},
                        "revision": {"type": ["integer", "null"]},
                        "address": _TEXT,
                        "request_id": _TEXT,
                    }
                ),
            },
        }
    ),
}

_SAID: Final = {
    304: "The client has it already.",
    400: "The body cannot be read.",
    401: "No token, or one that is not known.",
    403: "The token's role may not do this.",
    404: "There is no such thing.",
    409: "It is not possible as things are.",
    412: "It has changed since, or is (not) there against what the client believes.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "What was sent has mistakes; `errors` names each place.",
    426: "It is a WebSocket, and this was no request for one.",
    428: "If-Match is needed.",
    429: "Too many failed attempts; Retry-After says how long to wait.",
    502: "What answers in the dispatcher's place is none.",
    503: "The disk, or a program that was asked, does not answer; or none is configured.",
}
EVERYWHERE: Final = (401, 403, 429)
"""What every path under /api/v1 may answer."""
BODY: Final = (400, 413, 415, 422)
"""What paths may answer that take a body."""


def gives(schema: str | None, *statuses: int, success: int = 200) -> dict[int | str, dict[str, Any]]:
    """The answers of a path: one that succeeds, with this schema, and the problems."""
    found: dict[int | str, dict[str, Any]] = {success: {"description": "Done."}}
    if schema is not None:
        found[success]["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    for status in sorted(statuses):
        found[status] = {"description": _SAID[status]}
        if status >= 400:
            found[status]["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return found


def streams(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a path that tells what happens for as long as somebody listens."""
    found = gives(None, *statuses)
    found[200]["content"] = {
        "text/event-stream": {
            "schema": {"type": "string"},
            "example": 'id: 01M82H1EZBNXHNVDENNKK81R47-17\ndata: {"type":"event","node":"pi-1"}\n\n',
        }
    }
    return found


def sockets(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a path that is a WebSocket, of which the document's format knows nothing."""
    return gives(None, *statuses, success=101) | {
        101: {
            "description": "The connection is a WebSocket from now on. Each message is JSON:"
            ' `{"id": "01M8...-17", "data": {"type": "event", ...}}`, without `data` when nothing was new for a while.'
            " A browser's page offers the subprotocols `gpio-bridge` and `bearer.TOKEN`."
        }
    }


def takes(*schemas: tuple[str, str]) -> dict[str, Any]:
    """A path's body, by media type."""
    return {
        "requestBody": {
            "required": True,
            "content": {kind: {"schema": {"$ref": f"#/components/schemas/{schema}"}} for kind, schema in schemas},
        }
    }


def takes_yaml(example: str = EXAMPLE_FILE) -> dict[str, Any]:
    """A path's body that is a whole file."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/yaml": {"schema": {"type": "string"}, "example": example}},
        }
    }


def finished(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with our schemas in it."""
    document.setdefault("components", {}).setdefault("schemas", {}).update(COMPONENTS)
    return document
