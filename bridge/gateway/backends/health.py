"""Asks a replica for its health over HTTP, on a connection of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_CONNECT_S = 1.0
_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """What a replica answered at `/_/health`; status 0 for what is no HTTP."""

    status: int
    text: str


async def ask(host: str, port: int) -> Health:
    """The health of the function server at an address.

    Raises OSError when it takes no connection, and TimeoutError when it takes one and says nothing: that alone is no
    proof, since a handler that computes on its loop answers nobody until it is done.
    """
    try:
        async with asyncio.timeout(_CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise ConnectionError(f"nobody takes a connection within {_CONNECT_S:g} s") from None
    try:
        async with asyncio.timeout(_ANSWER_S):
            writer.write(f"GET /_/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read(4096)
    finally:
        writer.close()
    status = answer.split(b" ", 2)[1:2]
    code = int(status[0]) if answer.startswith(b"HTTP/") and status and status[0].isdigit() else 0
    return Health(code, answer.partition(b"\r\n\r\n")[2].decode("utf-8", "replace").strip())
