"""Answers that come line by line, one JSON object a line, and may have no end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

NDJSON: Final = "application/x-ndjson"


class Lines(StreamingResponse):
    """Lines whose origin ends with the answer, however that ends."""

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(lines, media_type=NDJSON)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            body: Any = self.body_iterator
            await body.aclose()
