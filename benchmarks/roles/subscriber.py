"""The subscriber: an MQTT client that notes when each message came; the transport is the programs' own."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Sequence

import orjson

from benchmarks.roles.conversation import Answer, Command, converse, say
from bridge.clock import RealClock
from bridge.mqtt.paho import connector
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.transport import Delivery, Subscription


class Subscriber:
    """Notes what came since the last `reset`; a `bridge.mqtt.transport.Listener`."""

    def __init__(self) -> None:
        self.online = asyncio.Event()
        self._arrived: list[tuple[int, bytes]] = []
        self._wanted = 0
        self._enough = asyncio.Event()

    def connected(self, generation: int, *, session_present: bool) -> None:
        del generation, session_present
        self.online.set()

    def disconnected(self, generation: int, reason: str) -> None:
        del generation, reason

    def received(self, batch: Sequence[Delivery]) -> None:
        at_ns = time.time_ns()
        self._arrived += [(at_ns, delivery.message.payload) for delivery in batch]
        if len(self._arrived) >= self._wanted:
            self._enough.set()

    async def answer(self, command: Command) -> Answer:
        """`reset`; `wait` for a count; `times` of arrival; `report` arrival, id, sequence and time of each event."""
        match command["do"]:
            case "reset":
                self._arrived.clear()
                gc.collect()
                return {}
            case "wait":
                return await self._wait(command["count"], command["within_s"])
            case "times":
                return {"at_ns": [at_ns for at_ns, _ in self._arrived]}
            case "report":
                return {"events": [self._row(at_ns, payload) for at_ns, payload in self._arrived]}
            case other:
                raise ValueError(f"a subscriber cannot {other}")

    async def _wait(self, count: int, within_s: float) -> Answer:
        self._wanted = count
        self._enough.clear()
        if len(self._arrived) < count:
            try:
                async with asyncio.timeout(within_s):
                    await self._enough.wait()
            except TimeoutError:
                pass  # the count says it
        return {"count": len(self._arrived), "last_ns": self._arrived[-1][0] if self._arrived else 0}

    def _row(self, at_ns: int, payload: bytes) -> tuple[int, str, int, str]:
        event = orjson.loads(payload)
        return at_ns, event["id"], int(event["sequence"]), event["time"]


async def main(port: int, topic_filter: str) -> None:
    """Subscribe at QoS 0: what is measured is the way there, not this end's acknowledgements."""
    subscriber, clock = Subscriber(), RealClock("always")
    connect = connector(MqttSettings(port=port, protocol="5", session_expiry_s=0), clock)
    async with connect("benchmark-subscriber", subscriber) as transport:
        async with asyncio.timeout(10):
            await subscriber.online.wait()
            await transport.subscribe([Subscription(topic_filter, qos=0, retained="never")])
        say(ready=True)
        await converse(subscriber.answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("filter")
    arguments = parser.parse_args()
    gc.disable()  # a collection would show up as somebody else's latency
    asyncio.run(main(arguments.port, arguments.filter))
