"""The agent: one node's program. Pins become events in the outbox, the outbox meets the broker, commands move outputs.

Sensing does not wait for anybody: sensors start before the broker is there, and their events wait in the outbox.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Self

from bridge.agent.board import Board, driver_name
from bridge.agent.metrics import Metrics
from bridge.agent.outbox import Durability, Outbox, OutboxCounters, Priority
from bridge.agent.outputs import Output
from bridge.agent.presence import Presence, birth
from bridge.agent.readers import LoopReader, Reader, ThreadReader
from bridge.agent.sensors.plan import Plan, Polled
from bridge.agent.settings import AgentSettings
from bridge.agent.states import States
from bridge.agent.supervisor import Supervisor
from bridge.clock import Clock, RealClock, Timer
from bridge.core.event import Observation
from bridge.core.topics import DispatcherTopic, NodeTopic, OutputTopic, Topics, client_id
from bridge.errors import BridgeError, TransportError
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Done, Message, Publication, Sent, Subscription, Transport
from bridge.runtime.http import Server
from bridge.service import Disk, Health, status_server
from bridge.ulid import mint

_log = logging.getLogger(__name__)

TICK_S = 1.0
"""How often the backlog is looked at."""
STOP_S = 5.0
"""How long the stop waits for the outbox's last commit."""


class Agent:
    """One node's agent; carries out `bridge.service.Program`.

    `board` is closed by whoever opened it, after the agent has stopped. `threads` says whether blocking readings are
    taken and the disk is used on threads; by default they are, except under a virtual clock, which would stand still
    meanwhile. `mint_id` makes the ids of events and of the session, `epoch` names a new outbox; both are random where
    they are not given.
    """

    name = "agent"

    def __init__(
        self,
        settings: AgentSettings,
        *,
        clock: Clock,
        connect: Connector,
        board: Board,
        threads: bool | None = None,
        mint_id: Callable[[], str] | None = None,
        epoch: str | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.metrics = Metrics()
        self.registry = self.metrics.registry
        self._mint_id: Callable[[datetime], str] = mint if mint_id is None else lambda _: mint_id()
        self._epoch = epoch
        self.session = self._mint_id(clock.now())
        self._clock = clock
        self._connect = connect
        self._board = board
        self._threads = isinstance(clock, RealClock) if threads is None else threads
        self._topics = Topics(settings.root)
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._accepting: set[asyncio.Future[tuple[str, ...]]] = set()
        self._states = States(clock, self._publish_state, lambda: bool(self._accepting))
        self._promised: dict[str, tuple[Durability, Priority]] = {
            name: (sensor.committed_to, sensor.priority) for name, sensor in settings.sensors.items()
        }
        self._stopping = False
        self._abandoned = False
        self._sending = 0
        """The connection in which the outbox was let send last."""
        self._tick: Timer | None = None
        self._server: Server | None = None
        self.sensors: dict[str, Supervisor] = {}
        self.outputs: dict[str, Output] = {}

    @property
    def port(self) -> int | None:
        """The port of the status server, once started; None without one."""
        return None if self._server is None else self._server.port

    @property
    def counters(self) -> OutboxCounters:
        """What its outbox has done."""
        return self._outbox.counters

    @property
    def backlog(self) -> int:
        """Events that are not confirmed."""
        return self._outbox.backlog

    async def __aenter__(self) -> Self:
        """Start: the disk first, so that nothing is seen before it can be kept; the broker last, it may be away."""
        settings = self.settings
        try:
            self._outbox = await self._stack.enter_async_context(self._new_outbox())
            self.metrics.watch(self._outbox)
            Disk(settings.state_dir, self.registry)
            self._presence = Presence(
                settings,
                session=self.session,
                clock=self._clock,
                backlog=lambda: self._outbox.backlog,
                publish=self._publish,
            )
            self._transport: Transport = self._connect(
                client_id(settings.site, "agent", settings.node), self, will=self._presence.will()
            )
            self._subscribing = Subscribing(self._transport, self._clock, self._subscribe, self._refused)
            self._outbox.attach(self._transport)
            self._open_outputs()
            self._plan_sensors()
            self._require_health()
            if settings.http is not None:
                self._server = status_server(self.health, self.registry, settings.http.host, settings.http.port)
                await self._start_server(self._server)
            await self._transport.__aenter__()
        except BaseException:
            await self._close()
            raise
        self._start_tasks()
        self._on_tick()
        _log.info(
            "The agent has started",
            extra={
                "op": "start",
                "node": settings.node,
                "board": self._board.description,
                "pin_factory": driver_name(self._board.pin_factory),
                "session": self.session,
            },
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop, in this order.

        1. Sensors: no more edges, so that nothing is seen that cannot be kept.
        2. Outputs off: nobody can command them any more, and the broker still hears their last state.
        3. The outbox's last commit: what was seen is on the disk before we say goodbye.
        4. The broker: values are no longer watched, `offline`, a clean disconnect.
        5. The status server, the outbox's file, and the outputs' pins last: they stay off until then.
        """
        self._stopping = True
        if self._tick is not None:
            self._tick.cancel()
        try:
            await self._stop_tasks()
            for output in self.outputs.values():
                output.stop()
                self._publish_output(output.name)
            await self._drain()
            self._states.stop()
            for sensor in self.sensors.values():
                sensor.stop("the agent has stopped")
            self._presence.stop()
            self._transport.set_farewell(self._presence.farewell())
            await self._transport.__aexit__(*exc)
        finally:
            await self._close()
        _log.info("The agent has stopped", extra={"op": "stop", "node": self.settings.node})

    def abandon(self) -> None:
        """Let go of everything at once, as a kill of the process does: nothing more is seen, committed or said.

        Only without threads; the connection to the broker is for whoever made it to cut. The pins are free when the
        loop has turned.
        """
        self._stopping = self._abandoned = True
        if self._tick is not None:
            self._tick.cancel()
        for task in self._tasks:
            task.cancel()
        self._states.abandon()
        self._presence.stop()
        self._outbox.abandon()
        for output in self.outputs.values():
            output.abandon()

    async def failed(self) -> None:
        """Wait until a long-lived task ends, which none ever should, and raise why."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def connected(self, generation: int, *, session_present: bool) -> None:
        """The transport has a connection: be born, show every state, subscribe, then send what waits."""
        _log.info(
            "Connected to the broker",
            extra={"op": "connected", "generation": generation, "session_present": session_present},
        )
        self.metrics.connected.set(1)
        self.metrics.connections.inc()
        info = birth(
            self.settings,
            self._board,
            self.sensors,
            session=self.session,
            epoch=self._outbox.epoch,
            port=self.port,
            address=self._transport.local_address,
        )
        self._presence.connected(info)
        for name in self.sensors:
            self.state_changed(name)
        for name in self.outputs:
            self._publish_output(name)
        if self._stopping:
            return
        self._subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        """The transport has lost its connection; it comes back by itself."""
        _log.log(
            logging.INFO if self._stopping else logging.WARNING,
            "Disconnected from the broker",
            extra={"op": "disconnected", "generation": generation, "reason": reason},
        )
        self.metrics.connected.set(0)
        self._outbox.disconnected()

    def received(self, batch: Sequence[Delivery]) -> None:
        """Confirmations, commands, and our own status. Acknowledged at once: none is worth a second delivery."""
        for delivery in batch:
            message = delivery.message
            topic = self._topics.parse(message.topic)
            match topic:
                case NodeTopic(leaf="confirm"):
                    self._outbox.confirmed(message.payload)
                case NodeTopic(leaf="status"):
                    self._presence.heard(message.payload)
                case DispatcherTopic(leaf="marker"):
                    self._outbox.heard()
                case OutputTopic(output=name, leaf="set") if name in self.outputs:
                    self.outputs[name].receive(message.payload, retained=message.retain)
                case _:
                    _log.warning("A message for nobody", extra={"op": "received", "topic": message.topic})
        self._transport.acknowledge(batch)

    def observed(self, sensor: str, seen: Observation, now: float) -> None:
        """A sensor's event goes into the outbox; from its commit on it is promised (PROTOCOL.md, "Accepted")."""
        if self._abandoned:
            return  # an edge that was on its way to a process that is no more
        accepted = self._outbox.accept([(sensor, seen, *self._promised[sensor])], now)
        if accepted.done():
            self._accepted(sensor, accepted)
            return
        self._accepting.add(accepted)
        accepted.add_done_callback(functools.partial(self._accepted, sensor))

    def state_changed(self, sensor: str) -> None:
        """A sensor's state is another one than before."""
        self._states.changed(sensor)

    def _new_outbox(self) -> Outbox:
        settings = self.settings
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        return Outbox(
            settings.state_dir / "outbox.db",
            self._topics,
            settings.site,
            settings.node,
            self._clock,
            settings.outbox,
            mint_id=self._mint_id,
            epoch=self._epoch,
            threads=self._threads,
        )

    def _open_outputs(self) -> None:
        for name, settings in self.settings.outputs.items():
            self.outputs[name] = Output(
                name,
                settings,
                board=self._board,
                clock=self._clock,
                metrics=self.metrics,
                changed=self._publish_output,
            )
            self.outputs[name].open()

    def _plan_sensors(self) -> None:
        readers: dict[str, Reader] = {}
        for name, settings in self.settings.sensors.items():
            plan = settings.plan()
            known = self._outbox.level(name)
            self.sensors[name] = Supervisor(
                name,
                settings.KIND,
                plan,
                board=self._board,
                clock=self._clock,
                reader=self._reader(name, plan, readers),
                sink=self,
                metrics=self.metrics,
                known={} if known is None else plan.interpreter.known(known.name, known.value),
                limits=settings.limits,
                quiet_s=0.0 if known is None or isinstance(plan.source, Polled) else self._age_s(known.time),
            )
        self.metrics.watch_sensors(self.sensors.values())
        for reader in readers.values():
            self._stack.callback(reader.close)

    def _age_s(self, at: datetime) -> float:
        """How long ago that was; a clock that was set back makes nothing younger than now."""
        return max(0.0, (self._clock.now() - at).total_seconds())

    def _reader(self, name: str, plan: Plan, readers: dict[str, Reader]) -> Reader:
        queue = (plan.source.queue if isinstance(plan.source, Polled) else None) or f"sensor {name}"
        if queue not in readers:
            readers[queue] = (
                ThreadReader(f"{self.settings.node} {queue}", self._clock)
                if self._threads
                else LoopReader(self._clock, self._board.took_s)
            )
        return readers[queue]

    def _require_health(self) -> None:
        self.health.require_alive("sensors", self._stuck)
        self.health.require_ready("broker", lambda: self._transport.status)
        self.health.require_ready("subscriptions", lambda: self._subscribing.problem)
        self.health.require_ready("outbox", lambda: self._outbox.problem)
        self.health.require_alive(
            "outbox file",
            lambda: (
                f"{self._outbox.journal.path} is damaged; a restart sets it aside"
                if self._outbox.journal.corrupt
                else None
            ),
        )

    async def _start_server(self, server: Server) -> None:
        try:
            await server.start()
        except OSError as error:
            assert self.settings.http is not None
            address = f"{self.settings.http.host}:{self.settings.http.port}"
            message = (
                f"cannot serve health and metrics on {address}: {error.strerror or error}; set http: {{port: ...}}"
            )
            raise BridgeError(message) from error
        self._stack.push_async_callback(server.stop, drain_s=1.0)

    def _start_tasks(self) -> None:
        loop, node = asyncio.get_running_loop(), self.settings.node
        self._tasks.append(loop.create_task(self._subscribing.run(), name=f"{node} subscribes"))
        for name, sensor in self.sensors.items():
            self._tasks.append(loop.create_task(sensor.run(), name=f"{node} sensor {name}"))

    async def _stop_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        for task, outcome in zip(self._tasks, outcomes, strict=True):
            if isinstance(outcome, Exception):
                _log.error("A task had failed", extra={"op": "stop", "task": task.get_name()}, exc_info=outcome)

    async def _drain(self) -> None:
        if not self._accepting:
            return
        _, late = await asyncio.wait(tuple(self._accepting), timeout=STOP_S)
        if late:
            _log.error("Events are not on the disk at the stop", extra={"op": "stop", "events": len(late)})

    async def _close(self) -> None:
        try:
            await self._stack.aclose()
        finally:
            for output in self.outputs.values():
                output.close()

    async def _subscribe(self) -> None:
        """Subscribe, then let the outbox send: a confirmation must find us listening."""
        site, node = self.settings.site, self.settings.node
        wanted = [
            Subscription(self._topics.confirm(site, node)),
            Subscription(self._topics.status(site, node), qos=0),
        ]
        if self.outputs:
            wanted.append(Subscription(self._topics.output_set(site, node, "+"), retained="never"))
        await self._transport.subscribe(wanted)
        await self._listen_for_dispatchers()
        self._let_send()

    def _refused(self, why: str) -> None:
        """Events go out all the same; unconfirmed they stay in the outbox."""
        _log.error("The broker does not let us subscribe", extra={"op": "subscribe", "reason": why})
        self._let_send()

    def _let_send(self) -> None:
        """Let the outbox send in this connection, if it is not told yet: it begins from the start."""
        generation = self._transport.generation
        if self._transport.connected and self._sending != generation:
            self._sending = generation
            self._outbox.connected(generation)

    async def _listen_for_dispatchers(self) -> None:
        """Hear the marker of a dispatcher that begins to listen; where that is forbidden, `outbox.resend` must do."""
        marker = self._topics.dispatcher(self.settings.site, "+", "marker")
        try:
            await self._transport.subscribe([Subscription(marker, qos=0)])
        except TransportError as error:
            if not self._transport.connected:
                raise
            _log.info(
                "The broker does not tell us when a dispatcher begins to listen",
                extra={"op": "subscribe", "reason": str(error)},
            )

    def _publish(self, message: Message) -> None:
        """Publish now or never: what is retained is published anew with each connection."""
        if self._transport.connected:
            self._transport.publish(message, functools.partial(self._published, message.topic))

    def _publish_state(self, sensor: str, done: Done) -> None:
        """A sensor's retained state: now or never, as above."""
        if not self._transport.connected:
            done(Publication(Sent.LOST, reason="not connected"))
            return
        topic = self._topics.state(self.settings.site, self.settings.node, sensor)

        def published(publication: Publication) -> None:
            self._published(topic, publication)
            done(publication)

        state = self.sensors[sensor].state.document(self._clock.now())
        self._transport.publish(Message(topic, state, retain=True), published)

    def _published(self, topic: str, publication: Publication) -> None:
        if publication.sent is Sent.REFUSED:
            _log.error(
                "The broker refused a message",
                extra={"op": "publish", "topic": topic, "code": publication.code, "reason": publication.reason},
            )

    def _publish_output(self, name: str) -> None:
        topic = self._topics.output_state(self.settings.site, self.settings.node, name)
        self._publish(Message(topic, self.outputs[name].document(), retain=True))

    def _accepted(self, sensor: str, accepted: asyncio.Future[tuple[str, ...]]) -> None:
        self._accepting.discard(accepted)
        if not self._accepting:
            self._states.caught_up()
        if accepted.cancelled():
            return
        error = accepted.exception()
        if error is not None:
            self.metrics.unaccepted.labels(sensor).inc()
            _log.error(
                "An event is lost: the outbox could not store it",
                extra={"op": "accept", "sensor": sensor, "reason": str(error)},
            )

    def _stuck(self) -> str | None:
        return "; ".join(reason for each in self.sensors.values() if (reason := each.stuck())) or None

    def _on_tick(self) -> None:
        self._presence.backlog_changed()
        self._tick = self._clock.call_at(self._clock.monotonic() + TICK_S, self._on_tick)
