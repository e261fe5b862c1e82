"""Rule 17 on real parts: two dispatcher processes, a real Mosquitto, and the one at work killed under load."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from bridge.clock import RealClock
from bridge.core.topics import Topics
from bridge.mqtt.paho import connector
from bridge.mqtt.transport import Subscription
from tests.dispatcher.conftest import FRONT_DOOR, Client, motion, until
from tests.mosquitto import Mosquitto
from tests.ports import free_port
from tests.real_parts import require
from tests.system.processes import ask

MAPPINGS = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 100, first: 50ms, max: 200ms}
"""
EVENTS = 300


class Sink:
    """Plays the gateway: takes 5 ms for a call and keeps the order of first occurrences."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(0.005)
        self.calls.append(request.headers["X-Event-Id"])
        return web.Response()

    @property
    def first_occurrences(self) -> list[str]:
        return list(dict.fromkeys(self.calls))


class Spare:
    """One dispatcher process of the pair."""

    def __init__(self, folder: Path, name: str, mqtt_port: int, gateway: str) -> None:
        self.name = name
        self.port = free_port()
        self._config = folder / f"{name}.yaml"
        self._config.write_text(
            f"version: 1\nid: {name}\nstate_dir: {name}\nmappings: mappings.yaml\nclock: always\n"
            f"mqtt: {{port: {mqtt_port}}}\ngateway: {{url: '{gateway}'}}\nhttp: {{port: {self.port}}}\n"
            "standby: {takeover_after: 500ms}\n",
            encoding="utf-8",
        )
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._config.with_suffix(".log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bridge", "dispatcher", "--config", str(self._config)), stderr=log
            )

    async def end(self, number: int) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            os.kill(self.process.pid, number)
        return await asyncio.wait_for(self.process.wait(), 60)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_rule_17_the_standby_takes_over_from_one_that_is_killed_under_load(
    tmp_path: Path, stack: AsyncExitStack, number: int
) -> None:
    require("mosquitto")
    sink = Sink()
    app = web.Application()
    app.router.add_post("/function/{name}", sink.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sink.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    (tmp_path / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    broker = Mosquitto(tmp_path)
    broker.start()
    stack.callback(broker.stop)

    watcher, states, ports = Client(), dict[str, str](), dict[str, int]()
    watcher.transport = connector(broker.settings, RealClock())("watcher", watcher)
    await stack.enter_async_context(watcher.transport)
    await until(watcher.ready.is_set, "connected")
    await watcher.transport.subscribe([Subscription(Topics().dispatcher("home", "+", "status"), retained="always")])

    def active() -> list[str]:
        for message in watcher.messages:
            name, said = message.topic.split("/")[-2], json.loads(message.payload)
            states[name] = said["state"]
            if said.get("http"):
                ports[name] = said["http"]["port"]
        return [name for name, state in states.items() if state == "active"]

    spares = [Spare(tmp_path, name, broker.port, sink.url) for name in ("one", "two")]
    for spare in spares:
        await spare.start()
        stack.push_async_callback(spare.end, signal.SIGKILL)
    await until(lambda: len(active()) == 1 and len(states) == 2, "one of two at work")
    (at_work,) = active()
    (standby,) = states.keys() - {at_work}
    refused = await asyncio.to_thread(ask, ports[standby], "/v1/audit")
    assert refused == (
        404,
        f"this dispatcher stands by; ask the one at work ({at_work}), or try /healthz, /readyz or /metrics\n",
    )

    warm_up = 0
    async with asyncio.timeout(60):
        while not sink.calls:  # nothing here sends again what nobody had subscribed to
            warm_up += 1
            watcher.publish(FRONT_DOOR.text, motion(warm_up, id=f"warm-up-{warm_up}", epoch="warm"))
            await asyncio.sleep(0.05)
    for sequence in range(1, EVENTS + 1):
        watcher.publish(FRONT_DOOR.text, motion(sequence, time=datetime.now(UTC)))
        if sequence == EVENTS // 3:
            await until(lambda: len(sink.calls) > 10, "under load")
            code = await next(spare for spare in spares if spare.name == at_work).end(number)
            assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        await asyncio.sleep(0.001)
    await until(lambda: active() not in ([], [at_work]), "the other one at work")
    wanted = [f"event-{sequence}" for sequence in range(1, EVENTS + 1)]
    await until(lambda: set(wanted) <= set(sink.calls), "all delivered")
    assert [id_ for id_ in sink.first_occurrences if id_.startswith("event-")] == wanted
    (after,) = active()
    _, audit = await asyncio.to_thread(ask, ports[after], "/v1/audit")
    assert (after, audit["missing"], audit["gaps"]) == (standby, 0, [])
    assert audit["late"] == []  # what the first one had confirmed, or stored, does not count here


OTHERS = """
topic readwrite gpio-bridge/v1/home/nodes/#
topic readwrite gpio-bridge/v1/home/dispatchers/+/marker
"""
STATUS = "gpio-bridge/v1/home/dispatchers/+/status"


@pytest.mark.parametrize("allowed", ["write", "read"])
async def test_rule_17_two_that_the_broker_does_not_let_hear_each_other_are_not_both_at_work(
    tmp_path: Path, stack: AsyncExitStack, allowed: str
) -> None:
    """Mosquitto grants a subscription of which its access list lets nothing through."""
    require("mosquitto")
    (tmp_path / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    rules = tmp_path / "acl"
    rules.write_text(f"{OTHERS}topic {allowed} {STATUS}\n", encoding="utf-8")
    rules.chmod(0o600)
    broker = Mosquitto(tmp_path, access=("allow_anonymous true", f"acl_file {rules}"))
    broker.start()
    stack.callback(broker.stop)
    spares = [Spare(tmp_path, name, broker.port, "http://127.0.0.1:9") for name in ("one", "two")]
    for spare in spares:
        await spare.start()
        stack.push_async_callback(spare.end, signal.SIGKILL)

    async def states() -> set[str]:
        found = set()
        for spare in spares:
            _, metrics = await asyncio.to_thread(ask, spare.port, "/metrics")
            _, ready = await asyncio.to_thread(ask, spare.port, "/readyz")
            at_work = "gpio_bridge_dispatcher_active 1.0" in str(metrics)
            unheard = "its own status does not come back" in str(ready)
            found.add("at work" if at_work else "unheard" if unheard else "")
        return found

    await eventually(states, {"unheard"})
    rules.write_text(f"{OTHERS}topic readwrite {STATUS}\n", encoding="utf-8")
    broker.reload()
    await eventually(states, {"at work", ""})


async def eventually(found: Callable[[], Awaitable[set[str]]], wanted: set[str]) -> None:
    """The deadline is only for a failing test; two at work at once are a failure at any time."""
    async with asyncio.timeout(60):
        while (now := await found()) != wanted:
            assert now != {"at work"}
            await asyncio.sleep(0.1)
