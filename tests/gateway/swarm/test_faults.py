"""Engines that go away, hang, restart, or were never a manager's."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.clock import RealClock
from bridge.errors import FunctionError
from bridge.gateway.gateway import Gateway
from bridge.gateway.settings import GatewaySettings, MetricsSettings, SwarmSettings
from bridge.swarm.settings import EngineTlsSettings
from tests.authority import make_authority
from tests.docker_engine import DockerEngine
from tests.gateway.swarm.bench import STANDING, SwarmBench
from tests.gateway.workbench import Bench, on_swarm, until


@pytest.fixture
def swarm(idle_bench: Bench) -> SwarmBench:
    assert isinstance(idle_bench, SwarmBench)
    return idle_bench


async def ready(swarm: SwarmBench) -> bool:
    return (await swarm.call("GET", "/readyz"))[0] == 200


@on_swarm
async def test_with_the_socket_gone_calls_go_on_questions_get_503_and_all_is_well_when_it_is_back(
    swarm: SwarmBench, tmp_path: Path
) -> None:
    socket = tmp_path / "docker.sock"
    socket.symlink_to(swarm.engine.socket)
    settings = dataclasses.replace(swarm.changes["swarm"], host=f"unix://{socket}")
    await swarm.start(swarm=settings)
    await swarm.deploy("echo")
    await swarm.deploy("zero")
    await swarm.call("POST", "/system/scale-function/zero", json={"replicas": 0})
    socket.unlink()
    async with swarm.request("GET", "/system/functions") as answer:
        assert answer.status == 503
        assert "no such socket" in await answer.text()
        assert answer.headers["X-OpenFaaS-Internal"]
        assert answer.headers["Retry-After"]
    for method, path, body in (
        ("POST", "/system/functions", swarm.deployment("new")),
        ("DELETE", "/system/functions", {"functionName": "echo"}),
        ("GET", "/system/function/echo", None),
        ("POST", "/system/scale-function/echo", {"replicas": 2}),
        ("GET", "/system/secrets", None),
        ("POST", "/system/secrets", {"name": "a", "value": "b"}),
        ("GET", "/system/logs?name=echo", None),
        ("POST", "/function/unknown", None),
    ):
        assert (await swarm.call(method, path, json=body))[0] == 503, (method, path)
    assert await swarm.invoke("echo", b"x") == (200, "x")
    status, text = await swarm.invoke("zero")
    assert (status, "no such socket" in text) == (503, True)
    status, text = await swarm.call("GET", "/readyz")
    assert (status, "no such socket" in text) == (503, True)
    assert (await swarm.call("GET", "/healthz"))[0] == 200
    socket.symlink_to(swarm.engine.socket)
    await until(lambda: ready(swarm), "it is ready again")
    assert await swarm.invoke("zero", b"x") == (200, "x")
    swarm.engine.docker("service", "rm", "echo")
    await until(lambda: "echo" not in swarm.gateway.backend.wanted(), "events are followed again")  # type: ignore[union-attr]


@on_swarm
async def test_a_gateway_may_start_before_the_engine(swarm: SwarmBench, tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    await swarm.start(swarm=dataclasses.replace(swarm.changes["swarm"], host=f"unix://{socket}"))
    status, text = await swarm.call("GET", "/readyz")
    assert (status, "no such socket" in text) == (503, True)
    async with swarm.request("POST", "/function/echo") as answer:
        assert answer.status == 503, "whether it is deployed is not known yet"
    assert (await swarm.call("POST", "/async-function/echo"))[0] == 503
    socket.symlink_to(swarm.engine.socket)
    await until(lambda: ready(swarm), "it is ready")
    assert (await swarm.invoke("echo"))[0] == 404


@on_swarm
async def test_an_engine_that_hangs_is_told_in_time_and_holds_up_no_calls(swarm: SwarmBench) -> None:
    await swarm.start(swarm=dataclasses.replace(swarm.changes["swarm"], timeout_s=0.5))
    await swarm.deploy("echo")
    swarm.engine.pause()
    try:
        began = time.monotonic()
        status, text = await swarm.call("GET", "/system/functions")
        assert (status, "does not answer" in text) == (503, True)
        assert time.monotonic() - began < 6
        assert await swarm.invoke("echo", b"x") == (200, "x")
    finally:
        swarm.engine.resume()
    await until(lambda: ready(swarm), "it is ready again")
    assert (await swarm.call("GET", "/system/functions"))[0] == 200


@pytest.fixture(scope="module")
def other_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """An engine that listens on TLS too, and is in no swarm at first."""
    folder = tmp_path_factory.mktemp("other")
    files = make_authority(folder)
    with DockerEngine(
        folder,
        "other",
        *("--host", "tcp://127.0.0.1:2376", "--tlsverify", f"--tlscacert={files / 'ca.crt'}"),
        *(f"--tlscert={files / 'localhost.crt'}", f"--tlskey={files / 'localhost.key'}"),
    ) as engine:
        yield engine


def settings(folder: Path, **swarm: Any) -> GatewaySettings:
    return GatewaySettings(
        state_dir=folder, port=0, metrics=MetricsSettings(port=0), backend="swarm", swarm=SwarmSettings(**swarm)
    )


@contextlib.asynccontextmanager
async def served(where: GatewaySettings, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        Gateway(where, clock=RealClock("always")) as gateway,
        aiohttp.ClientSession() as session,
        session.get(gateway.url + path) as answer,
    ):
        yield answer


async def test_on_an_engine_that_is_no_manager_the_gateway_does_not_start_and_says_what_to_do(
    other_engine: DockerEngine, tmp_path: Path
) -> None:
    with pytest.raises(FunctionError, match="docker swarm init"):
        await Gateway(settings(tmp_path, host=other_engine.host), clock=RealClock("always")).__aenter__()


async def test_an_engine_is_asked_over_tls_and_by_nobody_without_a_certificate(
    other_engine: DockerEngine, tmp_path: Path
) -> None:
    files = other_engine.folder
    other_engine.make_swarm()
    tls = EngineTlsSettings(files / "ca.crt", files / "agent.crt", files / "agent.key")
    with other_engine.inside_namespace():
        async with served(settings(tmp_path, host="tcp://localhost:2376", tls=tls), "/system/functions") as answer:
            assert (answer.status, await answer.text()) == (200, "[]")
        stranger = EngineTlsSettings(files / "ca.crt")
        async with served(settings(tmp_path, host="tcp://localhost:2376", tls=stranger), "/readyz") as answer:
            assert answer.status == 503
            assert "TLS" in await answer.text()


@on_swarm
async def test_functions_and_their_gateway_outlive_a_restart_of_the_engine(swarm: SwarmBench) -> None:
    await swarm.start()
    await swarm.deploy("echo")
    swarm.engine.stop()
    async with swarm.request("GET", "/system/functions") as answer:
        assert answer.status == 503
    assert not await ready(swarm)
    swarm.engine.start()
    swarm.engine.docker("start", STANDING)
    backend: Any = swarm.gateway.backend
    await until(
        lambda: backend.not_ready() is None or "starting" in backend.not_ready(), "the engine is asked again", 30
    )
    assert [status.deployment.service for status in await backend.list()] == ["echo"]
    # The network that this gateway stands in went with the engine; from the new one the function answers again.
    with swarm.engine.inside(STANDING):
        await until(lambda: backend.not_ready() is None, "the function is ready", 40)
        lease = await backend.acquire("echo")
        lease.release()
