"""What schemas are made of."""

from __future__ import annotations

from typing import Any, Final

from bridge.config import NAME as _NAME

NAME: Final = {"type": "string", "pattern": f"^{_NAME.regex}$"}
TEXT: Final = {"type": "string"}
VALUE: Final[dict[str, Any]] = {"type": ["boolean", "number", "string", "null"]}
MAYBE: Final[dict[str, Any]] = {"type": ["string", "null"]}
COUNT: Final = {"type": "integer", "minimum": 0}
TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
NAMES: Final = {"type": "array", "items": TEXT}


def ref(schema: str) -> dict[str, Any]:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{schema}"}


def record(required: dict[str, Any], optional: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """An object with these properties."""
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": [*required], **more}


def page(name: str, schema: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """A page of a list."""
    listed = {"type": "array", "items": ref(schema)}
    return record({name: listed, **(more or {}), "total": COUNT, "limit": COUNT, "offset": COUNT})
