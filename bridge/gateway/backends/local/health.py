"""Asks replicas for their health, so that one that hangs or has run out of threads does not take calls for ever."""

from __future__ import annotations

import asyncio

_TIMEOUT_S = 2.0


async def ask(port: int) -> str | None:
    """What the function server at a loopback port complains about; None when it is well.

    Raises TimeoutError when it takes the connection or not, but says nothing.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /_/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answer = await reader.read(4096)
            finally:
                writer.close()
    except TimeoutError:
        raise
    except OSError as error:
        return f"it takes no connection: {error}"
    status = answer.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return None
    return answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip() or "its health check failed"
