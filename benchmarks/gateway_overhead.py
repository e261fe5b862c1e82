"""What the gateway costs: the same function called through it and at its own port, in turns, by the same client.

And what a call costs that finds no replica: the gateway starts a process for it and holds it until that is ready.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, milliseconds, per_second
from benchmarks.machine import children, cpu_s, listening_ports, resident_mb
from benchmarks.processes import BenchmarkError, Role

IN_FLIGHT = (1, 32)
REQUESTS = 4_000
BODY_BYTES = 250
COLD_STARTS = 20
COLUMNS = ("", "requests/s", "of direct", "p50 ms", "p99 ms", "p50 added ms", "its CPU ms")
_DIRECT, _THROUGH = "direct", "through the gateway"
_POLL_S = 0.01
_SETTLE_S = 0.5


class Sample(NamedTuple):
    """One round of one way to the function."""

    rate: float
    p50_s: float
    p99_s: float
    cpu_s: float
    """Of the gateway, for each request."""


def run(size: Size, folder: Path) -> list[Table]:
    """Direct and through, at each number in flight; memory; calls that have to start a process."""
    with ExitStack() as stack:
        gateway = stack.enter_context(parts.gateway(folder))
        client = stack.enter_context(Role("client", folder))
        ports = [port for pid in children(gateway.child.pid) for port in listening_ports(pid)]
        if len(ports) != 1:
            raise BenchmarkError(f"the gateway's function should listen on one port, not on {ports}")
        overhead = compare("local", gateway, client, f"http://127.0.0.1:{ports[0]}/", size)
        cold = [_cold(gateway) for _ in range(size.of(COLD_STARTS, 2))]
    woken = [[f"{median(cold):.2f}", f"{max(cold):.2f}"]]
    return [
        *overhead,
        Table(f"Gateway: {len(cold)} calls of a function at zero replicas", ("median s", "max s"), woken),
    ]


def compare(backend: str, gateway: parts.Part, client: Role, direct: str, size: Size) -> list[Table]:
    """A running gateway's function through it and at `direct`, and the gateway's memory before and after."""
    requests = size.of(REQUESTS, 40)
    time.sleep(_SETTLE_S)
    idle_mb = resident_mb(gateway.child.pid)
    urls = {_DIRECT: direct, _THROUGH: f"http://127.0.0.1:{gateway.port}/function/{parts.FUNCTION}"}
    measures = {
        f"{name} {in_flight}": partial(_measure, client, gateway.child.pid, url, in_flight, requests)
        for in_flight in IN_FLIGHT
        for name, url in urls.items()
    }
    found = interleave(measures, size.rounds)
    rows = [row for each in IN_FLIGHT for row in _rows(each, found[f"{_DIRECT} {each}"], found[f"{_THROUGH} {each}"])]
    title = (
        f"Gateway, {backend} backend: POST of {BODY_BYTES} bytes to one replica, {size.rounds} x {requests:,} requests"
    )
    memory = [[f"{idle_mb:.1f}", f"{resident_mb(gateway.child.pid):.1f}"]]
    return [
        Table(title, COLUMNS, rows, ["Of direct: its requests/s as a share of what the bare function server answers."]),
        Table(f"Gateway, {backend} backend: RSS MB", ("idle", "after these calls"), memory),
    ]


def _rows(in_flight: int, direct: list[Sample], through: list[Sample]) -> list[list[str]]:
    """Shares and differences are of the same round, before their median is taken."""
    pairs = list(zip(direct, through, strict=True))
    share = median(ours.rate / theirs.rate for theirs, ours in pairs)
    added_s = median(ours.p50_s - theirs.p50_s for theirs, ours in pairs)
    extra = [f"{share:.0%}", milliseconds(added_s), milliseconds(median(each.cpu_s for each in through))]
    rows = []
    for name, samples, (of_direct, added, cpu) in ((_DIRECT, direct, ("", "", "")), (_THROUGH, through, extra)):
        rate, p50_s, p99_s, _ = (median(column) for column in zip(*samples, strict=True))
        figures = [per_second(rate), of_direct, milliseconds(p50_s), milliseconds(p99_s), added, cpu]
        rows.append([f"{name}, {in_flight} in flight", *figures])
    return rows


def _cold(gateway: parts.Part) -> float:
    """Seconds of one call that has to start its replica."""
    parts.post(gateway.port, f"/system/scale-function/{parts.FUNCTION}", {"replicas": 0})
    deadline = time.monotonic() + parts.READY_S
    while children(gateway.child.pid):
        if time.monotonic() > deadline:
            raise BenchmarkError("the function does not go to zero replicas")
        time.sleep(_POLL_S)
    began = time.perf_counter()
    status, _ = parts.get(gateway.port, f"/function/{parts.FUNCTION}")
    if status != 200:
        raise BenchmarkError(f"a function at zero replicas answered {status}")
    return time.perf_counter() - began


def _measure(client: Role, gateway: int, url: str, in_flight: int, requests: int) -> Sample:
    before_s = cpu_s(gateway)
    found = client.ask("post", url=url, library="bare", in_flight=in_flight, requests=requests, bytes=BODY_BYTES)
    # The client warms up with some requests more, which are not in its figures.
    sent = requests + max(in_flight, requests // 20)
    used_s = (cpu_s(gateway) - before_s) / sent
    return Sample(requests / found["seconds"], found["p50_s"], found["p99_s"], used_s)
