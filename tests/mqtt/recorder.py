"""A listener that writes down what it is told, and waits for it with a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bridge.mqtt.transport import Delivery, Message, Publication, Transport

DEADLINE_S = 60.0


async def until(condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until the condition holds."""
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110 - what is waited for sets no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {deadline_s:g} s: {what}") from None


class Recorder:
    """Everything in the order in which it was told; acknowledges by itself only when told to."""

    def __init__(self, *, acknowledges: bool = False) -> None:
        self.story: list[str] = []
        self.deliveries: list[Delivery] = []
        self.batches = 0
        self.acknowledges = acknowledges
        self.transport: Transport | None = None

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.story.append(f"connected {generation} {'old' if session_present else 'new'} session")

    def disconnected(self, generation: int, reason: str) -> None:
        self.story.append(f"disconnected {generation}")

    def received(self, batch: Sequence[Delivery]) -> None:
        self.batches += 1
        self.deliveries += batch
        if self.acknowledges:
            assert self.transport is not None
            self.transport.acknowledge(batch)

    def done(self, name: str) -> Callable[[Publication], None]:
        """A `done` that writes down what became of the publication of this name."""
        return lambda publication: self.story.append(f"{name} {publication.sent.value}")

    @property
    def messages(self) -> list[Message]:
        return [delivery.message for delivery in self.deliveries]

    @property
    def payloads(self) -> list[str]:
        return [message.payload.decode() for message in self.messages]

    async def up(self, generation: int = 1) -> None:
        """Wait for the connection of this generation."""
        await until(
            lambda: any(line.startswith(f"connected {generation} ") for line in self.story),
            f"connection {generation}; {self.transport.status if self.transport else None}; {self.story}",
        )

    async def got(self, count: int) -> list[str]:
        """Wait for so many messages in all; their payloads."""
        await until(lambda: len(self.deliveries) >= count, f"{count} messages")
        return self.payloads
