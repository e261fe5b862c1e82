"""What the handlers of the dispatcher's HTTP API share: JSON answers and whole numbers in queries."""

from __future__ import annotations

import orjson
from aiohttp import web

LIMIT = 1000
"""The most that one answer lists."""


def json_answer(value: object) -> web.Response:
    """A JSON answer with a line's end, so that it reads well in a terminal."""
    return web.Response(body=orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE), content_type="application/json")


def whole_number(request: web.Request, name: str, default: int, *, most: int = LIMIT) -> int:
    """A number of the query. Raises ValueError naming it when it is none."""
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or int(text) > most:
        raise ValueError(f"{name} must be a whole number from 0 to {most}, not {text!r}")
    return int(text)
