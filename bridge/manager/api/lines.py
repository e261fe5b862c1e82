"""Answers that come line by line, one JSON object a line, and may have no end.

One ends with its origin, with its client, or when the client's token is revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from bridge.clock import Clock
from bridge.manager.api.staying import REVOKED, STALL_S, STANDING_S, revoked, until_first
from bridge.manager.door import ONLY_HEAD

NDJSON: Final = "application/x-ndjson"


class Lines(StreamingResponse):
    """Lines whose origin ends with the answer, however that ends. `stands` says whether the client's token does."""

    def __init__(self, lines: AsyncGenerator[bytes, None], stands: Callable[[], bool], clock: Clock) -> None:
        super().__init__(lines, media_type=NDJSON)
        self._stands = stands
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = ended = False

        async def noted(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            if scope.get(ONLY_HEAD):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await send({"type": "http.response.body"})
                return
            await until_first(super().__call__(scope, receive, noted), revoked(self._stands, STANDING_S, self._clock))
            if begun and not ended and not self._stands():
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": orjson.dumps({"error": REVOKED}) + b"\n"})
        except TimeoutError:
            return  # the client takes nothing any more: the server cuts the connection off
        finally:
            body: Any = self.body_iterator
            await body.aclose()
