"""A Docker Engine with a registry and a base image, where images of functions are built for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bridge.images.templates import source
from tests.docker_engine import DockerEngine
from tests.gateway.swarm.bench import prepare


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where images are made: an engine that is a swarm of one node, its registry, the image to build on."""

    engine: DockerEngine
    registry: str
    base: str


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    wheels = tmp_path_factory.mktemp("wheels")
    download = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
    needed = (source() / "server.txt", source().parent / "markdown" / "requirements.txt")
    named = [part for file in needed for part in ("--requirement", file)]
    subprocess.run((*download, "--dest", wheels, *named), check=True, timeout=100)
    with DockerEngine(tmp_path_factory.mktemp("workshop"), "images") as engine:
        prepare(engine)
        with engine.registry() as registry:
            base = f"{registry}/python:test"
            engine.make_base_image(base, wheels)
            yield Workshop(engine, registry, base)
