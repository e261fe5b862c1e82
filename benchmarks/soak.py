"""Soak: event after event through a dispatcher, a million of them, to see whether its memory stays where it was.

A sink that only counts, and a publisher that makes as many events as fit in a burst of a few seconds, stay small
themselves. The run ends early when it takes too long, and says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import parts
from benchmarks.dispatcher_burst import MAPPING, SENSORS
from benchmarks.figures import Size, Table, median, per_second
from benchmarks.machine import resident_mb
from benchmarks.processes import BenchmarkError, Role

EVENTS_PER_ROUND = 333_334
BURST = 10_000
LONGEST_S = 540.0
_WAIT_S = 60.0
_COLUMNS: Final = ("", "first tenth", "last tenth", "change")


@dataclass(frozen=True, slots=True)
class Sample:
    """After a burst: how quick it was, and how large the program and its journal are then."""

    rate: float
    resident_mb: float
    sink_mb: float
    disk_mb: float


def run(size: Size, folder: Path) -> list[Table]:
    """Burst after burst; the first tenth of them beside the last."""
    wanted = size.of(EVENTS_PER_ROUND, 100) * size.rounds
    burst = min(BURST, -(-wanted // 10))
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder, "--count"))
        url = f"http://127.0.0.1:{sink.hello['port']}"
        dispatcher = stack.enter_context(parts.dispatcher(folder, broker.port, url, MAPPING))
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))
        samples: list[Sample] = []
        began = time.monotonic()
        while len(samples) * burst < wanted and (len(samples) < 10 or time.monotonic() - began < LONGEST_S):
            began_ns = publisher.ask("burst", count=burst, sensors=SENSORS, foreign=False, epoch="soak")["began_ns"]
            total = (len(samples) + 1) * burst
            found = sink.ask("wait", count=total, within_s=_WAIT_S)
            if found["count"] < total:
                raise BenchmarkError(f"{found['count']:,} of {total:,} events came; {dispatcher.child.last_words()}")
            rate = burst / ((found["last_ns"] - began_ns) / 1e9)
            place = folder / "dispatcher"
            samples.append(Sample(rate, resident_mb(dispatcher.child.pid), resident_mb(sink.pid), _on_disk_mb(place)))
        report = sink.ask("report")
    total = len(samples) * burst
    wrong = total - report["distinct"], report["repeated"], report["out_of_order"]
    notes = [
        f"{total:,} of {wanted:,} events in {time.monotonic() - began:.0f} s, looked at every {burst:,}.",
        "Missing {:,}, repeated {:,}, out of order {:,}.".format(*wrong),
    ]
    return [Table(f"Soak: {total:,} events through a dispatcher", _COLUMNS, _rows(samples), notes)]


def _rows(samples: Sequence[Sample]) -> list[list[str]]:
    tenth = max(1, len(samples) // 10)
    first, last = samples[:tenth], samples[-tenth:]
    return [
        _row("dispatcher, RSS MB (median)", [one.resident_mb for one in first], [one.resident_mb for one in last]),
        ["dispatcher, RSS MB (highest)", *_highest(first, last)],
        _row("its state folder, MB", [one.disk_mb for one in first], [one.disk_mb for one in last]),
        _row("the sink, RSS MB", [one.sink_mb for one in first], [one.sink_mb for one in last]),
        ["events/s", *_rates(first, last)],
    ]


def _row(name: str, first: Sequence[float], last: Sequence[float]) -> list[str]:
    before, after = median(first), median(last)
    return [name, f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"]


def _highest(first: Sequence[Sample], last: Sequence[Sample]) -> tuple[str, str, str]:
    before, after = max(one.resident_mb for one in first), max(one.resident_mb for one in last)
    return f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"


def _rates(first: Sequence[Sample], last: Sequence[Sample]) -> tuple[str, str, str]:
    before, after = median(one.rate for one in first), median(one.rate for one in last)
    return per_second(before), per_second(after), f"{after - before:+,.0f}"


def _on_disk_mb(folder: Path) -> float:
    """All files of a folder, in MB; one may be gone between being listed and being looked at."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue
    return total / 1e6
