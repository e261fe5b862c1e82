"""The long-lived tasks of the dispatcher: the first that ends ends the program."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

from bridge.service import first_ended


class Tasks:
    """Named tasks; leaving cancels them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        """End them all, soon."""
        for task in self._tasks:
            task.cancel()

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine under this name."""
        self._tasks.append(asyncio.create_task(work, name=f"dispatcher {name}"))

    async def failed(self) -> None:
        """Wait for the first task that ends, and raise what ended it."""
        await first_ended(*self._tasks)
