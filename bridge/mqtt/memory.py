"""A broker in memory and its transports: the whole seam without a network, exact to repeat, with faults on demand.

What it keeps of MQTT 5: persistent sessions that queue QoS 1 while their client is away; unacknowledged messages that
come again, with `dup`, first and in order, on the next connection; Receive Maximum; retained messages and Retain
Handling; No Local; message expiry; last wills; take-over by a client of the same id; one copy of a message for each
matching subscription of a client (as Mosquitto does in MQTT 5; in 3.1.1 it sends one). Nothing is told inline: the
broker acts from `loop.call_soon`, in the order in which things were asked for.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Self

from bridge.clock import Clock
from bridge.core.topics import check_filter, check_topic, matches
from bridge.errors import TransportError
from bridge.mqtt.backoff import Backoff
from bridge.mqtt.ending import Cause, Ended, guard
from bridge.mqtt.transport import Delivered, Delivery, Done, Listener, Message, Publication, Sent, Subscription

RECONNECT_MAX_S: Final = 1.0
_NOT_AUTHORISED: Final = Publication(Sent.REFUSED, 0x87, "not authorized")
_NO_BROKER: Final = Ended(Cause.UNREACHABLE, "the broker in memory is stopped")


@dataclass(slots=True)
class _Kept:
    """A message in a queue or a retained one, with the time on the clock at which it expires."""

    message: Message
    expires_at: float | None


@dataclass(slots=True)
class _Session:
    client_id: str
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    queue: deque[_Kept] = field(default_factory=deque)
    unacknowledged: dict[int, _Kept] = field(default_factory=dict)
    packet_ids: itertools.cycle[int] = field(default_factory=lambda: itertools.cycle(range(1, 65_536)))
    transport: MemoryTransport | None = None
    pumping: bool = False
    again: bool = False
    """The connection is new: what was sent on the one before comes again first."""


class MemoryBroker:
    """The broker; `connect` is a Connector. The other methods are its faults and what a test wants to know."""

    def __init__(self, clock: Clock, *, receive_maximum: int = 1000) -> None:
        self._clock = clock
        self._receive_maximum = receive_maximum
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, _Kept] = {}
        self._refused: set[str] = set()
        self._unplugged: set[str] = set()
        self.running = True

    def connect(self, client_id: str, listener: Listener, *, will: Message | None = None) -> MemoryTransport:
        """A transport that is not connected yet; enter it."""
        return MemoryTransport(self, self._clock, client_id, listener, will)

    def stop(self) -> None:
        """Die and keep the store: connections are lost, no will is sent, sessions and retained messages stay."""
        self.running = False
        self._lose_all("the broker in memory was stopped")

    def start(self) -> None:
        """Accept connections again; transports come back when their pause is over."""
        self.running = True

    def forget(self) -> None:
        """Lose the store: sessions with their queues, and retained messages; who is connected is thrown out."""
        self._lose_all("the broker in memory lost its store")
        self._sessions.clear()
        self._retained.clear()

    def drop(self, client_id: str, *, arrived: bool = False) -> None:
        """Cut a client's connection without a word: its will is sent.

        Its open publications are LOST; `arrived` says whether the broker has got them nevertheless.
        """
        session = self._sessions.get(client_id)
        if session is not None and session.transport is not None:
            transport, session.transport = session.transport, None
            transport.lose(Ended(Cause.LOST, "the connection was cut"), arrived=arrived)
            self._send_will(transport)

    def unplug(self, client_id: str) -> None:
        """Cut a client's connection, and let it not come back until `plug`: its cable is out."""
        self._unplugged.add(client_id)
        self.drop(client_id)

    def plug(self, client_id: str) -> None:
        """Lift an `unplug`; the client comes back when its pause is over."""
        self._unplugged.discard(client_id)

    def kill(self, client_id: str) -> None:
        """A client's process is killed: its connection is lost without a word, and its transport is never heard of."""
        session = self._sessions.get(client_id)
        if session is not None and session.transport is not None:
            transport, session.transport = session.transport, None
            transport.kill()
            self._send_will(transport)

    def reachable(self, client_id: str) -> bool:
        """Whether a client would find the broker now."""
        return self.running and client_id not in self._unplugged

    def refuse(self, topic_filter: str) -> None:
        """Answer publications to these topics with 0x87, not authorised, until `allow`."""
        check_filter(topic_filter)
        self._refused.add(topic_filter)

    def allow(self, topic_filter: str) -> None:
        """Lift a `refuse` of the same filter."""
        self._refused.discard(topic_filter)

    def retained(self, topic: str) -> Message | None:
        """What the broker retains for a topic."""
        kept = self._retained.get(topic)
        return kept.message if kept is not None else None

    def queued(self, client_id: str) -> int:
        """How many messages a client has not acknowledged, sent or not."""
        session = self._sessions.get(client_id)
        return len(session.queue) + len(session.unacknowledged) if session is not None else 0

    def subscriptions(self, client_id: str) -> tuple[str, ...]:
        """The filters that a client's session is subscribed to."""
        session = self._sessions.get(client_id)
        return tuple(session.subscriptions) if session is not None else ()

    # For the transports

    def admit(self, transport: MemoryTransport) -> bool:
        """Take a connection in; whether its session was there. The client of the same id is thrown out."""
        session_present = transport.client_id in self._sessions
        session = self._sessions.setdefault(transport.client_id, _Session(transport.client_id))
        if session.transport is not None:
            session.transport.lose(
                Ended(Cause.TAKEN_OVER, "another client with the same client id took over the session")
            )
        session.transport = transport
        session.again = True
        self._pump(session)
        return session_present

    def leave(self, transport: MemoryTransport) -> None:
        """A clean disconnect: no will."""
        session = self._sessions.get(transport.client_id)
        if session is not None and session.transport is transport:
            session.transport = None

    def accept(self, client_id: str, message: Message) -> Publication:
        """Take a publication in and hand it on."""
        if any(matches(refused, message.topic) for refused in self._refused):
            return _NOT_AUTHORISED
        self._route(message, client_id)
        return Publication(Sent.ACCEPTED)

    def subscribe(self, transport: MemoryTransport, subscriptions: Sequence[Subscription]) -> None:
        """Add subscriptions to the session of a connected transport, and send what is retained for them."""
        session = self._sessions[transport.client_id]
        for subscription in subscriptions:
            new = subscription.filter not in session.subscriptions
            session.subscriptions[subscription.filter] = subscription
            if subscription.retained == "always" or (subscription.retained == "new" and new):
                for topic, kept in self._retained.items():
                    if matches(subscription.filter, topic):
                        self._enqueue(session, _Kept(_as(kept.message, subscription, retain=True), kept.expires_at))

    def unsubscribe(self, transport: MemoryTransport, filters: Sequence[str]) -> None:
        """Remove subscriptions; what is queued stays."""
        for topic_filter in filters:
            self._sessions[transport.client_id].subscriptions.pop(topic_filter, None)

    def acknowledge(self, transport: MemoryTransport, packet_ids: Sequence[int]) -> None:
        """Forget messages that the client has, and send further ones."""
        session = self._sessions.get(transport.client_id)
        if session is not None and session.transport is transport:
            for packet_id in packet_ids:
                session.unacknowledged.pop(packet_id, None)
            self._pump(session)

    def _route(self, message: Message, sender: str) -> None:
        expires_at = self._clock.monotonic() + message.expiry_s if message.expiry_s is not None else None
        if message.retain:
            if message.payload:
                self._retained[message.topic] = _Kept(message, expires_at)
            else:
                self._retained.pop(message.topic, None)
        for session in self._sessions.values():
            for subscription in session.subscriptions.values():
                local = subscription.no_local and session.client_id == sender
                if not local and matches(subscription.filter, message.topic):
                    self._enqueue(session, _Kept(_as(message, subscription, retain=False), expires_at))

    def _enqueue(self, session: _Session, kept: _Kept) -> None:
        if session.transport is not None or kept.message.qos:
            session.queue.append(kept)
            self._pump(session)

    def _pump(self, session: _Session) -> None:
        if not session.pumping:
            session.pumping = True
            asyncio.get_running_loop().call_soon(self._deliver, session)

    def _deliver(self, session: _Session) -> None:
        """One batch: what must come again, then as many queued messages as the client's Receive Maximum allows."""
        session.pumping = False
        transport, now = session.transport, self._clock.monotonic()
        if transport is None:
            return
        batch: list[tuple[Message, int]] = []
        if session.again:
            session.again = False
            batch += [(replace(_aged(k, now), dup=True), packet_id) for packet_id, k in session.unacknowledged.items()]
        while session.queue and len(session.unacknowledged) < self._receive_maximum:
            kept = session.queue.popleft()
            if kept.expires_at is not None and kept.expires_at <= now:
                continue
            packet_id = 0
            if kept.message.qos:
                packet_id = next(i for i in session.packet_ids if i not in session.unacknowledged)
                session.unacknowledged[packet_id] = kept
            batch.append((_aged(kept, now), packet_id))
        if batch:
            transport.take(batch)

    def _send_will(self, transport: MemoryTransport) -> None:
        if transport.will is not None:
            asyncio.get_running_loop().call_soon(self._route, transport.will, transport.client_id)

    def _lose_all(self, reason: str) -> None:
        for session in self._sessions.values():
            if session.transport is not None:
                transport, session.transport = session.transport, None
                transport.lose(Ended(Cause.LOST, reason))


class MemoryTransport:
    """A client of a MemoryBroker; see `Transport`. Its pauses between attempts run on the broker's clock."""

    def __init__(
        self, broker: MemoryBroker, clock: Clock, client_id: str, listener: Listener, will: Message | None
    ) -> None:
        self.client_id = client_id
        self.will = will
        self._broker = broker
        self._clock = clock
        self._listener = listener
        self._farewell: Message | None = None
        self._backoff = Backoff(RECONNECT_MAX_S, Random(client_id))  # noqa: S311 - spreads attempts, no secret
        self._connected = False
        self._cut = False
        """The broker has ended the connection, and we shall be told on the next turn of the loop."""
        self._generation = 0
        self._status: str | None = "not yet connected to the broker in memory"
        self._open: deque[tuple[Message, Done | None]] = deque()
        self._over: asyncio.Future[Ended] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def generation(self) -> int:
        return self._generation

    @property
    def status(self) -> str | None:
        return self._status

    @property
    def local_address(self) -> str | None:
        return None  # there is no network

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"mqtt {self.client_id}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._connected and self._farewell is not None:
            self.publish(self._farewell)
        while self._connected and self._open:  # noqa: ASYNC110 - a few turns of the loop, in which they arrive
            await asyncio.sleep(0)
        if self._connected:
            self._broker.leave(self)
            self._end(Ended(Cause.CLOSED, "disconnected"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._status = "closed"

    def publish(self, message: Message, done: Done | None = None) -> None:
        check_topic(message.topic)
        if not self._connected:
            _tell(done, Publication(Sent.LOST, reason=self._status or ""))
            return
        self._open.append((message, done))
        asyncio.get_running_loop().call_soon(self._arrive, self._generation)

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        for subscription in subscriptions:
            check_filter(subscription.filter)
        await self._ask("subscribe", lambda: self._broker.subscribe(self, subscriptions))

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        for topic_filter in filters:
            check_filter(topic_filter)
        await self._ask("unsubscribe", lambda: self._broker.unsubscribe(self, filters))

    def acknowledge(self, deliveries: Sequence[Delivered]) -> None:
        now = self._generation
        packet_ids = [d.packet_id for d in deliveries if d.generation == now and d.packet_id]
        if self._connected and packet_ids:
            asyncio.get_running_loop().call_soon(self._acknowledge, now, packet_ids)

    def set_farewell(self, message: Message | None) -> None:
        if message is not None:
            check_topic(message.topic)
        self._farewell = message

    # For the broker

    def take(self, batch: Sequence[tuple[Message, int]]) -> None:
        """Receive a batch on the current connection."""
        now = self._generation
        guard(self._listener.received, [Delivery(message, now, packet_id) for message, packet_id in batch])

    def lose(self, ended: Ended, *, arrived: bool = False) -> None:
        """The broker has ended this connection; told on the next turn of the loop."""
        self._cut = True
        asyncio.get_running_loop().call_soon(lambda: self._end(ended, arrived=arrived))

    def kill(self) -> None:
        """Its process is gone: nobody is told of anything any more."""
        self._connected = False
        self._open.clear()
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            begun_at = self._clock.monotonic()
            ended = await self._live()
            if ended.cause is Cause.CLOSED:
                return
            self._status = f"no connection to the broker in memory: {ended.reason}"
            await self._clock.sleep(self._backoff.pause(ended.cause, self._clock.monotonic() - begun_at))

    async def _live(self) -> Ended:
        await asyncio.sleep(0)
        if not self._broker.reachable(self.client_id):
            return _NO_BROKER
        self._over = asyncio.get_running_loop().create_future()
        self._generation += 1
        self._connected, self._cut, self._status = True, False, None
        session_present = self._broker.admit(self)
        guard(self._listener.connected, self._generation, session_present=session_present)
        return await self._over

    def _arrive(self, generation: int) -> None:
        if generation == self._generation and not self._cut and self._open:
            message, done = self._open.popleft()
            publication = self._broker.accept(self.client_id, message)
            _tell(done, publication)

    def _acknowledge(self, generation: int, packet_ids: Sequence[int]) -> None:
        if generation == self._generation and not self._cut:
            self._broker.acknowledge(self, packet_ids)

    async def _ask(self, what: str, ask: Callable[[], None]) -> None:
        generation = self._generation
        await asyncio.sleep(0)
        if not self._connected or self._cut or generation != self._generation:
            raise TransportError(f"cannot {what} now: {self._status}")
        ask()
        await asyncio.sleep(0)

    def _end(self, ended: Ended, *, arrived: bool = False) -> None:
        if not self._connected:
            return
        self._connected = False
        self._status = f"no connection to the broker in memory: {ended.reason}"
        lost, self._open = self._open, deque()
        for message, done in lost:
            if arrived:
                self._broker.accept(self.client_id, message)
            _tell(done, Publication(Sent.LOST, reason=ended.reason))
        guard(self._listener.disconnected, self._generation, ended.reason)
        if self._over is not None and not self._over.done():
            self._over.set_result(ended)


def _as(message: Message, subscription: Subscription, *, retain: bool) -> Message:
    """A message as a subscriber gets it: at the lower QoS, `retain` set only when it was stored (MQTT 5, 3.3.1.3)."""
    return replace(message, qos=min(message.qos, subscription.qos), retain=retain, dup=False)


def _aged(kept: _Kept, now: float) -> Message:
    """With the rest of its life as expiry, as the broker must send it (MQTT 5, 3.3.2.3.3)."""
    if kept.expires_at is None:
        return kept.message
    return replace(kept.message, expiry_s=max(1, round(kept.expires_at - now)))


def _tell(done: Done | None, publication: Publication) -> None:
    if done is not None:
        guard(done, publication)
