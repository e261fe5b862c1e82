"""Labs for tests: brought up by the first test that wants one, taken down after the last."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import images
from tests.lab.lab import Lab
from tests.lab.machine import NEEDED, missing
from tests.real_parts import require, require_none_missing


def require_lab() -> None:
    """Go on where this machine can have a lab; else skip, or fail under `CI=true`."""
    require(*NEEDED, "debootstrap")
    require_none_missing(missing())


@pytest.fixture(scope="session")
def three_pis() -> Iterator[Lab]:
    """A swarm of three nodes and a registry. Tests leave the nodes running and plugged in, and no services."""
    require_lab()
    with Lab.for_tests() as lab:
        lab.up(3)
        yield lab


@pytest.fixture(scope="session")
def programs(three_pis: Lab) -> str:
    """The image of our programs, made once for all tests in the lab; its name."""
    return images.build_programs(three_pis)
