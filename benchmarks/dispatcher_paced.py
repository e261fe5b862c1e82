"""Latency of a dispatcher at a steady pace: from the event's time, just before its publication, to the HTTP request."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import parts
from benchmarks.dispatcher_burst import MAPPING, SENSORS
from benchmarks.figures import Size, Table, interleave, median, milliseconds, percentile
from benchmarks.machine import cpu_s, starved_s
from benchmarks.processes import BenchmarkError, Child, Role

RATES = (100, 1_000)
SECONDS = 5
_WAIT_S = 30.0


def run(size: Size, folder: Path) -> list[Table]:
    """Each rate in turns."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder))
        url = f"http://127.0.0.1:{sink.hello['port']}"
        dispatcher = stack.enter_context(parts.dispatcher(folder, broker.port, url, MAPPING))
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))

        measure = partial(_paced, dispatcher.child, publisher, sink)
        measure(1_000, 200)  # to warm up
        rates = {f"{rate:,} a second": partial(measure, rate, size.of(rate * SECONDS, 20)) for rate in RATES}
        found = interleave(rates, size.rounds)
    rows = []
    for name, samples in found.items():
        p50, p99, highest, cpu, starved, late = (median(column) for column in zip(*samples, strict=True))
        rows.append(
            [name, *(milliseconds(one) for one in (p50, p99, highest)), f"{cpu:.3f}", f"{starved:.3f}", f"{late:.0f}"]
        )
    columns = ("", "p50 ms", "p99 ms", "max ms", "CPU s per 1,000", "starved s", "published late")
    title = (
        f"Dispatcher at a pace: {size.rounds} x {size.of(SECONDS * RATES[-1], 20) / RATES[-1]:g} s, {SENSORS} sensors"
    )
    return [
        Table(
            title,
            columns,
            rows,
            [
                "From the event's time to the HTTP request, the broker included.",
                "Starved: the dispatcher could run but had no core, per 1,000 events; much of it spoils the run.",
            ],
        )
    ]


def _paced(dispatcher: Child, publisher: Role, sink: Role, rate: int, count: int) -> tuple[float, ...]:
    """p50, p99, highest latency in seconds; processor and starved seconds per 1,000 events; events published late."""
    sink.ask("reset")
    cpu, starved = cpu_s(dispatcher.pid), starved_s(dispatcher.pid)
    interval_s = 1 / rate
    paced = publisher.ask("pace", count=count, sensors=SENSORS, foreign=False, epoch="bench", interval_s=interval_s)
    found = sink.ask("wait", count=count, within_s=_WAIT_S)
    used, waited = cpu_s(dispatcher.pid) - cpu, starved_s(dispatcher.pid) - starved
    if found["count"] != count:
        raise BenchmarkError(f"{found['count']} of {count} events became requests; {dispatcher.last_words()}")
    latencies = sink.ask("report")["latencies_s"]
    return (
        *(percentile(latencies, percent) for percent in (50, 99, 100)),
        used * 1000 / count,
        waited * 1000 / count,
        paced["late"],
    )
