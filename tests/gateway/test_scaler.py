"""The built-in scaler on the virtual clock, and on real replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from bridge.clock import VirtualClock
from bridge.errors import EngineUnavailable, FunctionError, FunctionNotFound
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.scaler import Scaler
from bridge.gateway.settings import ScalingSettings
from bridge.openfaas.deployment import Deployment
from tests.gateway.workbench import Bench, both_backends, until

SETTINGS = ScalingSettings(enabled=True, window_s=3.0, in_flight=2, down_after_s=10.0, idle_s=20.0)
CODE = """
import pathlib, time
def handle(event, context):
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.01)
    return 'ok'
"""


class Scalable:
    """What a scaler asks and tells of a backend; `refusal` is raised instead of scaling."""

    def __init__(self) -> None:
        self.replicas = {"f": 1}
        self.labels = {"com.openfaas.scale.zero": "true"}
        self.refusal: Exception | None = None
        self.asked: list[int] = []

    def deployments(self) -> dict[str, Deployment]:
        return {name: Deployment(name, labels=self.labels) for name in self.replicas}

    def wanted(self) -> dict[str, int]:
        return dict(self.replicas)

    async def scale(self, name: str, replicas: int) -> None:
        self.asked.append(replicas)
        if self.refusal is not None:
            raise self.refusal
        self.replicas[name] = replicas


class Watched:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.backend = Scalable()
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry, self.backend.wanted)
        self.scaler = Scaler(self.backend, self.metrics, SETTINGS, self.clock)  # type: ignore[arg-type] # the part it uses

    async def passes(self, seconds: int, before: Callable[[], None] = lambda: None) -> None:
        running = asyncio.create_task(self.scaler.run())
        await self.clock.settle()
        for _ in range(seconds):
            before()
            await self.clock.advance(1.0)
        running.cancel()


async def test_calls_in_flight_scale_up_silence_scales_down_and_then_to_zero() -> None:
    watched = Watched()
    for _ in range(9):
        watched.metrics.started("f")
    await watched.passes(6)
    assert watched.backend.replicas == {"f": 5}
    for _ in range(9):
        watched.metrics.ended("f", 200, 0.1)
    await watched.passes(17)
    assert watched.backend.replicas == {"f": 1}
    await watched.passes(6)
    assert watched.backend.replicas == {"f": 0}
    name = {"function_name": "f.openfaas-fn"}
    total = "gpio_bridge_gateway_scalings_total"
    assert watched.registry.get_sample_value(total, name | {"direction": "up"}) == 1
    assert (watched.registry.get_sample_value(total, name | {"direction": "down"}) or 0) >= 2


@pytest.mark.parametrize("refusal", [FunctionError("too many"), EngineUnavailable("the engine is away")])
async def test_a_refusal_is_told_once_and_asked_again(refusal: Exception, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.backend.refusal = refusal
    await watched.passes(25)
    assert watched.backend.asked == [0] * len(watched.backend.asked)
    assert len(watched.backend.asked) > 3
    assert len([record for record in caplog.records if record.getMessage() == "Cannot scale"]) == 1
    watched.backend.refusal = None
    await watched.passes(1)
    assert watched.backend.replicas == {"f": 0}


async def test_a_function_removed_in_between_is_forgotten() -> None:
    watched = Watched()
    watched.backend.refusal = FunctionNotFound("gone")
    await watched.passes(22)
    watched.backend.replicas = {}
    watched.backend.refusal = None
    asked = len(watched.backend.asked)
    await watched.passes(3)
    watched.backend.replicas = {"f": 1}
    await watched.passes(3)
    assert len(watched.backend.asked) == asked, "a new function of the name begins anew"


async def test_load_on_real_replicas_scales_them_up_and_down_again(idle_bench: Bench) -> None:
    bench = idle_bench
    quick = ScalingSettings(enabled=True, every_s=0.1, window_s=0.5, in_flight=1, down_after_s=1.0)
    await bench.start(scaling=quick)
    go = bench.folder / "go"
    await bench.deploy("busy", CODE.format(go=str(go)), labels={"com.openfaas.scale.max": "3"})
    calls = asyncio.gather(*(bench.invoke("busy") for _ in range(12)))

    async def has(replicas: int) -> bool:
        return bool((await bench.status("busy"))["replicas"] == replicas)

    await until(lambda: has(3), "it is at its maximum")
    go.touch()
    assert {status for status, _ in await calls} == {200}
    await until(lambda: has(1), "it is back at its minimum")


@both_backends
async def test_an_idle_function_that_may_gives_up_its_replicas_and_a_call_brings_them_back(bench: Bench) -> None:
    labels = {"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1s"}
    await bench.deploy("echo", labels=labels)
    await until(lambda: not bench.pids("echo"), "it is at zero")
    assert (await bench.status("echo"))["replicas"] == 0
    assert await bench.invoke("echo", b"back") == (200, "back")


async def test_a_function_that_starts_slowly_is_not_idle_while_a_call_waits_for_it(bench: Bench) -> None:
    labels = {"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "500ms"}
    code = "import time\ntime.sleep(2.5)\ndef handle(event, context):\n    return event.body\n"
    await bench.deploy("slow", code, labels=labels)
    await until(lambda: not bench.pids("slow"), "it is at zero")
    assert await bench.invoke("slow", b"held") == (200, "held")
