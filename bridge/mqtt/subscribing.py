"""Subscribing that does not give up: anew with each connection, and again after a while where the broker refuses.

A transport remembers no subscription (transport.py), and a broker may refuse one today and grant it tomorrow, when
somebody has put its access list right. What a program wants to hear, and what it says of a refusal, is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bridge.clock import Clock, Timer
from bridge.errors import TransportError
from bridge.mqtt.transport import Transport

SUBSCRIBE_AGAIN_S: Final = 5.0
"""How long after a refusal the broker is asked again."""

_NOT_YET: Final = "not subscribed yet"


class Subscribing:
    """Calls `ask`, which subscribes to what is wanted now and raises TransportError, until the broker has agreed.

    `refused` is told why it has not, once for each connection and reason. The loop owns it.
    """

    def __init__(
        self,
        transport: Transport,
        clock: Clock,
        ask: Callable[[], Awaitable[None]],
        refused: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._ask = ask
        self._refused = refused
        self._due = asyncio.Event()
        self._why: str | None = _NOT_YET

    @property
    def problem(self) -> str | None:
        """For health: why what is wanted is not heard; None when it is."""
        return self._transport.status or self._why

    def connected(self) -> None:
        """A new connection stands: call this from `Listener.connected`."""
        self._why = _NOT_YET
        self._due.set()

    def again(self) -> None:
        """Something else may be wanted."""
        self._due.set()

    async def run(self) -> None:
        """See to it that it is heard, until cancelled; what `ask` raises but TransportError is raised."""
        later: Timer | None = None
        try:
            while True:
                await self._due.wait()
                self._due.clear()
                if later is not None:
                    later.cancel()
                later = None if await self._granted() else self._later()
        finally:
            if later is not None:
                later.cancel()

    async def _granted(self) -> bool:
        """Ask once; whether there is nothing to come back for in this connection."""
        generation = self._transport.generation
        why: str | None = None
        try:
            await self._ask()
        except TransportError as error:
            why = str(error)
        if not self._transport.connected or self._transport.generation != generation:
            return True  # whatever was said, the next connection asks anew
        before, self._why = self._why, why
        if why is not None and why != before:
            self._refused(why)
        return why is None

    def _later(self) -> Timer:
        return self._clock.call_at(self._clock.monotonic() + SUBSCRIBE_AGAIN_S, self._due.set)
