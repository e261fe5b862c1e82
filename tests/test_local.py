"""Everything in one process, for real: a broker, functions as processes, the dispatcher, virtual Pis."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge import demo
from bridge.clock import RealClock
from bridge.errors import BridgeError, BrokerError, ConfigError
from bridge.local import Local, multiplied, plan
from bridge.virtual.devices import NotAccepted
from tests.testing.faults import powerless

PI_1 = """
version: 1
node: pi-1
pins: {factory: lgpio}
sensors:
  front-door: {kind: pir, pin: 17, warm_up: 0s}
  doorbell: {kind: button, pin: 22}
  water: {kind: digital, pin: 5}
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 1s, high: 70}
"""
PI_2 = """
version: 1
node: pi-2
sensors:
  gate: {kind: laser-tripwire, pin: 27}
  window: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  greenhouse: {kind: thermometer, sensor: tmp36, channel: 0, every: 200ms, high: 35}
  cpu: {kind: thermometer, sensor: cpu, every: 200ms, high: 80}
  tank: {kind: distance, trigger: 20, echo: 21, every: 200ms, near: 20}
  soil: {kind: analog, channel: 2, every: 200ms}
"""
MAPPINGS = """
version: 1
mappings:
  everything:
    select: {event: "*"}
    when: "event.type != 'io.gpio-bridge.digital.on'"
    invoke: seen
"""
STACK = """
version: 1.0
provider: {name: openfaas}
functions:
  seen: {lang: python3-http, handler: ./seen, image: seen}
"""
HANDLER = 'def handle(event, context):\n    return {"statusCode": 200, "body": "seen"}\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    (tmp_path / "functions" / "seen").mkdir(parents=True)
    folder.mkdir()
    for file, text in {
        "config/agent-pi-1.yaml": PI_1,
        "config/agent-pi-2.yaml": PI_2,
        "config/mappings.yaml": MAPPINGS,
        "functions/stack.yml": STACK,
        "functions/seen/handler.py": HANDLER,
    }.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    return folder


async def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        await asyncio.sleep(0.02)


async def ready(local: Local) -> None:
    await eventually(lambda: not local.health.not_ready())


async def test_every_kind_of_sensor_invokes_its_function_and_what_is_missing_is_named(
    config: Path, tmp_path: Path
) -> None:
    async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")) as local:
        steps = await demo.run(local, margin_s=3.0)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            readiness = await client.get(f"{local.dispatcher.url}/readyz")
            functions = (await client.get(f"{local.gateway.url}/system/functions")).json()
    missing = {step.sensor: step.why_not for step in steps if not step.passed}
    assert missing == {"water": "no mapping fires for digital.on"}
    table = demo.table(steps)
    assert "MISSING  pi-1/water" in table
    assert "ok       pi-2/gate" in table
    assert readiness.status_code == 200
    assert functions[0]["invocationCount"] >= len(steps) - 1


async def test_a_virtual_pis_files_are_in_the_state_folder_and_what_a_killed_one_left_is_gone(
    config: Path, tmp_path: Path
) -> None:
    boards = tmp_path / "state" / "virtual"
    left = boards / "gpio-bridge-virtual-left" / "w1"
    left.mkdir(parents=True)
    async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")) as local:
        assert not left.exists()
        assert [local.boards[node].w1_root.is_relative_to(boards) for node in ("pi-1", "pi-2")] == [True, True]
    assert list(boards.iterdir()) == []


async def test_it_runs_with_iotcore_where_no_mosquitto_is_installed(config: Path, tmp_path: Path) -> None:
    pytest.importorskip("iotcore")
    (config / "agent-pi-2.yaml").unlink()
    wanted = plan(config, tmp_path / "state", "auto", "iotcore")
    async with Local(wanted, clock=RealClock("always")) as local:
        await ready(local)
        await local.boards["pi-1"].drive("doorbell", "press")
        await eventually(lambda: any(line["type"] == "invocation" for line in local.dispatcher.feed.recent(1000)))


async def test_it_stops_within_seconds_and_starts_again_on_the_same_state(config: Path, tmp_path: Path) -> None:
    for _ in range(2):
        async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")) as local:
            await ready(local)
            started = time.monotonic()
        assert time.monotonic() - started < 8


async def test_a_second_one_on_the_same_state_is_refused_with_what_to_do(config: Path, tmp_path: Path) -> None:
    async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")):
        second = Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always"))
        with pytest.raises(BridgeError, match=r"another gpio-bridge up works in .* --state"):
            await second.__aenter__()


async def test_a_broker_that_dies_ends_everything_with_its_reason(config: Path, tmp_path: Path) -> None:
    async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")) as local:
        assert local.broker.pid is not None
        os.kill(local.broker.pid, signal.SIGKILL)
        with pytest.raises(BrokerError, match="ended by itself"):
            await asyncio.wait_for(local.failed(), 60)


def test_the_mistakes_of_all_files_are_told_at_once(config: Path, tmp_path: Path) -> None:
    (config / "agent-pi-1.yaml").write_text(PI_1.replace("pin: 17", "pin: 99"), encoding="utf-8")
    (config / "dispatcher.yaml").write_text("version: 1\nstat_dir: x\n", encoding="utf-8")
    (config / "mappings.yaml").unlink()
    with pytest.raises(ConfigError) as caught:
        plan(config, tmp_path / "state", "auto")
    files = {Path(problem.file).name for problem in caught.value.problems}
    assert files == {"agent-pi-1.yaml", "dispatcher.yaml", "mappings.yaml"}


def test_a_node_that_stands_in_two_files_is_a_mistake(config: Path, tmp_path: Path) -> None:
    (config / "agent-pi-2.yaml").write_text(PI_1, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"agent-pi-2.yaml: node: pi-1 is already the node of agent-pi-1.yaml"):
        plan(config, tmp_path / "state", "auto")


def test_a_folder_that_is_not_there_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such folder; .* --config FOLDER"):
        plan(tmp_path / "nowhere", tmp_path / "state")


def test_a_flat_folder_has_its_agent_its_mappings_and_its_functions_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = tmp_path / "flat"
    (flat / "functions").mkdir(parents=True)
    (flat / "agent.yaml").write_text(PI_1, encoding="utf-8")
    (flat / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    (flat / "functions" / "stack.yml").write_text(STACK, encoding="utf-8")
    wanted = plan(flat, tmp_path / "state", "auto")
    assert [agent.node for agent in wanted.agents] == ["pi-1"]
    assert wanted.gateway.functions == flat / "functions" / "stack.yml"
    monkeypatch.chdir(flat)
    assert plan(None, tmp_path / "state", "auto").gateway.functions == Path("functions/stack.yml")


def test_agents_with_a_name_of_their_own_go_before_the_one_that_has_none(config: Path, tmp_path: Path) -> None:
    (config / "agent.yaml").write_text("not read", encoding="utf-8")
    assert len(plan(config, tmp_path / "state", "auto").agents) == 2


def test_a_documented_port_that_is_taken_is_replaced_and_told(config: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (config / "dispatcher.yaml").write_text(
            f"version: 1\nstate_dir: x\nmappings: mappings.yaml\nhttp: {{port: {port}}}\n", encoding="utf-8"
        )
        wanted = plan(config, tmp_path / "state")
    assert wanted.dispatcher.http.port == 0
    assert f"port {port} is taken, so the dispatcher listens on another one" in wanted.taken


def test_every_agent_becomes_a_virtual_pi_with_a_state_folder_of_its_own(config: Path, tmp_path: Path) -> None:
    wanted = plan(config, tmp_path / "state", "auto")
    assert [agent.pins.factory for agent in wanted.agents] == ["mock", "mock"]
    assert len({agent.state_dir for agent in wanted.agents}) == 2


def test_many_virtual_pis_are_those_of_the_files_and_copies_of_them_in_turn(config: Path, tmp_path: Path) -> None:
    (config / "agent-pi-1.yaml").write_text(PI_1.replace("node: pi-1", "node: virtual-2"), encoding="utf-8")
    made = plan(config, tmp_path / "state", "auto", nodes=5)
    assert [agent.node for agent in made.agents] == ["virtual-2", "pi-2", "virtual-1", "virtual-3", "virtual-4"]
    assert [sorted(agent.sensors) for agent in made.agents[::2]] == [sorted(made.agents[0].sensors)] * 3
    assert len({agent.state_dir for agent in made.agents}) == 5
    assert [agent.node for agent in multiplied(made.agents, 1)] == ["virtual-2"]


async def ask(local: Local, path: str, **wanted: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(base_url=local.control.url, trust_env=False, timeout=60) as client:
        answer = await client.post(path, json=wanted)
    return answer.status_code, answer.json()


def told(local: Local, kind: str) -> list[dict[str, Any]]:
    return [line for line in local.dispatcher.feed.recent(1000) if line["type"] == kind]


async def test_faults_are_brought_about_over_the_control_and_nothing_is_lost(config: Path, tmp_path: Path) -> None:
    (config / "agent-pi-2.yaml").unlink()
    retry = MAPPINGS + "    retry: {attempts: 3, first: 50ms}\n"
    (config / "mappings.yaml").write_text(retry, encoding="utf-8")
    async with Local(plan(config, tmp_path / "state", "auto"), clock=RealClock("always")) as local:
        await ready(local)
        failing = asyncio.create_task(local.failed())
        assert (await ask(local, "/v1/functions", function="seen", answers="503 times 2"))[0] == 200
        assert (await ask(local, "/v1/broker", do="stop"))[0] == 200
        await local.boards["pi-1"].drive("doorbell", "press")
        first = local.agents["pi-1"]
        await eventually(lambda: first.backlog > 0)
        assert await ask(local, "/v1/restart", node="pi-1") == (200, {"node": "pi-1"})
        assert local.agents["pi-1"] is not first
        assert (await ask(local, "/v1/broker", do="start"))[0] == 200
        await eventually(lambda: any(line["event"] == "button.pressed" for line in told(local, "invocation")))
        assert [line["status"] for line in told(local, "retry")] == [503, 503]
        assert not failing.done()
        failing.cancel()


@pytest.mark.parametrize(
    ("path", "wanted", "error"),
    [
        ("/v1/broker", {"do": "dance"}, "the broker does not do 'dance'; it does stop, start, forget"),
        ("/v1/broker", {"done": "stop"}, "unknown: done; there are do"),
        ("/v1/functions", {"answers": "503"}, "say which function; without one, "),
        ("/v1/functions", {"function": "seen", "answers": "blue"}, "'blue' is no way to answer; write one of STATUS"),
        ("/v1/publish", {"topic": "a"}, 'send {"topic": "zigbee2mqtt/lamp", "payload": "on"}, both as text'),
        ("/v1/publish", {"topic": "a/+", "payload": ""}, "the topic 'a/+' holds a wildcard"),
        ("/v1/publish", {"topic": "a", "payload": "", "qos": 2}, "qos is 0 or 1, not 2"),
        ("/v1/restart", {"node": "pi-9"}, "there is no node pi-9; there are pi-1"),
    ],
)
async def test_a_fault_that_there_is_not_is_refused_with_those_that_there_are(
    path: str, wanted: dict[str, object], error: str
) -> None:
    with pytest.raises(NotAccepted) as caught:
        await powerless().posts[path](wanted)
    assert str(caught.value).startswith(error)
