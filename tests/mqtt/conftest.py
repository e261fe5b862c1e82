from __future__ import annotations

import pytest

from bridge.clock import VirtualClock
from bridge.mqtt.memory import MemoryBroker


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def broker(clock: VirtualClock) -> MemoryBroker:
    return MemoryBroker(clock)
