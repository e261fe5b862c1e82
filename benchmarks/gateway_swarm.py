"""What the gateway costs over a swarm: a Docker Engine of the benchmark's own, the function a service of one task.

All of it stands in the network that functions share, as a gateway that is itself a service does. Where no engine can
run, the table says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks import parts
from benchmarks.figures import Size, Table, without_figures
from benchmarks.gateway_overhead import COLUMNS, compare
from benchmarks.processes import BenchmarkError, Role
from tests.docker_engine import HANDLERS, DockerEngine
from tests.gateway.swarm import bench

_PORT = 8080
_STARTED_S = 60.0
_ADDRESSES = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"


def run(size: Size, folder: Path) -> list[Table]:
    """Direct and through, at each number in flight, and memory."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(_engine(folder / "engine"))
        except (pytest.skip.Exception, pytest.fail.Exception) as reason:
            notes: list[str] = []
            rows = [without_figures("through the gateway", str(reason), COLUMNS, notes)]
            return [Table("Gateway, swarm backend: no Docker Engine", COLUMNS, rows, notes)]
        # What is started from here on is in the functions' network.
        stack.enter_context(engine.inside(bench.STANDING))
        gateway = stack.enter_context(parts.gateway_over_swarm(folder, engine.host))
        variables = {"handler_code": (Path(__file__).parent / "stamp" / "handler.py").read_text(encoding="utf-8")}
        parts.post(
            gateway.port, "/system/functions", {"service": parts.FUNCTION, "image": HANDLERS, "envVars": variables}
        )
        parts.until(gateway.child, lambda: parts.get(gateway.port, f"/function/{parts.FUNCTION}")[0] == 200, _STARTED_S)
        client = stack.enter_context(Role("client", folder))
        return compare("swarm", gateway, client, f"http://{_task(engine)}:{_PORT}/", size)


@contextmanager
def _engine(folder: Path) -> Iterator[DockerEngine]:
    folder.mkdir()
    with DockerEngine(folder, "bench") as engine:
        bench.prepare(engine)
        yield engine


def _task(engine: DockerEngine) -> str:
    """The address of the function's only task."""
    label = f"label=com.docker.swarm.service.name={parts.FUNCTION}"
    tasks = engine.docker("ps", "--quiet", "--filter", label).split()
    addresses = engine.docker("inspect", "--format", _ADDRESSES, *tasks).split()
    if len(addresses) != 1:
        raise BenchmarkError(f"the function should be one task with one address, not {addresses}")
    return addresses[0]
