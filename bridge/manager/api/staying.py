"""Clients that stay for long: until one goes, or its token does not stand any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from bridge.clock import Clock

STALL_S: Final = 20.0
"""A client that takes nothing for so long is let go."""
STANDING_S: Final = 1.0
"""So often it is asked whether a client's token still stands."""
REVOKED: Final = "the token was revoked"


async def until_first(*ways: Coroutine[Any, Any, None]) -> None:
    """Run several until the first of them ends, and raise what it raised."""
    tasks = [asyncio.create_task(way, name="serve a client that stays") for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def revoked(stands: Callable[[], bool], every_s: float, clock: Clock) -> None:
    """Return when a client's token does not stand any more; a command revokes it, in another process."""
    while stands():
        await clock.sleep(every_s)
