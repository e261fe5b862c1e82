"""What the invoker's client is worth: httpx, aiohttp, ours and a bare one, the floor, post to one sink in turns."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.figures import Size, Table, interleave, median, milliseconds, per_second
from benchmarks.processes import Role

LIBRARIES = ("httpx", "aiohttp", "ours", "bare")
IN_FLIGHT = (1, 4, 32)
REQUESTS = 3_000
BODY_BYTES = 250


def run(size: Size, folder: Path) -> list[Table]:
    """Every client at every number in flight."""
    requests = size.of(REQUESTS, 40)
    with ExitStack() as stack:
        sink = stack.enter_context(Role("sink", folder))
        client = stack.enter_context(Role("client", folder))
        url = f"http://127.0.0.1:{sink.hello['port']}/function/bench"
        measures = {
            f"{library}, {in_flight} in flight": partial(_measure, client, sink, url, library, in_flight, requests)
            for in_flight in IN_FLIGHT
            for library in LIBRARIES
        }
        found = interleave(measures, size.rounds)
    rows = []
    for name, samples in found.items():
        base = found[f"{LIBRARIES[0]},{name.partition(',')[2]}"]
        ratio = median(ours[0] / theirs[0] for ours, theirs in zip(samples, base, strict=True))
        rate, cpu, p50, p99 = (median(column) for column in zip(*samples, strict=True))
        rows.append(
            [
                name,
                per_second(rate),
                f"{ratio:.1f}x",
                f"{cpu * 1000 / requests:.2f}",
                milliseconds(p50),
                milliseconds(p99),
            ]
        )
    columns = ("", "requests/s", "of httpx", "CPU s per 1,000", "p50 ms", "p99 ms")
    title = f"Invoker: POST of {BODY_BYTES} bytes, kept alive, {size.rounds} x {requests:,} requests"
    return [Table(title, columns, rows)]


def _measure(
    client: Role, sink: Role, url: str, library: str, in_flight: int, requests: int
) -> tuple[float, float, float, float]:
    sink.ask("reset")
    found = client.ask("post", url=url, library=library, in_flight=in_flight, requests=requests, bytes=BODY_BYTES)
    return requests / found["seconds"], found["cpu_s"], found["p50_s"], found["p99_s"]
