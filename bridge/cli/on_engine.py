"""Commands that ask a Docker Engine themselves: which one, and how."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from bridge.swarm.engine import Engine

T = TypeVar("T")

Host = Annotated[
    str | None,
    typer.Option("--host", "-H", help="The Docker Engine of a manager of the swarm; without it, DOCKER_HOST."),
]


def on_engine(host: str | None, use: Callable[[Engine], Awaitable[T]]) -> T:
    """Connect to the engine, do something with it, and leave. Raises EngineUnavailable when it does not answer."""
    from bridge.swarm.address import engine_address
    from bridge.swarm.engine import Engine

    async def run() -> T:
        async with Engine(engine_address(host, os.environ)) as engine:
            await engine.connect()
            return await use(engine)

    return asyncio.run(run())
