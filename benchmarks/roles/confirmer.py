"""The confirmer: a dispatcher's half of the promise and nothing else of it; confirms as soon as a dispatcher would.

It takes events at QoS 1 and acknowledges them, as a dispatcher does, and answers with the same documents.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Sequence

import orjson

from benchmarks.roles.conversation import Answer, Command, converse, say
from bridge.clock import RealClock
from bridge.core.confirm import Confirmed, encode
from bridge.core.sequences import Sequences
from bridge.core.topics import SensorEventTopic, Topics
from bridge.dispatcher.confirmations import EVERY_S, SOON
from bridge.mqtt.paho import connector
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.transport import Delivery, Message, Subscription, Transport


class Confirmer:
    """Keeps account of one node's sequences; a `bridge.mqtt.transport.Listener`."""

    def __init__(self) -> None:
        self.online = asyncio.Event()
        self.transport: Transport | None = None
        self._topics = Topics()
        self._known: dict[tuple[str, str, str], tuple[str, Sequences]] = {}
        self._news = asyncio.Event()
        self._untold = 0

    def connected(self, generation: int, *, session_present: bool) -> None:
        del generation, session_present
        self.online.set()

    def disconnected(self, generation: int, reason: str) -> None:
        del generation, reason

    def received(self, batch: Sequence[Delivery]) -> None:
        assert self.transport is not None
        for delivery in batch:
            at = self._topics.parse(delivery.message.topic)
            assert isinstance(at, SensorEventTopic)
            event = orjson.loads(delivery.message.payload)
            place = (at.site, at.node, at.sensor)
            epoch, sequences = self._known.get(place) or (event["epoch"], Sequences())
            self._known[place] = (epoch, sequences)
            sequences.add(int(event["sequence"]))
        self.transport.acknowledge(batch)
        self._untold += len(batch)
        if self._untold >= SOON:  # of one node: there is no other
            self._say()
        else:
            self._news.set()

    async def confirm(self) -> None:
        """Say what came and was not said sooner, at most once a second, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            self._say()
            await asyncio.sleep(EVERY_S)

    def _say(self) -> None:
        assert self.transport is not None
        self._untold = 0
        nodes: dict[tuple[str, str], dict[str, Confirmed]] = {}
        for (site, node, sensor), (epoch, sequences) in self._known.items():
            first, last = sequences.runs[0]
            confirmed = Confirmed(epoch, last if first == 1 else 0, sequences.runs)
            nodes.setdefault((site, node), {})[sensor] = confirmed
        for (site, node), sensors in nodes.items():
            self.transport.publish(Message(self._topics.confirm(site, node), encode(sensors)))


async def _nothing(command: Command) -> Answer:
    raise ValueError(f"a confirmer cannot {command['do']}")


async def main(port: int, topic_filter: str) -> None:
    """Confirm until the input ends."""
    confirmer, clock = Confirmer(), RealClock("always")
    connect = connector(MqttSettings(port=port, protocol="5", session_expiry_s=0), clock)
    async with connect("benchmark-confirmer", confirmer) as transport:
        confirmer.transport = transport
        async with asyncio.timeout(10):
            await confirmer.online.wait()
            await transport.subscribe([Subscription(topic_filter)])
        confirming = asyncio.create_task(confirmer.confirm(), name="confirm")
        say(ready=True)
        await converse(_nothing)
        confirming.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("filter")
    arguments = parser.parse_args()
    gc.disable()  # a collection would show up as somebody else's latency
    asyncio.run(main(arguments.port, arguments.filter))
