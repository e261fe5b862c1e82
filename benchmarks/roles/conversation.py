"""A role's conversation with its benchmark: a JSON object per line in, one per line out, the end when input ends."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

Command = Mapping[str, Any]
Answer = Mapping[str, object]


def say(**answer: object) -> None:
    """Write one line; small enough answers only are atomic, so nobody else writes here."""
    data = json.dumps(answer).encode() + b"\n"
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


def commands() -> Iterator[Command]:
    """The commands, as they come; for roles that block."""
    for line in sys.stdin:
        yield json.loads(line)


async def converse(answer: Callable[[Command], Awaitable[Answer]]) -> None:
    """Answer commands on the loop until there are no more."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            say(**await answer(json.loads(line)))
    finally:
        transport.close()
