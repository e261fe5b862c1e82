"""What the handlers of the dispatcher's HTTP API share: JSON answers and whole numbers in queries."""

from __future__ import annotations

import orjson

from bridge.dispatcher.routes import Asked
from bridge.runtime.http import Response

LIMIT = 1000
"""The most that one answer lists."""


def json_answer(value: object) -> Response:
    """A JSON answer with a line's end, so that it reads well in a terminal."""
    body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    return Response(200, body, (("Content-Type", "application/json"),))


def whole_number(asked: Asked, name: str, default: int, *, most: int = LIMIT) -> int:
    """A number of the query. Raises ValueError naming it when it is none."""
    text = asked.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise ValueError(f"{name} must be a whole number from 0 to {most}, not {text!r}")
    return int(text)
