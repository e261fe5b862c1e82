"""What clients send: JSON or YAML, read with the limits that files have."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import Request

from bridge.manager.problems import Refusal

MAX_DEPTH: Final = 64
"""As deep as YAML files may be (bridge/config)."""
_JSON: Final = ("", "application/json", "application/merge-patch+json")
_YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")


def content_type(request: Request) -> str:
    """The media type of the body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Refuses: 415 for another type, 400 for what is no JSON, 422 for no object."""
    if content_type(request) not in _JSON:
        raise Refusal(415, "send JSON, as application/json", headers={"Accept": "application/json"})
    try:
        found = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refusal(422, "the body must be a JSON object")
    _refuse_depth(found)
    return found


def sends_yaml(request: Request) -> bool:
    """Whether the body is said to be YAML."""
    return content_type(request) in _YAML


async def read_yaml(request: Request) -> str:
    """The body as YAML text; JSON is YAML too. Refuses: 415 for another type, 400 for what is no UTF-8."""
    if not sends_yaml(request) and content_type(request) not in _JSON:
        raise Refusal(415, "send YAML, as application/yaml", headers={"Accept": "application/yaml"})
    try:
        return (await request.body()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch applied (RFC 7396, 2)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def _refuse_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise Refusal(422, f"the body is nested deeper than {MAX_DEPTH} levels")
