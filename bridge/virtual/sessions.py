"""The agent of one virtual Pi through its sessions: it may be stopped and started again while the Pi stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from bridge.agent.agent import Agent


class Sessions:
    """Keeps one agent running; a context manager. `agent` is the one of the present session."""

    def __init__(self, make: Callable[[], Agent]) -> None:
        self._make = make
        self._stopping = asyncio.Event()
        self._running = asyncio.Event()
        self.agent: Agent

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._running.is_set():
            await self._stop()

    async def restart(self) -> None:
        """Stop the agent and start another one in its place."""
        await self._stop()
        await self._start()

    async def failed(self) -> None:
        """Wait until the agent fails, that of this session or of a later one, and raise its error."""
        while True:
            await self._running.wait()
            failing = asyncio.ensure_future(self.agent.failed())
            stopping = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not self._stopping.is_set():  # else its tasks have ended because it was told to
                    failing.result()
            finally:
                for task in (failing, stopping):
                    task.cancel()
                await asyncio.gather(failing, stopping, return_exceptions=True)

    async def _start(self) -> None:
        self.agent = await self._make().__aenter__()
        self._stopping.clear()
        self._running.set()

    async def _stop(self) -> None:
        self._stopping.set()
        self._running.clear()
        await self.agent.__aexit__(None, None, None)
