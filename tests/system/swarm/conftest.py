"""One cluster for all tests of it: bringing it up takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.lab import Lab
from tests.system.swarm.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(three_pis: Lab, programs: str) -> Iterator[Cluster]:
    """The gateway runs on pi-1; what a test deploys stays, so each takes names of its own."""
    with Cluster(three_pis, programs) as cluster:
        yield cluster
