"""Any other MQTT device of a running house: an MQTT client that publishes, and hears nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from bridge.errors import TransportError
from bridge.mqtt.transport import Connector, Delivery, Message, Publication, Sent

CLIENT_ID: Final = "gpio-bridge-a-device"
ANSWER_S: Final = 10.0
"""How long the broker may take to answer."""


class ForeignDevice:
    """Publishes; an async context manager that carries out `bridge.mqtt.transport.Listener`."""

    def __init__(self, connect: Connector) -> None:
        self._transport = connect(CLIENT_ID, self)
        self._connected = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._transport.__aexit__(kind, error, where)

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._connected.set()

    def disconnected(self, generation: int, reason: str) -> None:
        self._connected.clear()

    def received(self, batch: Sequence[Delivery]) -> None:
        self._transport.acknowledge(batch)  # nothing was asked for, but a session of before may hold something

    async def publish(self, message: Message) -> None:
        """Publish, and return when the broker has it. Raises TransportError when it does not take it."""
        told: asyncio.Future[Publication] = asyncio.get_running_loop().create_future()

        def tell(publication: Publication) -> None:
            if not told.done():
                told.set_result(publication)

        try:
            async with asyncio.timeout(ANSWER_S):
                await self._connected.wait()
                self._transport.publish(message, tell)
                answer = await told
        except TimeoutError:
            reason = self._transport.status or f"no answer within {ANSWER_S:g} s"
        else:
            if answer.sent is Sent.ACCEPTED:
                return
            reason = answer.reason or answer.sent.value
        raise TransportError(f"nothing can be published to {message.topic} now: {reason}")
