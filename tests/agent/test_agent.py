"""The whole agent, on a virtual Pi and a broker in memory."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.agent.agent import Agent
from bridge.agent.settings import AgentSettings
from bridge.clock import Clock, RealClock, VirtualClock
from bridge.core.confirm import Confirmed
from bridge.core.confirm import encode as encode_confirm
from bridge.core.event import Event, parse
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import BridgeError, TransportError
from bridge.mqtt.memory import MemoryBroker, MemoryTransport
from bridge.mqtt.subscribing import SUBSCRIBE_AGAIN_S
from bridge.mqtt.transport import Connector, Delivery, Listener, Message, Subscription, Transport
from bridge.virtual.board import VirtualBoard

Load = Callable[[str], AgentSettings]
Until = Callable[[Callable[[], object]], Awaitable[None]]

FILE = """
    version: 1
    node: pi-1
    state_dir: state
    http: null
    outbox: {resend: 5s}
    sensors:
      front-door: {kind: pir, pin: 17, warm_up: 0}
      boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 10s, high: 70, hysteresis: 2}
    outputs:
      siren: {kind: relay, pin: 24, max_on: 30s}
    """
BASE = "gpio-bridge/v1/home/nodes/pi-1"
CLIENT = "gpio-bridge-home-agent-pi-1"


class Ear:
    """A client that hears everything of the node, and may confirm it as a dispatcher would."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.messages: list[Message] = []
        self.transport: MemoryTransport = broker.connect("ear", self)
        self.confirming = True

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.ready = asyncio.ensure_future(self.transport.subscribe([Subscription(f"{BASE}/#")]))

    def disconnected(self, generation: int, reason: str) -> None: ...

    def received(self, batch: Sequence[Delivery]) -> None:
        self.messages += [delivery.message for delivery in batch]
        self.transport.acknowledge(batch)
        if self.confirming and any("/event" in delivery.message.topic for delivery in batch):
            done = {event.sensor or "": Confirmed(event.epoch or "", event.sequence or 0) for event in self.events()}
            self.transport.publish(Message(f"{BASE}/confirm", encode_confirm(done)))

    def events(self, sensor: str | None = None) -> list[Event]:
        topics = Topics()
        found = []
        for message in self.messages:
            topic = topics.parse(message.topic)
            if isinstance(topic, SensorEventTopic) and sensor in (None, topic.sensor):
                assert not message.retain
                found.append(parse(message.payload, topic))
        return found

    def names(self, sensor: str) -> list[str]:
        return [f"{event.name}{' (initial)' if event.initial else ''}" for event in self.events(sensor)]


@dataclass
class Bench:
    time: Clock
    broker: MemoryBroker
    board: VirtualBoard
    ear: Ear
    agent: Agent

    @property
    def clock(self) -> VirtualClock:
        assert isinstance(self.time, VirtualClock)
        return self.time

    def retained(self, leaf: str) -> dict[str, Any]:
        message = self.broker.retained(f"{BASE}/{leaf}")
        document: dict[str, Any] = {} if message is None else orjson.loads(message.payload)
        return document

    async def command(self, **command: object) -> None:
        self.ear.transport.publish(Message(f"{BASE}/outputs/siren/set", orjson.dumps(command)))


class Forbidding:
    """Connects to a broker that grants no subscription as long as it is `forbidden`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.forbidden = True
        self._broker = broker

    def __call__(self, client_id: str, listener: Listener, *, will: Message | None = None) -> Transport:
        transport = self._broker.connect(client_id, listener, will=will)
        granted = transport.subscribe

        async def subscribe(subscriptions: Sequence[Subscription]) -> None:
            if self.forbidden:
                raise TransportError("the broker refused to subscribe")
            await granted(subscriptions)

        transport.subscribe = subscribe  # type: ignore[method-assign] # this one transport is refused
        return transport


class Benches:
    """Starts agents on boards that survive them, with one broker and one state folder."""

    def __init__(self, settings: AgentSettings, clock: Clock) -> None:
        self.clock = clock
        self.broker = MemoryBroker(clock)
        self.connect: Connector = self.broker.connect
        self.board = VirtualBoard(settings)
        self.ear = Ear(self.broker)
        self.listening = False

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Bench]:
        async with AsyncExitStack() as stack:
            if not self.listening:
                self.listening = True
                await self.ear.transport.__aenter__()
            agent = await stack.enter_async_context(
                Agent(self.board.settings, clock=self.clock, connect=self.connect, board=self.board)
            )
            if isinstance(self.clock, VirtualClock):
                # Every pin is open and its contact at rest: what is driven from now on is an edge.
                await self.clock.advance(0.1)
            yield Bench(self.clock, self.broker, self.board, self.ear, agent)


@pytest.fixture
async def benches(load_agent: Load) -> AsyncIterator[Callable[..., Benches]]:
    made: list[Benches] = []

    def make(text: str = FILE, clock: Clock | None = None) -> Benches:
        made.append(Benches(load_agent(text), clock or VirtualClock()))
        return made[-1]

    yield make
    for each in made:
        if each.listening:
            await each.ear.transport.__aexit__()
        each.board.close()


Make = Callable[..., Benches]


async def test_a_pin_becomes_an_event_and_a_retained_state(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.ear.names("front-door") == ["motion.ended (initial)"])
        await bench.board.drive("front-door", "motion")
        await until(lambda: len(bench.ear.events("front-door")) == 2)

        event = bench.ear.events("front-door")[1]
        assert (event.name, event.sequence, event.data["value"], event.timesynced) == ("motion.detected", 2, True, True)
        state = bench.retained("sensors/front-door/state")
        assert (state["value"], state["event"], state["health"]) == (True, "motion.detected", "ok")


async def test_a_node_is_born_with_what_it_has(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.retained("info"))
        info = bench.retained("info")

        assert info["sensors"]["front-door"] == {
            "kind": "pir",
            "unit": None,
            "events": ["motion.detected", "motion.ended"],
        }
        assert info["outputs"] == {"siren": {"kind": "relay"}}
        assert info["board"].startswith("virtual Raspberry Pi 5B")
        assert info["pin_factory"] == "mock"
        assert info["session"] == bench.retained("status")["session"] == bench.agent.session
        assert info["configuration"] == bench.agent.settings.configuration_hash()
        assert info["http"] == (None if bench.agent.port is None else {"host": "127.0.0.1", "port": bench.agent.port})


async def test_a_node_says_offline_itself_before_a_clean_disconnect_and_its_values_are_stale(
    benches: Make, until: Until
) -> None:
    made = benches()
    async with made.run() as bench:
        await until(lambda: bench.retained("status").get("state") == "online")
    assert bench.retained("status")["state"] == "offline"
    state = bench.retained("sensors/front-door/state")
    assert (state["value"], state["health"], state["reason"]) == (None, "stale", "the agent has stopped")
    assert bench.retained("outputs/siren/state")["why"] == "stop"


async def test_a_broken_connection_is_told_by_the_last_will_and_corrected_after_the_reconnect(
    benches: Make, until: Until
) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.retained("status").get("state") == "online")
        bench.broker.drop(CLIENT)
        await bench.clock.settle()
        assert bench.retained("status")["state"] == "offline"
        await bench.clock.advance(2)
        assert bench.retained("status")["state"] == "online"


async def test_a_late_will_of_a_connection_before_is_contradicted(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.broker.subscriptions(CLIENT))
        late = orjson.dumps({"version": 1, "state": "offline", "session": bench.agent.session, "backlog": 0})
        bench.ear.transport.publish(Message(f"{BASE}/status", late, retain=True))
        await bench.clock.settle()

        assert bench.retained("status")["state"] == "online"


async def test_events_seen_without_a_broker_are_sent_when_it_comes_and_the_backlog_is_told(
    benches: Make, until: Until
) -> None:
    made = benches()
    made.broker.stop()
    async with made.run() as bench:
        assert "broker" in bench.agent.health.not_ready()
        for _ in range(3):
            await bench.board.drive("front-door", "motion")
            await bench.clock.advance(1)
            await bench.board.drive("front-door", "still")
            await bench.clock.advance(1)
        await until(lambda: bench.agent._outbox.counters.accepted == 9)
        bench.broker.start()
        await bench.clock.advance(1)
        await until(lambda: len(bench.ear.events("front-door")) == 7)

        statuses = [orjson.loads(m.payload)["backlog"] for m in bench.ear.messages if m.topic.endswith("/status")]
        assert statuses[0] == 9
        await bench.clock.advance(2)
        await until(lambda: bench.retained("status")["backlog"] == 0)
        assert bench.agent.health.not_ready() == {}


async def test_the_status_is_told_at_most_once_a_second(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.ear.events("boiler"))
        await bench.clock.advance(3)
        before = sum(message.topic.endswith("/status") for message in bench.ear.messages)
        for _ in range(20):
            await bench.board.drive("front-door", "motion")
            await bench.clock.advance(0.1)
            await bench.board.drive("front-door", "still")
            await bench.clock.advance(0.1)
        after = sum(message.topic.endswith("/status") for message in bench.ear.messages)

        assert after - before <= 5


async def test_an_event_survives_an_agent_that_was_away_and_is_the_same_afterwards(benches: Make, until: Until) -> None:
    made = benches()
    made.broker.stop()
    async with made.run() as bench:
        await bench.board.drive("front-door", "motion")
        await bench.clock.advance(1)
    made.broker.start()
    await bench.clock.advance(2)
    async with made.run() as bench:
        await bench.clock.advance(2)
        await until(lambda: len(bench.ear.events("front-door")) >= 2)

        assert bench.ear.names("front-door") == ["motion.ended (initial)", "motion.detected"]
        assert [event.sequence for event in bench.ear.events("front-door")] == [1, 2]


async def test_a_level_that_changed_while_the_agent_was_down_is_an_initial_event(benches: Make, until: Until) -> None:
    made = benches()
    async with made.run() as bench:
        await until(lambda: bench.ear.names("front-door") == ["motion.ended (initial)"])
    await made.board.drive("front-door", "motion")
    async with made.run() as bench:
        await until(lambda: len(bench.ear.events("front-door")) == 2)
        assert bench.ear.names("front-door")[1:] == ["motion.detected (initial)"]
    async with made.run() as bench:
        await until(lambda: bench.retained("sensors/front-door/state").get("value") is True)
        assert len(bench.ear.events("front-door")) == 2


async def test_one_broken_sensor_does_not_stop_another(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: len(bench.ear.events("boiler")) == 2)
        await bench.board.drive("boiler", "missing")
        await bench.clock.advance(10)
        await until(lambda: bench.ear.names("boiler")[2:] == ["sensor.fault"])
        assert bench.retained("sensors/boiler/state")["health"] == "fault"
        assert "28-0316a2795cff is not on the 1-Wire bus" in bench.ear.events("boiler")[2].data["value"]

        await bench.board.drive("front-door", "motion")
        await until(lambda: "motion.detected" in bench.ear.names("front-door"))

        await bench.board.drive("boiler", "75")
        await bench.clock.advance(60)
        await until(lambda: len(bench.ear.events("boiler")) == 6)
        assert bench.ear.names("boiler")[3:] == [
            "sensor.recovered",
            "temperature.changed (initial)",
            "temperature.high (initial)",
        ]
        assert bench.agent.health.not_alive() == {}


async def test_commands_move_outputs_and_rule_5_retained_ones_do_not(benches: Make, until: Until) -> None:
    made = benches()
    async with made.run() as bench:
        await until(lambda: bench.broker.subscriptions(CLIENT))
        await bench.command(id="c1", value=True)
        await until(lambda: bench.retained("outputs/siren/state").get("value") is True)
        assert bench.board.pin_factory.pin(24).state == 1
        await bench.clock.advance(30)
        assert bench.retained("outputs/siren/state")["why"] == "max_on"

        bench.ear.transport.publish(Message(f"{BASE}/outputs/siren/set", b'{"id": "c2", "value": true}', retain=True))
        await bench.clock.settle()
    assert made.board.pin_factory.pin(24).state == 0
    async with made.run() as bench:
        await bench.clock.advance(2)
        assert bench.retained("outputs/siren/state")["value"] is False


async def test_a_connection_that_comes_back_finds_every_state_told_again(benches: Make, until: Until) -> None:
    async with benches().run() as bench:
        await until(lambda: bench.ear.events("boiler"))
        bench.broker.forget()
        await bench.clock.advance(5)
        await until(lambda: bench.retained("sensors/boiler/state").get("health") == "ok")
        assert bench.retained("status")["state"] == "online"
        assert bench.retained("info")["node"] == "pi-1"
        assert bench.retained("outputs/siren/state")["value"] is False
        assert set(bench.broker.subscriptions(CLIENT)) == {
            f"{BASE}/confirm",
            "gpio-bridge/v1/home/dispatchers/+/marker",
            f"{BASE}/status",
            f"{BASE}/outputs/+/set",
        }


async def test_events_go_out_though_the_broker_lets_us_hear_nothing_and_are_confirmed_once_it_does(
    benches: Make, until: Until
) -> None:
    made = benches()
    made.connect = forbidding = Forbidding(made.broker)
    async with made.run() as bench:
        await until(lambda: bench.ear.names("front-door") == ["motion.ended (initial)"])
        assert bench.agent.health.not_ready()["subscriptions"] == "the broker refused to subscribe"
        assert bench.agent.backlog > 0

        forbidding.forbidden = False
        await bench.clock.advance(SUBSCRIBE_AGAIN_S)
        assert "subscriptions" not in bench.agent.health.not_ready()
        await bench.board.drive("front-door", "motion")
        await until(lambda: bench.ear.names("front-door")[-1] == "motion.detected")
        await until(lambda: bench.agent.backlog == 0)


async def test_health_and_metrics_are_served(benches: Make, until: Until) -> None:
    async with benches(FILE.replace("http: null", "http: {port: 0}"), RealClock("always")).run() as bench:
        url = f"http://127.0.0.1:{bench.agent.port}"

        def get(path: str) -> str:
            with urllib.request.urlopen(url + path, timeout=60) as answer:
                text: str = answer.read().decode()
                return text

        await until(lambda: len(bench.ear.events()) >= 3)
        assert '"alive":true' in await asyncio.to_thread(get, "/healthz")
        metrics = await asyncio.to_thread(get, "/metrics")
        assert 'gpio_bridge_agent_events_total{event="motion.ended",sensor="front-door"} 1.0' in metrics
        assert 'gpio_bridge_agent_sensor_health{health="ok",sensor="boiler"} 1.0' in metrics
        assert "gpio_bridge_agent_outbox_accepted_total" in metrics
        assert 'gpio_bridge_agent_sensor_limit{limit="stuck",sensor="front-door"} 3600.0' in metrics
        assert 'gpio_bridge_agent_sensor_unchanged_seconds{sensor="front-door"} 0.0' in metrics
        assert 'gpio_bridge_agent_sensor_silent_seconds{sensor="boiler"} ' in metrics
        assert "\ngpio_bridge_disk_free_bytes " in metrics
        names = {line.split("{")[0].split(" ")[0] for line in metrics.splitlines() if not line.startswith("#")}
        assert all(name.startswith(("gpio_bridge_agent_", "gpio_bridge_disk_")) for name in names)


async def test_a_hung_thermometer_is_a_fault_and_delays_nobody(benches: Make, until: Until) -> None:
    text = FILE.replace("every: 10s", "every: 1s, timeout: 50ms")
    async with benches(text, RealClock("always")).run() as bench:
        await until(lambda: len(bench.ear.events("boiler")) >= 2)
        await bench.board.drive("boiler", "slow")
        await until(lambda: "sensor.fault" in bench.ear.names("boiler"))
        await until(lambda: "took longer than 50ms" in str(bench.retained("sensors/boiler/state")["reason"]))
        await bench.board.drive("front-door", "motion")
        await until(lambda: "motion.detected" in bench.ear.names("front-door"))


async def test_a_port_that_is_taken_is_an_error_that_says_what_to_set(benches: Make, tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = benches(FILE.replace("http: null", f"http: {{port: {port}}}"))
    with pytest.raises(BridgeError, match=rf"cannot serve health and metrics on 127\.0\.0\.1:{port}: .*set http"):
        async with made.run():
            pass
    server.close()
    await server.wait_closed()


async def test_an_agent_on_a_broker_that_never_answers_stops_within_seconds(benches: Make) -> None:
    made = benches()
    made.broker.stop()
    async with asyncio.timeout(60), made.run() as bench:
        await bench.clock.settle()
