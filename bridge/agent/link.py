"""The link: an agent's side of its connection to the broker.

What it says there besides events, which the outbox sends: its birth, and the states of sensors and outputs. What it
hears: confirmations, commands, a dispatcher that begins to listen, and its own status.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence

from bridge.agent.board import Board
from bridge.agent.metrics import Metrics
from bridge.agent.outbox import Outbox
from bridge.agent.outputs import Output
from bridge.agent.presence import Presence, birth
from bridge.agent.sensing import Sensing
from bridge.agent.settings import AgentSettings
from bridge.clock import Clock, Timer
from bridge.core.topics import DispatcherTopic, NodeTopic, OutputTopic, Topics, client_id
from bridge.errors import TransportError
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Done, Message, Publication, Sent, Subscription

_log = logging.getLogger(__name__)

TICK_S = 1.0
"""How often the backlog is looked at."""


class Link:
    """A listener (bridge.mqtt.transport.Listener) and its transport; attaches both to outbox and sensing.

    `start` it, run `subscribing`, and end with `stopping` and `stop`. `port` is that of health and metrics, once they
    are served. The loop owns it.
    """

    def __init__(
        self,
        settings: AgentSettings,
        *,
        session: str,
        clock: Clock,
        connect: Connector,
        board: Board,
        outbox: Outbox,
        sensing: Sensing,
        outputs: Mapping[str, Output],
        metrics: Metrics,
        port: Callable[[], int | None],
    ) -> None:
        self._settings = settings
        self._session = session
        self._clock = clock
        self._board = board
        self._outbox = outbox
        self._sensing = sensing
        self._outputs = outputs
        self._metrics = metrics
        self._port = port
        self._topics = Topics(settings.root)
        self._presence = Presence(
            settings, session=session, clock=clock, backlog=lambda: outbox.backlog, publish=self._publish
        )
        self._transport = connect(client_id(settings.site, "agent", settings.node), self, will=self._presence.will())
        self.subscribing = Subscribing(self._transport, clock, self._subscribe, self._refused)
        self._sending = 0
        """The connection in which the outbox was let send last."""
        self._stopping = False
        self._tick: Timer | None = None
        outbox.attach(self._transport)
        sensing.attach(self._show_state)

    @property
    def problem(self) -> str | None:
        """For health: why there is no connection; None when there is one."""
        return self._transport.status

    async def start(self) -> None:
        """Begin to connect; the broker may be away."""
        await self._transport.__aenter__()
        self._on_tick()

    def stopping(self) -> None:
        """The agent stops: subscribe no more, and tell the backlog no more."""
        self._stopping = True
        if self._tick is not None:
            self._tick.cancel()

    async def stop(self) -> None:
        """Say `offline`, and disconnect cleanly."""
        self._presence.stop()
        self._transport.set_farewell(self._presence.farewell())
        await self._transport.__aexit__(None, None, None)

    def abandon(self) -> None:
        """Say nothing more; the connection is for whoever made it to cut."""
        self.stopping()
        self._presence.stop()

    def show_output(self, name: str) -> None:
        """An output's state is another one than before."""
        topic = self._topics.output_state(self._settings.site, self._settings.node, name)
        self._publish(Message(topic, self._outputs[name].document(), retain=True))

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        """Be born, show every state, subscribe, then send what waits."""
        _log.info(
            "Connected to the broker",
            extra={"op": "connected", "generation": generation, "session_present": session_present},
        )
        self._metrics.connected.set(1)
        self._metrics.connections.inc()
        info = birth(
            self._settings,
            self._board,
            self._sensing.sensors,
            session=self._session,
            epoch=self._outbox.epoch,
            port=self._port(),
            address=self._transport.local_address,
        )
        self._presence.connected(info)
        self._sensing.show_all()
        for name in self._outputs:
            self.show_output(name)
        if not self._stopping:
            self.subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        """It comes back by itself."""
        _log.log(
            logging.INFO if self._stopping else logging.WARNING,
            "Disconnected from the broker",
            extra={"op": "disconnected", "generation": generation, "reason": reason},
        )
        self._metrics.connected.set(0)
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
                case OutputTopic(output=name, leaf="set") if name in self._outputs:
                    self._outputs[name].receive(message.payload, retained=message.retain)
                case _:
                    _log.warning("A message for nobody", extra={"op": "received", "topic": message.topic})
        self._transport.acknowledge(batch)

    # --- subscribing ---

    async def _subscribe(self) -> None:
        """Subscribe, then let the outbox send: a confirmation must find us listening."""
        site, node = self._settings.site, self._settings.node
        wanted = [
            Subscription(self._topics.confirm(site, node)),
            Subscription(self._topics.status(site, node), qos=0),
        ]
        if self._outputs:
            wanted.append(Subscription(self._topics.output_set(site, node, "+"), retained="never"))
        await self._transport.subscribe(wanted)
        await self._listen_for_dispatchers()
        self._let_send()

    async def _listen_for_dispatchers(self) -> None:
        """Hear the marker of a dispatcher that begins to listen; where that is forbidden, `outbox.resend` must do."""
        marker = self._topics.dispatcher(self._settings.site, "+", "marker")
        try:
            await self._transport.subscribe([Subscription(marker, qos=0)])
        except TransportError as error:
            if not self._transport.connected:
                raise
            _log.info(
                "The broker does not tell us when a dispatcher begins to listen",
                extra={"op": "subscribe", "reason": str(error)},
            )

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

    # --- publishing ---

    def _publish(self, message: Message) -> None:
        """Publish now or never: what is retained is published anew with each connection."""
        if self._transport.connected:
            self._transport.publish(message, functools.partial(self._published, message.topic))

    def _show_state(self, sensor: str, done: Done) -> None:
        """A sensor's retained state: now or never, as above."""
        if not self._transport.connected:
            done(Publication(Sent.LOST, reason="not connected"))
            return
        topic = self._topics.state(self._settings.site, self._settings.node, sensor)

        def published(publication: Publication) -> None:
            self._published(topic, publication)
            done(publication)

        state = self._sensing.sensors[sensor].state.document(self._clock.now())
        self._transport.publish(Message(topic, state, retain=True), published)

    def _published(self, topic: str, publication: Publication) -> None:
        if publication.sent is Sent.REFUSED:
            _log.error(
                "The broker refused a message",
                extra={"op": "publish", "topic": topic, "code": publication.code, "reason": publication.reason},
            )

    def _on_tick(self) -> None:
        self._presence.backlog_changed()
        self._tick = self._clock.call_at(self._clock.monotonic() + TICK_S, self._on_tick)
