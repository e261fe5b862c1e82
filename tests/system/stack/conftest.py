"""One deployed stack for all tests of it: making it takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab
from tests.real_parts import require
from tests.system.stack.deployed import Deployed


@pytest.fixture(scope="package")
def whole_stack(three_pis: Lab, programs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Its folder, with images of what this machine has; gone with its volumes after the last test."""
    require("mosquitto", "mosquitto_sub", "prometheus", "promtool", "prometheus-alertmanager", "amtool")
    deployed = Deployed(three_pis, tmp_path_factory.mktemp("stack"), programs)
    try:
        yield deployed
    finally:
        deployed.remove()
        deployed.eventually(deployed.without_volumes, "its volumes are gone")
        deployed.docker("node", "update", "--label-rm", "gpio-bridge.data", "pi-1")


@pytest.fixture
def deployed(whole_stack: Deployed) -> Deployed:
    """The stack, deployed; a test leaves it running, or removed as a whole."""
    whole_stack.ensure()
    return whole_stack
