"""A dispatcher of a pair: at work while it is its turn, else a standby that watches the other one (rule 17).

The one at work is fenced in two ways. It stops invoking at once when it hears of a later claim, or loses the broker and
with it the word on who is at work; and both use one MQTT client id for events, so that the broker serves one alone.

Nobody decides before it has heard its own status come back: a broker whose access list forbids to hear or to say one
grants the subscription all the same (Mosquitto does), and each of the two would take itself for the only one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

import orjson
from prometheus_client import CollectorRegistry, Gauge

from bridge.clock import Clock, Timer
from bridge.core.pair import OFFLINE, Pair, Peer, Role
from bridge.core.topics import DispatcherTopic, Topics, client_id
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.intake import read_object
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.status import message, where
from bridge.errors import TransportError
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Message, Subscription
from bridge.runtime.http import Server
from bridge.service import Health, first_ended, status_server

_log = logging.getLogger(__name__)

Make = Callable[[], Dispatcher]

ECHO_S: Final = 10.0
"""So soon a status that the broker lets through has come back."""


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
        self._active = active_gauge(self._registry)
        self._changed = asyncio.Event()
        self._timer: Timer | None = None
        self._server: Server | None = None
        self._said = b""
        self._told: tuple[int, Role, bytes] | None = None
        """What the last status told, and in which connection."""
        self._echo: asyncio.Future[bool] | None = None
        """While we wait for our own status: whether it has come back."""
        self._transport = connect(
            client_id(settings.site, "dispatcher", f"{settings.id}-watch"),
            self,
            will=self._status(OFFLINE),
        )
        self._subscribing = Subscribing(self._transport, clock, self._introduce, self._unheard)
        self._stack = AsyncExitStack()
        self._works = AsyncExitStack()
        self.health.require_ready("mqtt", lambda: self._transport.status)
        self.health.require_ready("pair", lambda: self._subscribing.problem)

    @property
    def role(self) -> Role:
        """What this dispatcher is now."""
        return Role.ACTIVE if self.dispatcher is not None else Role.STANDBY

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._serve_status()
            stack.push_async_callback(self._stop_work)
            self._transport.set_farewell(self._status(OFFLINE))
            await stack.enter_async_context(self._transport)
            self._failure = asyncio.get_running_loop().create_future()
            self._listening = asyncio.create_task(self._subscribing.run(), name="dispatcher pair listens")
            stack.push_async_callback(_cancelled, self._listening)
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
        await first_ended(self._failure, self._following, self._listening)

    # --- the watch connection's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._subscribing.connected()
        self._changed.set()

    def disconnected(self, generation: int, reason: str) -> None:
        self._pair.disconnected()
        self._came_back(came=False)
        self._changed.set()

    def received(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            told = delivery.message
            topic = self._topics.parse(told.topic)
            if isinstance(topic, DispatcherTopic) and topic.leaf == "status":
                if topic.dispatcher == self.settings.id and told.payload == self._said and not told.retain:
                    self._came_back(came=True)
                self._pair.heard(topic.dispatcher, _peer(told.payload), self._clock.monotonic())
        self._transport.acknowledge(batch)
        self._changed.set()

    # --- following the pair's decisions ---

    async def _follow(self) -> None:
        """Carry out what the pair decides, one change after the other."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._set_timer()
            if self._pair.role is Role.STANDBY and self.dispatcher is not None:
                await self._stop_work()
                await self._serve_status()
            if self._subscribing.problem is None and self._telling() != self._told:
                self._say()
            if self._pair.role is Role.ACTIVE and self.dispatcher is None:
                await self._start_work()
            if self.dispatcher is not None and self._pair.role is Role.STANDBY:
                self._changed.set()  # it changed while we were at it

    async def _introduce(self) -> None:
        """Listen to the others, and tell them what we are; from when we hear it ourselves we decide.

        What the others have said before has been heard by then: a broker delivers in order. Raises TransportError.
        """
        generation = self._transport.generation
        everybody = self._topics.dispatcher(self.settings.site, "+", "status")
        await self._transport.subscribe([Subscription(everybody, retained="always")])
        echo = self._echo = asyncio.get_running_loop().create_future()
        self._say()
        timer = self._clock.call_at(self._clock.monotonic() + ECHO_S, lambda: self._came_back(came=False))
        try:
            came = await echo
        finally:
            timer.cancel()
            self._echo = None
        if not came:
            raise TransportError(
                f"its own status does not come back within {ECHO_S:g} s: the broker's access list must let it write "
                f"{self._topic} and read {everybody}"
            )
        if self._transport.connected and self._transport.generation == generation:
            self._pair.connected(self._clock.monotonic())
        self._changed.set()

    def _came_back(self, *, came: bool) -> None:
        if self._echo is not None and not self._echo.done():
            self._echo.set_result(came)

    def _unheard(self, why: str) -> None:
        _log.warning("cannot hear the other dispatcher, and so takes no turn", extra={"op": "pair", "why": why})

    def _say(self) -> None:
        """Tell the others what we are."""
        self._told = self._telling()
        status = self._status(self._pair.role.value)
        self._said = status.payload
        self._transport.publish(status)

    def _telling(self) -> tuple[int, Role, bytes]:
        """What the status tells, to see when it has to be told anew."""
        mappings = b"" if self.dispatcher is None else orjson.dumps(self.dispatcher.mappings_status())
        return self._transport.generation, self._pair.role, mappings

    async def _start_work(self) -> None:
        await self._works.aclose()  # its port is the dispatcher's now
        _log.warning("this dispatcher is at work now", extra={"op": "pair.active", "term": self._pair.term})
        dispatcher = self._make()
        dispatcher.status_changed = self._changed.set
        dispatcher.registry.register(self._active)
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

    def _status(self, state: str) -> Message:
        mappings = {} if self.dispatcher is None else {"mappings": self.dispatcher.mappings_status()}
        # Who is offline has nothing that could be asked, and the will is written before there is a connection.
        served = {} if state == OFFLINE else where(self.settings.http, self._port, self._transport.local_address)
        return message(self._topic, state, self._pair.term, **mappings, **served)

    @property
    def _port(self) -> int | None:
        if self.dispatcher is not None:
            return self.dispatcher.port
        return self._server.port if self._server is not None else None


def active_gauge(registry: CollectorRegistry) -> Gauge:
    """Which one of a pair is at work."""
    return Gauge("gpio_bridge_dispatcher_active", "Of a pair: 1 for the one at work, else 0", registry=registry)


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
