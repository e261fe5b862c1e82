"""An onlooker: an MQTT client that is told what the dispatcher of a site is told, and takes nothing away from it.

It leaves no session at the broker: what is said while its connection is down it does not hear, and counts as a gap.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence

from bridge.clock import Clock
from bridge.errors import NotRunning
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Message, Subscription, Transport

Heard = Callable[[Message], None]


class Onlooker:
    """Hears what is said on some topics; carries out `bridge.mqtt.transport.Listener`.

    `heard` is called for each message before it is acknowledged, `gap` with the reason whenever a connection is lost.
    What either raises ends `run`.
    """

    def __init__(
        self, connect: Connector, clock: Clock, filters: Sequence[str], *, heard: Heard, gap: Callable[[str], None]
    ) -> None:
        self._transport: Transport = connect(f"gpio-bridge-record-{secrets.token_hex(6)}", self)
        self._subscribing = Subscribing(self._transport, clock, self._subscribe, self._refused)
        self._filters = filters
        self._heard = heard
        self._gap = gap
        self._subscribed = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event, started: Callable[[], None], *, address: str, timeout_s: float) -> None:
        """Listen until told to stop; `started` is called once subscribed. Raises NotRunning when no broker answers."""
        async with self._transport:
            subscribing = asyncio.create_task(self._subscribing.run(), name="onlooker subscribes")
            stopping = asyncio.create_task(stop.wait(), name="onlooker waits for its end")
            first = asyncio.create_task(self._subscribed.wait(), name="onlooker waits for the broker")
            ends = (subscribing, stopping, self._failed)
            try:
                await asyncio.wait((*ends, first), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if first.done():
                    started()
                elif not any(end.done() for end in ends):
                    raise NotRunning(
                        f"no broker answers at {address} ({self._transport.status or 'it grants no subscription'});"
                        " start one, or everything with `gpio-bridge up`, or say --host and --port"
                    )
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for end in (self._failed, subscribing):
                    if end.done():
                        end.result()
            finally:
                self._subscribed.clear()  # the connection that we end ourselves leaves no gap
                for task in (subscribing, stopping, first):
                    task.cancel()
                await asyncio.gather(subscribing, stopping, first, return_exceptions=True)

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        if self._subscribed.is_set():
            self._told(lambda: self._gap(reason))

    def received(self, batch: Sequence[Delivery]) -> None:
        def hear() -> None:
            for delivery in batch:
                self._heard(delivery.message)

        self._told(hear)
        self._transport.acknowledge(batch)

    def _told(self, tell: Callable[[], None]) -> None:
        if self._failed.done():
            return
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - a listener must not raise; `run` does
            self._failed.set_exception(error)

    async def _subscribe(self) -> None:
        await self._transport.subscribe([Subscription(wanted) for wanted in self._filters])
        self._subscribed.set()

    def _refused(self, why: str) -> None:
        self._told(lambda: self._gap(why))
