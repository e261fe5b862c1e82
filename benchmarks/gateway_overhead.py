"""What the gateway costs: the same function called through it and at its own port, in turns, by the same client.

And what a call costs that finds no replica: the gateway starts a process for it and holds it until that is ready.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, milliseconds, per_second
from benchmarks.machine import children, listening_ports
from benchmarks.processes import BenchmarkError, Role

IN_FLIGHT = (1, 32)
REQUESTS = 4_000
BODY_BYTES = 250
COLD_STARTS = 20
_POLL_S = 0.01


def run(size: Size, folder: Path) -> list[Table]:
    """Direct and through, at each number in flight."""
    requests = size.of(REQUESTS, 40)
    with ExitStack() as stack:
        gateway = stack.enter_context(parts.gateway(folder))
        client = stack.enter_context(Role("client", folder))
        ports = [port for pid in children(gateway.child.pid) for port in listening_ports(pid)]
        if len(ports) != 1:
            raise BenchmarkError(f"the gateway's function should listen on one port, not on {ports}")
        urls = {
            "direct": f"http://127.0.0.1:{ports[0]}/",
            "gateway": f"http://127.0.0.1:{gateway.port}/function/{parts.FUNCTION}",
        }
        measures = {
            f"{name} {in_flight}": partial(_measure, client, url, in_flight, requests)
            for in_flight in IN_FLIGHT
            for name, url in urls.items()
        }
        found = interleave(measures, size.rounds)
        cold = [_cold(gateway) for _ in range(size.of(COLD_STARTS, 2))]
    rows = []
    for in_flight in IN_FLIGHT:
        direct, through = found[f"direct {in_flight}"], found[f"gateway {in_flight}"]
        ratios = [theirs[0] / ours[0] for theirs, ours in zip(direct, through, strict=True)]
        added = [ours[1] - theirs[1] for theirs, ours in zip(direct, through, strict=True)]
        for name, samples in (("direct", direct), ("through the gateway", through)):
            rate, p50, p99 = (median(column) for column in zip(*samples, strict=True))
            extra = [f"{median(ratios):.2f}", milliseconds(median(added))] if name != "direct" else ["", ""]
            rows.append(
                [f"{name}, {in_flight} in flight", per_second(rate), milliseconds(p50), milliseconds(p99), *extra]
            )
    columns = ("", "requests/s", "p50 ms", "p99 ms", "times slower", "p50 added ms")
    title = f"Gateway: POST of {BODY_BYTES} bytes to one replica, {size.rounds} x {requests:,} requests"
    woken = [[f"{median(cold):.2f}", f"{max(cold):.2f}"]]
    return [
        Table(title, columns, rows),
        Table(f"Gateway: {len(cold)} calls of a function at zero replicas", ("median s", "max s"), woken),
    ]


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


def _measure(client: Role, url: str, in_flight: int, requests: int) -> tuple[float, float, float]:
    found = client.ask("post", url=url, library="bare", in_flight=in_flight, requests=requests, bytes=BODY_BYTES)
    return requests / found["seconds"], found["p50_s"], found["p99_s"]
