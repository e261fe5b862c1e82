"""An engine's client, connected to a stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.swarm.address import EngineAddress
from bridge.swarm.engine import Engine
from tests.swarm.stand_in import StandIn


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    stand_in = StandIn(tmp_path / "docker.sock")
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
async def engine(stand_in: StandIn) -> AsyncIterator[Engine]:
    async with Engine(EngineAddress(f"unix://{stand_in.socket}"), timeout_s=0.5) as engine:
        yield engine
