"""A running gateway for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.workbench import Bench


@pytest.fixture
async def idle_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose gateway a test starts itself, with settings of its own."""
    bench = Bench(tmp_path)
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
