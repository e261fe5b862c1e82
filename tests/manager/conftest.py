"""A manager that runs, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from bridge.clock import RealClock
from bridge.manager.manager import Manager
from bridge.manager.settings import HttpSettings, ManagerSettings
from bridge.manager.trust import trusted
from bridge.mqtt.memory import MemoryBroker
from tests.dispatcher.conftest import Site, until
from tests.docker_engine import DockerEngine
from tests.manager.command import command

MAPPINGS = """# The house.
version: 1
timezone: Europe/London
mappings:

  # Somebody is there.
  intruder:
    select: {sensor: front-door, event: motion.detected}
    invoke: intruder-alert
    cooldown: 5s    # not more often

  frost:
    select: {kind: thermometer, event: temperature.low}
    invoke: {function: heat, payload: data}
"""


class Desk:
    """A manager that can be stopped and started again, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "mappings" / "mappings.yaml"
        self.file.parent.mkdir(parents=True)
        self.file.write_text(MAPPINGS, encoding="utf-8")
        self.settings = ManagerSettings(state_dir=folder / "state", mappings=self.file, http=HttpSettings(port=0))
        self.clock = RealClock("always")
        self.broker = MemoryBroker(self.clock)
        self._stack = AsyncExitStack()
        self.manager: Manager
        self.client: httpx.AsyncClient

    async def start(self, *, eager: bool = False) -> Manager:
        self._stack = AsyncExitStack()
        self.manager = await self._stack.enter_async_context(
            Manager(self.settings, clock=self.clock, connect=self.broker.connect, eager=eager, own="tester")
        )
        self.client = await self._stack.enter_async_context(
            httpx.AsyncClient(
                base_url=self.manager.url,
                trust_env=False,
                timeout=60,
                verify=trusted(),  # there is no TLS here, and certificates take longer to read than most tests
                headers={"Authorization": f"Bearer {self.manager.own_token}"},
            )
        )
        await until(lambda: self.manager.bus.problem() is None, "the manager is connected")
        return self.manager

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A manager that is not started yet."""
    desk = Desk(tmp_path)
    try:
        yield desk
    finally:
        await desk.stop()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A dispatcher that is not started yet, at a broker of its own, with a client there."""
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    site.client.transport = site.broker.connect("a-client", site.client)
    async with site.client.transport:
        await site.client.ready.wait()
        try:
            yield site
        finally:
            await site.stop()


@pytest.fixture(scope="session")
def swarm_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """A Docker Engine that the command has made a swarm of."""
    with DockerEngine(tmp_path_factory.mktemp("engine"), "stacks") as engine:
        engine.make_images()
        done = command(f"cluster init --advertise-addr 10.79.0.1 -H {engine.host}")
        assert done.code == 0, done
        assert "docker swarm join --token SWMTKN-" in done.out
        assert " 10.79.0.1:2377\n" in done.out
        yield engine
