"""One connection to a dispatcher's feed, heard to its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import httpx

from bridge.manager.trust import trusted

CONNECT_S: Final = 5.0
MAX_LINE_BYTES: Final = 1024 * 1024


async def listen(
    url: str, last: int, *, begun: Callable[[Sequence[bytes]], None], heard: Callable[[bytes], None]
) -> str:
    """Hear what the dispatcher at `url` decides; why that ended.

    `begun` gets so many of the `last` decisions, whole, and `heard` each one from then on: first the last ones once
    more, so that none is missed between the two.
    """
    # Nothing may be decided for hours: only connecting has a limit.
    limits = httpx.Timeout(None, connect=CONNECT_S)
    try:
        async with httpx.AsyncClient(timeout=limits, trust_env=False, verify=trusted()) as client:
            head = await client.get(f"{url}/v1/events", params={"limit": str(last)}, timeout=CONNECT_S)
            if not head.is_success:
                return f"{url} answers {head.status_code}"
            begun([text for text in head.content.split(b"\n") if text])
            asked = {"follow": "1", "limit": str(last)}
            async with client.stream("GET", f"{url}/v1/events", params=asked) as answer:
                if not answer.is_success:
                    return f"{url} answers {answer.status_code}"
                rest = b""
                async for piece in answer.aiter_bytes():
                    *texts, rest = (rest + piece).split(b"\n")
                    for text in texts:
                        if text:
                            heard(text)
                    if len(rest) > MAX_LINE_BYTES:
                        return f"what answers at {url} is no dispatcher: a line has no end"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"no dispatcher answers at {url} ({error or type(error).__name__})"
    except ValueError:
        return f"what answers at {url} is no dispatcher"
    return f"the dispatcher at {url} has ended the feed"
