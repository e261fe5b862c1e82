"""A dispatcher of a pair: at work while it is its turn, else a standby that watches the other one (rule 17).

The one at work is fenced in two ways. It stops invoking at once when it hears of a later claim, or loses the broker and
with it the word on who is at work; and both use one MQTT client id for events, so that the broker serves one alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Self

import orjson
from prometheus_client import CollectorRegistry, Gauge

from bridge.clock import Clock, Timer
from bridge.core.pair import OFFLINE, Pair, Peer, Role
from bridge.core.topics import DispatcherTopic, Topics, client_id
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.intake import read_object
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.whereabouts import where
from bridge.errors import TransportError
from bridge.mqtt.transport import Connector, Delivery, Message, Subscription
from bridge.runtime.http import Server
from bridge.service import Health, status_server

_log = logging.getLogger(__name__)

Make = Callable[[], Dispatcher]


class PairedDispatcher:
    """A program (bridge.service.Program) around a dispatcher that runs only while it is this one's turn."""

    name = "dispatcher"

    def __init__(self, settings: DispatcherSettings, *, clock: Clock, connect: Connector, make: Make) -> None:
        assert settings.standby is not None, "the settings are of a dispatcher that stands alone"
        self.settings = settings
        self.health = Health()
        self.dispatcher: Dispatcher | None = None
        self._clock = clock
        self._make = make
        self._topics = Topics(settings.root)
        self._topic = self._topics.dispatcher(settings.site, settings.id, "status")
        self._pair = Pair(settings.id, settings.standby.takeover_after_s)
        self._registry = CollectorRegistry()
        self._active = Gauge("gpio_bridge_dispatcher_active", "1 for the one at work", registry=self._registry)
        self._changed = asyncio.Event()
        self._timer: Timer | None = None
        self._server: Server | None = None
        self._transport = connect(
            client_id(settings.site, "dispatcher", f"{settings.id}-watch"),
            self,
            will=Message(self._topic, self._status(OFFLINE), retain=True),
        )
        self._stack = AsyncExitStack()
        self._works = AsyncExitStack()
        self.health.require_ready("mqtt", lambda: self._transport.status)

    @property
    def role(self) -> Role:
        """What this dispatcher is now."""
        return Role.ACTIVE if self.dispatcher is not None else Role.STANDBY

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._serve_status()
            stack.push_async_callback(self._stop_work)
            self._transport.set_farewell(Message(self._topic, self._status(OFFLINE), retain=True))
            await stack.enter_async_context(self._transport)
            self._failure = asyncio.get_running_loop().create_future()
            self._following = asyncio.create_task(self._follow(), name="dispatcher pair")
            stack.push_async_callback(_cancelled, self._following)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop deciding, then say that we are gone, and only then stop the work: the other one waits a moment."""
        if self._timer is not None:
            self._timer.cancel()
        await self._stack.aclose()

    async def failed(self) -> None:
        """Wait until a task, or the dispatcher at work, ends by an error, and raise it."""
        await asyncio.wait((self._following, self._failure), return_when=asyncio.FIRST_COMPLETED)
        for ended in (self._failure, self._following):
            if ended.done():
                ended.result()

    # --- the watch connection's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._pair.connected(self._clock.monotonic())
        self._changed.set()

    def disconnected(self, generation: int, reason: str) -> None:
        self._pair.disconnected()
        self._changed.set()

    def received(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            topic = self._topics.parse(delivery.message.topic)
            if isinstance(topic, DispatcherTopic) and topic.leaf == "status":
                self._pair.heard(topic.dispatcher, _peer(delivery.message.payload), self._clock.monotonic())
        self._transport.acknowledge(batch)
        self._changed.set()

    # --- following the pair's decisions ---

    async def _follow(self) -> None:
        """Carry out what the pair decides, one change after the other."""
        told: tuple[int, Role, bytes] | None = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._set_timer()
            if self._pair.role is Role.STANDBY and self.dispatcher is not None:
                await self._stop_work()
                await self._serve_status()
            connection = (self._transport.generation, self._pair.role, self._mappings())
            if self._transport.connected and connection != told and await self._say():
                told = connection
            if self._pair.role is Role.ACTIVE and self.dispatcher is None:
                await self._start_work()
            if self.dispatcher is not None and self._pair.role is Role.STANDBY:
                self._changed.set()  # it changed while we were at it

    async def _say(self) -> bool:
        """Listen to the others, and tell them what we are; whether that went well."""
        try:
            everybody = self._topics.dispatcher(self.settings.site, "+", "status")
            await self._transport.subscribe([Subscription(everybody, retained="always")])
        except TransportError as error:
            _log.warning("cannot watch the other dispatcher", extra={"op": "pair", "why": str(error)})
            return False
        self._transport.publish(Message(self._topic, self._status(self._pair.role.value), retain=True))
        return True

    async def _start_work(self) -> None:
        await self._works.aclose()  # its port is the dispatcher's now
        _log.warning("this dispatcher is at work now", extra={"op": "pair.active", "term": self._pair.term})
        dispatcher = self._make()
        dispatcher.status_changed = self._changed.set
        self._works = AsyncExitStack()
        await self._works.enter_async_context(dispatcher)
        self._works.push_async_callback(_cancelled, asyncio.create_task(self._watch(dispatcher), name="pair watches"))
        self.dispatcher = dispatcher
        self._active.set(1)
        self._changed.set()

    async def _watch(self, dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.failed()
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for `failed`
            if not self._failure.done():
                self._failure.set_exception(error)

    async def _stop_work(self) -> None:
        if self.dispatcher is not None:
            _log.warning("this dispatcher is at work no more", extra={"op": "pair.standby", "term": self._pair.term})
            self.dispatcher.fence()
        await self._works.aclose()
        self._works = AsyncExitStack()
        self.dispatcher = None
        self._active.set(0)

    async def _serve_status(self) -> None:
        """A standby answers for its health where a dispatcher at work serves its API."""
        http = self.settings.http
        self._works = AsyncExitStack()
        server = status_server(self.health, self._registry, http.host, http.port, why=self._who_to_ask)
        self._server = await self._works.enter_async_context(server)

    def _who_to_ask(self) -> str:
        return f"this dispatcher stands by; ask the one at work ({self._pair.active_peer or 'there is none now'}), or "

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pair.wake_at is not None:
            self._timer = self._clock.call_at(self._pair.wake_at, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._pair.wake(self._clock.monotonic())
        self._changed.set()

    def _status(self, state: str) -> bytes:
        mappings = {} if self.dispatcher is None else {"mappings": self.dispatcher.mappings_status()}
        # Who is offline has nothing that could be asked, and the will is written before there is a connection.
        served = {} if state == OFFLINE else where(self.settings.http, self._port, self._transport.local_address)
        return orjson.dumps({"version": 1, "state": state, "term": self._pair.term, **mappings, **served})

    @property
    def _port(self) -> int | None:
        if self.dispatcher is not None:
            return self.dispatcher.port
        return self._server.port if self._server is not None else None

    def _mappings(self) -> bytes:
        """What the status says of the mappings in force, to see when it has to be said anew."""
        return b"" if self.dispatcher is None else orjson.dumps(self.dispatcher.mappings_status())


def _peer(payload: bytes) -> Peer:
    """What a status says; one that says nothing readable is of somebody who is not there."""
    document = read_object(payload)
    if not isinstance(document.get("state"), str):
        return Peer(OFFLINE, 0)
    term = document.get("term")
    return Peer(document["state"], term if isinstance(term, int) and not isinstance(term, bool) else 0)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
