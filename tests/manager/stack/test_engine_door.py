"""The engine door before a real engine: all that gateway and manager do goes through it, and nothing mighty does."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.errors import APIError
from docker.types import Mount

from bridge.clock import RealClock
from bridge.engine_door.engine_door import EngineDoor
from bridge.engine_door.settings import (
    EngineDoorSettings,
    EngineSettings,
    GatewayClient,
    HttpSettings,
    ManagerClient,
)
from bridge.errors import EngineError, FunctionNotFound
from bridge.gateway.backends import LogQuery
from bridge.gateway.backends.swarm import SwarmBackend
from bridge.gateway.background import Background
from bridge.gateway.settings import GatewaySettings, SwarmSettings
from bridge.openfaas.deployment import parse_deployment
from bridge.swarm.address import EngineAddress
from bridge.swarm.engine import Engine
from tests.docker_engine import HANDLERS, DockerEngine
from tests.manager.command import Done, command

NETWORK = "functions-behind-the-door"
SLEEP = 'import time; print("here I am", flush=True); time.sleep(1000)'


@dataclass(frozen=True)
class Doorway:
    """A door that runs, and where its clients call."""

    gateway: str
    manager: str

    async def stack(self, arguments: str) -> Done:
        """`gpio-bridge stack ARGUMENTS`, as the manager."""
        return await asyncio.to_thread(command, f"stack {arguments} -H {self.manager}")


@pytest.fixture
async def doorway(swarm_of_one: DockerEngine, tmp_path: Path) -> AsyncIterator[Doorway]:
    user, gateway, manager = str(os.getuid()), tmp_path / "gateway.sock", tmp_path / "manager.sock"
    settings = EngineDoorSettings(
        engine=EngineSettings(swarm_of_one.socket),
        gateway=GatewayClient(gateway, user, (NETWORK,)),
        manager=ManagerClient(manager, user),
        http=HttpSettings(port=0),
    )
    async with EngineDoor(settings, clock=RealClock("always")):
        yield Doorway(f"unix://{gateway}", f"unix://{manager}")


async def test_the_gateway_runs_functions_through_the_door(
    swarm_of_one: DockerEngine, doorway: Doorway, tmp_path: Path
) -> None:
    swarm = SwarmSettings(host=doorway.gateway, network=NETWORK, start_s=30.0, stop_grace_s=1.0)
    settings = GatewaySettings(state_dir=tmp_path, backend="swarm", swarm=swarm)
    background, clock = Background(), RealClock("always")
    try:
        async with SwarmBackend(settings, clock=clock, background=background, restarted=lambda _: None) as backend:
            assert await backend.secrets.create("key", b"one")
            code = "print('here I am', flush=True)\ndef handle(event, context):\n    return ''"
            wanted = {"service": "echo", "image": HANDLERS, "envVars": {"handler_code": code}, "secrets": ["key"]}
            await backend.deploy(parse_deployment(wanted))
            async with asyncio.timeout(60):
                lease = await backend.acquire("echo")
            lease.release()
            status = await backend.describe("echo", usage=True)
            assert (status.available_replicas, status.usage is not None) == (1, True)
            line = await anext(backend.logs(LogQuery("echo", follow=True)))
            assert line.text == "here I am"
            await backend.scale("echo", 0)
            assert await backend.secrets.update("key", b"two")
            await backend.remove("echo")
            assert await backend.secrets.remove("key")
            with pytest.raises(FunctionNotFound):
                await backend.describe("echo")
    finally:
        await background.close()
        swarm_of_one.docker("network", "rm", NETWORK)


async def test_the_manager_keeps_stacks_through_the_door_and_never_the_broker_of_another(
    swarm_of_one: DockerEngine, doorway: Doorway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "stack.yml"
    swarm_of_one.docker("service", "create", "-d", "--name", "lonely", "--replicas", "0", HANDLERS)
    try:
        for secret, wait in (("first", "--timeout 60 --settle 0"), ("second", "--detach")):
            (tmp_path / "s").write_text(secret, encoding="utf-8")
            one = f"image: '{HANDLERS}', entrypoint: python3, command: ['-c', '{SLEEP}'], secrets: [s]"
            file.write_text(
                f"services: {{one: {{{one}, volumes: [data:/data], stop_grace_period: 1s}}}}\n"
                "volumes: {data: }\nsecrets: {s: {file: s}}\n",
                encoding="utf-8",
            )
            done = await doorway.stack(f"deploy house -f stack.yml --no-resolve {wait}")
            assert done.code == 0, done
        assert "here I am" in (await doorway.stack("logs house one")).out
        assert (await doorway.stack("rollback house one")).code == 0
        assert (await doorway.stack("status house --json")).out.startswith("[")

        file.write_text(
            f"services: {{one: {{image: '{HANDLERS}', volumes: ['/var/run/docker.sock:/s']}}}}", encoding="utf-8"
        )
        done = await doorway.stack("deploy house -f stack.yml --no-resolve --detach")
        assert done.code == 1
        assert "services.one: engine door: the mount at /s: the folder '/var/run/docker.sock' of a" in done.err, done

        lonely = swarm_of_one.docker("service", "inspect", "--format", "{{.ID}}", "lonely")
        async with Engine(EngineAddress(doorway.manager)) as engine:
            await engine.connect()
            with pytest.raises(EngineError, match="lonely belongs to no stack") as refused:
                await engine.delete(f"/services/{lonely}")
        assert refused.value.status == 403
    finally:
        done = await doorway.stack("rm house")
        swarm_of_one.docker("service", "rm", "lonely")
    assert done.code == 0, done
    assert "one: service removed" in done.out


async def test_the_docker_sdk_is_told_why_it_may_not(swarm_of_one: DockerEngine, doorway: Doorway) -> None:
    stack = {"com.docker.stack.namespace": "house"}

    def tried() -> list[str]:
        client = docker.DockerClient(base_url=doorway.manager, version="auto")
        try:
            assert [node.attrs["Description"]["Hostname"] for node in client.nodes.list()] == [swarm_of_one.name]
            told = []
            for attempt in (
                lambda: client.containers.run(HANDLERS, privileged=True),
                lambda: client.volumes.create("v"),
                lambda: client.images.build(fileobj=io.BytesIO(b"FROM scratch"), tag="x"),
                lambda: client.api.leave_swarm(force=True),
                lambda: client.services.create(HANDLERS, name="x", labels=stack, mounts=[Mount("/host", "/", "bind")]),
                lambda: client.services.create(HANDLERS, name="x", labels=stack, cap_add=["SYS_ADMIN"]),
                lambda: client.services.create(HANDLERS, name="x", labels=stack, networks=["host"]),
                lambda: client.networks.create("x", driver="macvlan", labels=stack, options={"parent": "uplink"}),
            ):
                with pytest.raises(APIError) as refused:
                    attempt()  # type: ignore[no-untyped-call] # some of them are the SDK's
                assert refused.value.status_code == 403
                told.append(str(refused.value.explanation))
            return told
        finally:
            client.close()

    told = await asyncio.to_thread(tried)
    expected = (
        "POST /containers/create",
        "POST /volumes/create",
        "POST /build",
        "POST /swarm/leave",
        "the folder '/'",
        "CAP_SYS_ADMIN is not allowed",
        "host is no overlay network",
        "only overlay networks",
    )
    assert [words in told[i] for i, words in enumerate(expected)] == [True] * len(expected), told
    assert swarm_of_one.docker("service", "ls", "--quiet") == ""
