"""The bus: the mapping set goes out as a retained message; dispatchers, nodes and sensors say how they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from bridge.clock import Clock
from bridge.core.event import rfc3339
from bridge.core.mapping_document import render
from bridge.core.topics import DispatcherTopic, NodeTopic, SensorStateTopic, Topics, client_id
from bridge.manager.mappings.in_force import InForce
from bridge.manager.nodes import Nodes
from bridge.manager.settings import ManagerSettings
from bridge.manager.targets import Whereabouts, read_whereabouts
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Message, Publication, Sent, Subscription

_log = logging.getLogger(__name__)

_LEAVES: Final = ("status", "info")
DISPATCHERS: Final = 1000
"""So many are remembered; a site has one or two."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a dispatcher has said last."""

    state: str
    version: str | None
    source: str | None
    problem: str | None
    at: str
    where: Whereabouts


class Bus:
    """The manager's connection to the broker; a listener (bridge.mqtt.transport.Listener). The loop owns it."""

    def __init__(
        self, settings: ManagerSettings, in_force: InForce, clock: Clock, connect: Connector, nodes: Nodes
    ) -> None:
        self.dispatchers: dict[str, Heard] = {}
        self._topics = Topics(settings.root)
        self._site = settings.site
        self._in_force = in_force
        self._nodes = nodes
        self._clock = clock
        self._topic = self._topics.mappings(settings.site)
        self._transport = connect(client_id(settings.site, "manager"), self)
        self._subscribing = Subscribing(self._transport, clock, self._subscribe, _refused)
        self._refused: str | None = None
        self.told: list[Callable[[str, Heard | None], None]] = []
        """Told of what each dispatcher says, and (None) of a status that was taken back."""
        self.reconnected: list[Callable[[], None]] = []
        """Told of each connection to the broker."""
        in_force.changed.append(self._publish)

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._subscribing.run(), name="manager hears dispatchers and nodes")
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._transport.__aexit__(*exc)

    async def failed(self) -> None:
        """Wait until the listening ends by an error, and raise it."""
        await asyncio.shield(self._listening)

    def problem(self) -> str | None:
        """Why dispatchers do not hear of a change, if so."""
        return self._transport.status or self._refused or self._subscribing.problem

    @property
    def connected_now(self) -> bool:
        """Whether the broker is there: else all that was heard may be so no more."""
        return self._transport.connected

    @property
    def local_address(self) -> str | None:
        """Our own address in the connection to the broker."""
        return self._transport.local_address

    def document(self) -> dict[str, Any]:
        """The dispatchers, and whether each runs what is in force here."""
        version = self._in_force.mappings.version
        return {
            "version": version,
            "dispatchers": [
                {
                    "id": name,
                    "state": heard.state,
                    "mappings": {"version": heard.version, "from": heard.source, "problem": heard.problem},
                    "current": heard.version == version and heard.state != "offline",
                    "heard_at": heard.at,
                }
                for name, heard in sorted(self.dispatchers.items())
            ],
        }

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        for reconnected in self.reconnected:
            reconnected()
        self._publish()
        self._subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        pass  # the transport's status says it

    def received(self, batch: Sequence[Delivery]) -> None:
        self._transport.acknowledge(batch)
        for delivery in batch:
            message = delivery.message
            topic = self._topics.parse(message.topic)
            if topic is None or topic.site != self._site:
                continue
            if isinstance(topic, DispatcherTopic) and topic.leaf == "status":
                self._hear(topic.dispatcher, message.payload)
            elif isinstance(topic, SensorStateTopic) or (isinstance(topic, NodeTopic) and topic.leaf in _LEAVES):
                self._nodes.hear(topic, message.payload, retained=message.retain)

    def _hear(self, dispatcher: str, payload: bytes) -> None:
        heard = _heard(payload, rfc3339(self._clock.now()))
        if heard is None:
            self.dispatchers.pop(dispatcher, None)
        elif dispatcher in self.dispatchers or len(self.dispatchers) < DISPATCHERS:
            self.dispatchers[dispatcher] = heard
        else:
            return
        for told in self.told:
            told(dispatcher, heard)

    async def _subscribe(self) -> None:
        topics, site = self._topics, self._site
        # What is retained is told anew with every connection: nobody need queue it for us meanwhile.
        wanted = [
            Subscription(topics.dispatcher(site, "+", "status"), retained="always"),
            *(
                Subscription(one, qos=0, retained="always")
                for one in (topics.status(site, "+"), topics.info(site, "+"), topics.state(site, "+", "+"))
            ),
        ]
        await self._transport.subscribe(wanted)

    def _publish(self) -> None:
        if not self._transport.connected:
            return  # it is published when the connection stands
        mappings = self._in_force.mappings
        body = orjson.dumps(
            {
                "version": 1,
                "mappings_version": mappings.version,
                "revision": self._in_force.revision,
                "document": orjson.Fragment(render(mappings)),
            }
        )
        self._transport.publish(Message(self._topic, body, retain=True), self._published)

    def _published(self, publication: Publication) -> None:
        """One that is lost is published again with the next connection."""
        if publication.sent is Sent.ACCEPTED:
            self._refused = None
        elif publication.sent is Sent.REFUSED:
            self._refused = f"the broker refuses {self._topic}: {publication.reason or publication.code}"
            _log.error("mappings cannot be published", extra={"op": "bus.publish", "why": self._refused})


def _refused(why: str) -> None:
    _log.warning("cannot hear dispatchers and nodes", extra={"op": "bus.subscribe", "why": why})


def _heard(payload: bytes, at: str) -> Heard | None:
    """What a status says; None for one that was cleared or says nothing readable."""
    try:
        document = orjson.loads(payload)
        state = document["state"]
        mappings = document.get("mappings") or {}
        told = [mappings.get(key) for key in ("version", "from", "problem")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(state, str):
        return None
    version, source, problem = (one if isinstance(one, str) else None for one in told)
    return Heard(state, version, source, problem, at, read_whereabouts(document))
