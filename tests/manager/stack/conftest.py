"""A Docker Engine that is a swarm of one node, for stacks alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docker_engine import DockerEngine


@pytest.fixture(scope="session")
def stack_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The engine."""
    with DockerEngine(tmp_path_factory.mktemp("engine"), "stacks") as engine:
        engine.make_swarm()
        engine.make_images()
        yield engine
