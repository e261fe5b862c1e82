"""The transport over paho-mqtt: keeps one connection alive, and tells its program through the seam."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Self

from bridge.clock import Clock
from bridge.core.topics import check_filter, check_topic
from bridge.errors import TransportError
from bridge.mqtt.backoff import Backoff
from bridge.mqtt.connection import Connection, Owner
from bridge.mqtt.ending import Cause, Ended, guard
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.stream import connect
from bridge.mqtt.transport import (
    Connector,
    Delivered,
    Delivery,
    Done,
    Listener,
    Message,
    Publication,
    Sent,
    Subscription,
    Transport,
)
from bridge.mqtt.version import VersionChoice

_log = logging.getLogger(__name__)

FAREWELL_S: Final = 2.0
"""How long a clean end waits for the broker's answer to the farewell."""


@dataclass(slots=True)
class Counters:
    """What a transport has seen since it was made; programs export them as metrics."""

    connects: int = 0
    disconnects: int = 0
    received: int = 0
    published: int = 0
    """Accepted by the broker; `refused` and `lost` are the others."""
    refused: int = 0
    lost: int = 0


def connector(settings: MqttSettings, clock: Clock, random: Random | None = None) -> Connector:
    """Transports to the broker of these settings; what one learns of its MQTT version, the others know."""
    choice = VersionChoice(settings.protocol)

    def make(client_id: str, listener: Listener, *, will: Message | None = None) -> Transport:
        return PahoTransport(settings, clock, client_id, listener, will=will, choice=choice, random=random)

    return make


class PahoTransport:
    """One MQTT client; see `Transport`. In 3.1.1, `retained` and `no_local` of a subscription have no effect.

    `status` and `counters` may be read at any time. Every publication not yet answered is told LOST before
    `Listener.disconnected`, which is also called at the clean end.
    """

    def __init__(
        self,
        settings: MqttSettings,
        clock: Clock,
        client_id: str,
        listener: Listener,
        *,
        will: Message | None = None,
        choice: VersionChoice | None = None,
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._client_id = client_id
        self._listener = listener
        self._will = will
        self._choice = choice or VersionChoice(settings.protocol)
        self._backoff = Backoff(settings.reconnect_max_s, random or Random())  # noqa: S311 - spreads attempts, no secret
        self._farewell: Message | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._opened_at: float | None = None
        self._tried = self._choice.version
        self._generation = 0
        self._status: str | None = f"not yet connected to the broker at {settings.address}"
        self.counters = Counters()

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def status(self) -> str | None:
        return self._status

    @property
    def local_address(self) -> str | None:
        return self._connection.local_address if self._connection is not None else None

    @property
    def version(self) -> str:
        """The version of MQTT spoken with the broker, or tried next: `5` or `3.1.1`."""
        return self._choice.version

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self._client_id}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            if self._connection is not None and self._farewell is not None:
                await self._say_farewell(self._farewell)
            if self._connection is not None:
                await self._connection.close()
        finally:
            if self._task is not None:
                self._task.cancel()
                await asyncio.wait([self._task])
            self._status = "closed"

    def publish(self, message: Message, done: Done | None = None) -> None:
        check_topic(message.topic)

        def told(publication: Publication) -> None:
            match publication.sent:
                case Sent.ACCEPTED:
                    self.counters.published += 1
                case Sent.REFUSED:
                    self.counters.refused += 1
                case Sent.LOST:
                    self.counters.lost += 1
            if done is not None:
                done(publication)

        if self._connection is None:
            guard(told, Publication(Sent.LOST, reason=self._status or ""))
        else:
            self._connection.publish(message, told)

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            check_filter(subscription.filter)
        if subscriptions:
            await self._current("subscribe").subscribe(subscriptions)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        for topic_filter in filters:
            check_filter(topic_filter)
        if filters:
            await self._current("unsubscribe").unsubscribe(filters)

    def acknowledge(self, deliveries: Sequence[Delivered]) -> None:
        if self._connection is not None:
            now = self._generation
            self._connection.acknowledge([d.packet_id for d in deliveries if d.generation == now and d.packet_id])

    def set_farewell(self, message: Message | None) -> None:
        if message is not None:
            check_topic(message.topic)
        self._farewell = message

    def _current(self, what: str) -> Connection:
        if self._connection is None:
            raise TransportError(f"cannot {what} now: {self._status}")
        return self._connection

    async def _say_farewell(self, farewell: Message) -> None:
        answered = asyncio.Event()
        self.publish(farewell, lambda _: answered.set())
        try:
            async with asyncio.timeout(FAREWELL_S):
                await answered.wait()
        except TimeoutError:
            _log.warning("the broker did not acknowledge the farewell", extra={"op": "mqtt.close"})

    async def _run(self) -> None:
        told = None
        while True:
            self._opened_at = None
            ended = await self._live()
            if ended.cause is Cause.CLOSED:
                return
            stood = self._opened_at is not None
            lived_s = self._clock.monotonic() - self._opened_at if self._opened_at is not None else 0.0
            if stood:
                self._choice.ended()
            elif self._choice.failed(self._tried, ended.cause):
                _log.info("trying another version of MQTT", extra={"op": "mqtt.version", "version": self.version})
            if stood or ended.reason != told:  # once, not at each attempt of a long night
                extra = {"op": "mqtt.disconnected", "client_id": self._client_id, "reason": ended.reason}
                _log.warning("no connection to the broker", extra=extra)
            told = ended.reason
            pause_s = self._backoff.pause(ended.cause, lived_s)
            if self._backoff.fighting:
                self._status = (
                    f"the broker at {self._settings.address} keeps closing the connection: perhaps another client has"
                    f" the same client id {self._client_id}; waiting {pause_s:.0f} s"
                )
                _log.warning(
                    "perhaps another client has our client id",
                    extra={"op": "mqtt.fight", "client_id": self._client_id, "pause_s": pause_s},
                )
            await self._clock.sleep(pause_s)

    async def _live(self) -> Ended:
        """One attempt and, if it succeeds, one connection to its end."""
        over: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        connection: Connection | None = None

        def opened(session_present: bool) -> None:  # noqa: FBT001 - the only argument of a callback
            assert connection is not None
            self._opened(connection, session_present=session_present)

        def finished(ended: Ended) -> None:
            self._ended(ended)
            if not over.done():
                over.set_result(ended)

        try:
            stream = await connect(self._settings)
            try:
                owner = Owner(opened, self._received, finished)
                self._tried = self._choice.version
                connection = Connection(stream, self._client_id, self._settings, self._tried, owner, self._will)
            except BaseException:
                stream.abort()
                raise
            connection.open()
            return await over
        except TransportError as error:
            ended = Ended(Cause.UNREACHABLE, str(error))
        except OSError as error:
            ended = Ended(Cause.UNREACHABLE, f"a file of the mqtt settings cannot be read: {error}")
        except Exception as error:  # noqa: BLE001 - the outermost loop of the transport: log it and try again
            _log.exception("an attempt to connect failed", extra={"op": "mqtt.connect"})
            ended = Ended(Cause.LOST, f"{type(error).__name__} while connecting, see the log")
        finally:
            if connection is not None and not over.done():
                connection.abort(Ended(Cause.CLOSED, "closed"))
        self._status = ended.reason
        return ended

    def _opened(self, connection: Connection, *, session_present: bool) -> None:
        self._choice.accepted(self._tried)
        self._opened_at = self._clock.monotonic()
        self._connection = connection
        self._generation += 1
        self._status = None
        self.counters.connects += 1
        _log.info(
            "connected to the broker",
            extra={
                "op": "mqtt.connected",
                "broker": self._settings.address,
                "client_id": self._client_id,
                "version": self.version,
                "generation": self._generation,
                "session_present": session_present,
            },
        )
        guard(self._listener.connected, self._generation, session_present=session_present)

    def _received(self, messages: Sequence[tuple[Message, int]]) -> None:
        self.counters.received += len(messages)
        now = self._generation
        guard(self._listener.received, [Delivery(message, now, packet_id) for message, packet_id in messages])

    def _ended(self, ended: Ended) -> None:
        self._status = f"no connection to the broker at {self._settings.address}: {ended.reason}"
        if self._connection is not None:
            self._connection = None
            self.counters.disconnects += 1
            guard(self._listener.disconnected, self._generation, ended.reason)
