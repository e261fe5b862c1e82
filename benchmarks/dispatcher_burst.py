"""Events per second through a dispatcher: a burst into an instant HTTP sink that plays the gateway.

Journal and order per sensor are on, everything is QoS 1 and acknowledged; the sink checks order and counts repetitions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, per_second
from benchmarks.machine import cpu_s, resident_mb
from benchmarks.processes import Role

EVENTS = 20_000
SENSORS = 50
SLOW_MS = 10
SLOW_EVENTS = 4_000
MAPPING: dict[str, Any] = {"select": [{"node": "*", "sensor": "*"}, {"topic": "zigbee2mqtt/+"}]}
_WAIT_S = 120.0


def run(size: Size, folder: Path) -> list[Table]:
    """Bursts of sensor events and of a foreign device's messages in turns; then a function that takes its time."""
    count = size.of(EVENTS, 100)
    rows = _bursts(
        folder / "instant",
        0,
        size.rounds,
        {f"{SENSORS} sensors": (False, count), f"{SENSORS} foreign topics": (True, count)},
    )
    slow = size.of(SLOW_EVENTS, 100)
    rows += _bursts(
        folder / "slow", SLOW_MS, size.rounds, {f"{SENSORS} sensors, a function of {SLOW_MS} ms": (False, slow)}
    )
    columns = ("", "events", "events/s", "CPU s per 1,000", "RSS MB", "missing", "repeated", "out of order")
    return [Table(f"Dispatcher: {size.rounds} bursts each, MQTT to HTTP", columns, rows)]


def _bursts(folder: Path, delay_ms: int, rounds: int, variants: dict[str, tuple[bool, int]]) -> list[list[str]]:
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder, "--delay-ms", str(delay_ms)))
        url = f"http://127.0.0.1:{sink.hello['port']}"
        dispatcher = stack.enter_context(parts.dispatcher(folder, broker.port, url, MAPPING))
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))
        measures: dict[str, Callable[[], tuple[float, ...]]] = {
            name: partial(_burst, dispatcher.child.pid, publisher, sink, foreign=foreign, count=count)
            for name, (foreign, count) in variants.items()
        }
        _burst(dispatcher.child.pid, publisher, sink, foreign=False, count=100)  # to warm up
        found = interleave(measures, rounds)
    rows = []
    for name, samples in found.items():
        rate, cpu, resident, missing, repeated, disorder = (list(column) for column in zip(*samples, strict=True))
        count = variants[name][1]
        rows.append(
            [
                name,
                f"{count:,}",
                per_second(median(rate)),
                f"{median(cpu) * 1000 / count:.3f}",
                f"{max(resident):.0f}",
                *(f"{sum(column):.0f}" for column in (missing, repeated, disorder)),
            ]
        )
    return rows


def _burst(pid: int, publisher: Role, sink: Role, *, foreign: bool, count: int) -> tuple[float, ...]:
    """Events a second from the first publish to the last request; CPU, memory, and what the sink found wrong."""
    sink.ask("reset")
    cpu = cpu_s(pid)
    began_ns = publisher.ask("burst", count=count, sensors=SENSORS, foreign=foreign, epoch="bench")["began_ns"]
    found = sink.ask("wait", within_s=_WAIT_S, count=count)
    used, resident = cpu_s(pid) - cpu, resident_mb(pid)
    report = sink.ask("report")
    distinct = report["distinct"]
    rate = found["count"] / ((found["last_ns"] - began_ns) / 1e9)
    return rate, used, resident, count - distinct, found["count"] - distinct, report["out_of_order"]
