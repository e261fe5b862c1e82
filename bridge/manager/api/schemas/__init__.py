"""What the OpenAPI document says of bodies: which a path takes, and which answers it may give.

The schemas stand beside, by groups of paths.
"""

from __future__ import annotations

from typing import Any, Final

from bridge.manager.api.schemas import cluster, decisions, functions, mappings, nodes
from bridge.manager.api.schemas.parts import TEXT, record, ref
from bridge.manager.problems import MEDIA_TYPE

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
COMPONENTS: Final[dict[str, Any]] = {
    "Problem": record(
        {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT, "request_id": TEXT},
        {
            "errors": {
                "type": "array",
                "items": record(
                    {"detail": TEXT},
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
    **mappings.SCHEMAS,
    **cluster.SCHEMAS,
    **functions.SCHEMAS,
    **nodes.SCHEMAS,
    **decisions.SCHEMAS,
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
        found[success]["content"] = {"application/json": {"schema": ref(schema)}}
    for status in sorted(statuses):
        found[status] = {"description": _SAID[status]}
        if status >= 400:
            found[status]["content"] = {MEDIA_TYPE: {"schema": ref("Problem")}}
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
            "content": {kind: {"schema": ref(schema)} for kind, schema in schemas},
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
