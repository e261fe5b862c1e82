"""What hears everything that a house's nodes say to the broker, and speaks as any other MQTT device may."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bridge.core.event import Event, Identity, parse
from bridge.core.tombstone import NAME as TOMBSTONE
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import EventError
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Delivery, Message, Publication, Sent, Subscription

CLIENT_ID = "a-test"


class Ear:
    """An MQTT client; carries out `bridge.mqtt.transport.Listener`. An event that is sent again is heard once."""

    def __init__(self, broker: MemoryBroker, topics: Topics) -> None:
        self.events: list[Event] = []
        self.transport = broker.connect(CLIENT_ID, self)
        self._topics = topics
        self._wanted = topics.event("+", "+", "+")
        self._known: set[Identity] = set()
        self._subscribing: asyncio.Task[None] | None = None

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._subscribing = asyncio.get_running_loop().create_task(self._subscribe(), name="the test listens")

    def disconnected(self, generation: int, reason: str) -> None:
        if self._subscribing is not None:
            self._subscribing.cancel()

    def received(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            topic = self._topics.parse(delivery.message.topic)
            if isinstance(topic, SensorEventTopic):
                try:
                    event = parse(delivery.message.payload, topic)
                except EventError:
                    continue  # no event: the dispatcher makes it a dead letter
                if event.identity not in self._known and event.name != TOMBSTONE:
                    self._known.add(event.identity)
                    self.events.append(event)
        self.transport.acknowledge(batch)

    def publish(self, message: Message) -> None:
        """Publish as any device may. Raises ConnectionError when the broker is not there."""
        answers: list[Publication] = []
        self.transport.publish(message, answers.append)
        if answers and answers[0].sent is Sent.LOST:
            raise ConnectionError(f"nothing can be published to {message.topic} now: {answers[0].reason}")

    async def _subscribe(self) -> None:
        await self.transport.subscribe([Subscription(self._wanted)])
