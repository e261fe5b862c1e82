"""The agent as it is on a Pi but for its pins: over paho, to a real Mosquitto, with real time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import pytest

from bridge.agent.agent import Agent
from bridge.agent.settings import AgentSettings
from bridge.clock import RealClock
from bridge.core.confirm import Confirmed
from bridge.core.confirm import encode as encode_confirm
from bridge.core.event import Event, parse
from bridge.core.topics import SensorEventTopic, Topics
from bridge.mqtt.paho import connector
from bridge.mqtt.transport import Delivery, Message, Subscription, Transport
from bridge.virtual.board import VirtualBoard
from tests.mosquitto import Mosquitto

Load = Callable[[str], AgentSettings]
Until = Callable[[Callable[[], object]], Awaitable[None]]

BASE = "gpio-bridge/v1/home/nodes/pi-1"


class Ear:
    """Hears the node as a dispatcher does, and confirms each event."""

    transport: Transport

    def __init__(self) -> None:
        self.events: dict[tuple[str, int], Event] = {}
        self.statuses: list[str] = []
        self.subscribed = False

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.ready = asyncio.ensure_future(self._subscribe())

    def disconnected(self, generation: int, reason: str) -> None:
        self.subscribed = False

    def received(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            topic = Topics().parse(delivery.message.topic)
            if isinstance(topic, SensorEventTopic):
                event = parse(delivery.message.payload, topic)
                self.events[topic.sensor, event.sequence or 0] = event
            elif delivery.message.topic.endswith("/status"):
                self.statuses.append(orjson.loads(delivery.message.payload)["state"])
        confirmed = {
            sensor: Confirmed(event.epoch or "", self.through(sensor)) for (sensor, _), event in self.events.items()
        }
        self.transport.acknowledge(batch)
        if confirmed:
            self.transport.publish(Message(f"{BASE}/confirm", encode_confirm(confirmed)))

    def through(self, sensor: str) -> int:
        """The highest sequence up to which nothing is missing."""
        sequence = 0
        while (sensor, sequence + 1) in self.events:
            sequence += 1
        return sequence

    async def _subscribe(self) -> None:
        await self.transport.subscribe([Subscription(f"{BASE}/sensors/+/event"), Subscription(f"{BASE}/status")])
        self.subscribed = True


@pytest.mark.real("mosquitto")
async def test_no_edge_is_lost_while_the_broker_is_killed_and_forgets(
    load_agent: Load, until: Until, tmp_path: Path
) -> None:
    settings = load_agent("""
        version: 1
        node: pi-1
        state_dir: state
        http: null
        clock: always
        outbox: {resend: 1s}
        sensors:
          gate: {kind: laser-tripwire, pin: 27, debounce: 0}
        """)
    board = VirtualBoard(settings)
    ear, clock = Ear(), RealClock("always")
    try:
        with Mosquitto(tmp_path) as broker:
            connect = connector(broker.settings, clock)
            ear.transport = connect("ear", ear)
            async with ear.transport:
                async with Agent(board.settings, clock=clock, connect=connect, board=board) as agent:
                    await until(lambda: ear.subscribed and ear.through("gate") == 1)
                    for i in range(100):
                        await board.drive("gate", "break" if i % 2 == 0 else "restore")
                        if i == 30:
                            broker.kill()
                            broker.wipe()
                        if i == 70:
                            broker.start()
                    await until(lambda: ear.through("gate") == 101)
                    await until(lambda: agent._outbox.backlog == 0)
                    assert ear.statuses[-1] == "online"
                await until(lambda: ear.statuses[-1] == "offline")
    finally:
        board.close()

    names = [ear.events["gate", sequence].name for sequence in range(1, 102)]
    assert names == ["beam.restored", *["beam.broken", "beam.restored"] * 50]
