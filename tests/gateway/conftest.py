"""A running gateway for each test that wants one, over the backend that the test names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.docker_engine import DockerEngine
from tests.gateway.swarm.bench import STANDING, SwarmBench, prepare
from tests.gateway.workbench import Bench


@pytest.fixture(scope="session")
def swarm_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """A Docker Engine that is a swarm of one node, with the functions' network."""
    with DockerEngine(tmp_path_factory.mktemp("engine")) as engine:
        prepare(engine)
        yield engine


@pytest.fixture
async def idle_bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose gateway a test starts itself, with settings of its own."""
    with ExitStack() as stack:
        bench = Bench(tmp_path)
        if getattr(request, "param", "local") == "swarm":
            engine: DockerEngine = request.getfixturevalue("swarm_engine")
            bench = SwarmBench(tmp_path, engine)
            stack.callback(bench.clear)
            stack.enter_context(engine.inside(STANDING))
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            bench.session = session
            try:
                yield bench
            finally:
                await bench.stop()


@pytest.fixture
async def bench(idle_bench: Bench) -> Bench:
    """A bench whose gateway runs."""
    await idle_bench.start()
    return idle_bench
