from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bridge.agent.settings import AgentSettings
from bridge.config import load

Load = Callable[[str], AgentSettings]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def load_agent(tmp_path: Path) -> Load:
    """Settings from the text of a file, whose first line is line 1; `agent.yaml` in the test's own folder."""

    def load_text(text: str) -> AgentSettings:
        path = tmp_path / "agent.yaml"
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return load(path, AgentSettings)

    return load_text


@pytest.fixture
def until() -> Until:
    """Wait until something holds, letting the loop and other threads run; the deadline is only for failing."""

    async def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, "waited in vain"
            await asyncio.sleep(0.002)

    return wait
