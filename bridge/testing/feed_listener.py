"""A listener at a dispatcher's feed: hears over HTTP what the dispatcher decides, again after every break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import httpx
import orjson

from bridge.clock import Clock

AGAIN_S: Final = 5.0
CONNECT_S: Final = 5.0


class FeedListener:
    """Hears every line that is told from when it is connected on, and so many of the `last` ones before.

    `heard` is called for each line, `gap` with the reason whenever a connection breaks or cannot be made again; what
    either raises ends `run`.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        heard: Callable[[dict[str, Any]], None],
        gap: Callable[[str], None],
        again_s: float = AGAIN_S,
        last: int = 0,
    ) -> None:
        self.url = url
        self.connected = False
        """Whether it has ever heard."""
        self.tried = asyncio.Event()
        """Set once the first attempt has led somewhere, or nowhere."""
        self.problem = ""
        """Why it does not hear now."""
        self._clock = clock
        self._heard = heard
        self._gap = gap
        self._again_s = again_s
        self._last = last

    async def run(self) -> None:
        """Listen until cancelled."""
        # Nothing may be decided for hours: only connecting has a limit.
        async with httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S), trust_env=False) as client:
            while True:
                self.problem = await self._listen(client)
                self.tried.set()
                if self.connected:
                    self._gap(self.problem)
                await self._clock.sleep(self._again_s)

    async def _listen(self, client: httpx.AsyncClient) -> str:
        """Hear one connection to its end; why it ended."""
        try:
            asked = {"follow": "1", "limit": str(self._last)}
            async with client.stream("GET", f"{self.url}/v1/events", params=asked) as answer:
                if not answer.is_success:
                    return f"{self.url} answers {answer.status_code}"
                self.connected = True
                self.tried.set()
                async for text in answer.aiter_lines():
                    if text:
                        self._heard(orjson.loads(text))
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return f"no dispatcher answers at {self.url} ({error})"
        except orjson.JSONDecodeError:
            return f"what answers at {self.url} is no dispatcher"
        return f"the dispatcher at {self.url} has ended the feed"
