"""Soak: event after event through a dispatcher, or an agent, a million of them: does its memory stay where it was.

A sink that only counts, and a publisher that makes as many events as fit in a burst of a few seconds, stay small
themselves. The run ends early when it takes too long, and says how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import parts
from benchmarks.agent_burst import agent
from benchmarks.dispatcher_burst import MAPPING, SENSORS
from benchmarks.figures import Size, Table, median, per_second
from benchmarks.machine import resident_mb
from benchmarks.processes import BenchmarkError, Role

EVENTS_PER_ROUND = 333_334
BURST = 10_000
EDGES = 5_000
"""A burst of edges, on ten pins; the subscriber forgets one before the next."""
LONGEST_S = 540.0
_WAIT_S = 60.0
_COLUMNS: Final = ("", "first tenth", "last tenth", "change")


@dataclass(frozen=True, slots=True)
class Sample:
    """After a burst: how quick it was, and how large the program, what measures it, and the program's state are."""

    rate: float
    resident_mb: float
    measurer_mb: float
    disk_mb: float


def run(size: Size, folder: Path) -> list[Table]:
    """Burst after burst through a dispatcher; the first tenth of them beside the last."""
    wanted, burst = _so_many(size, BURST)
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder, "--count"))
        url = f"http://127.0.0.1:{sink.hello['port']}"
        dispatcher = stack.enter_context(parts.dispatcher(folder, broker.port, url, MAPPING))
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))

        def once(total: int) -> Sample:
            began_ns = publisher.ask("burst", count=burst, sensors=SENSORS, foreign=False, epoch="soak")["began_ns"]
            found = sink.ask("wait", count=total, within_s=_WAIT_S)
            if found["count"] < total:
                raise BenchmarkError(f"{found['count']:,} of {total:,} events came; {dispatcher.child.last_words()}")
            rate = burst / ((found["last_ns"] - began_ns) / 1e9)
            place = folder / "dispatcher"
            return Sample(rate, resident_mb(dispatcher.child.pid), resident_mb(sink.pid), _on_disk_mb(place))

        samples, took_s = _soak(wanted, burst, once)
        report = sink.ask("report")
    total = len(samples) * burst
    wrong = total - report["distinct"], report["repeated"], report["out_of_order"]
    notes = [_how_far(total, wanted, burst, took_s), "Missing {:,}, repeated {:,}, out of order {:,}.".format(*wrong)]
    rows = _rows("dispatcher", "the sink", samples)
    return [Table(f"Soak: {total:,} events through a dispatcher", _COLUMNS, rows, notes)]


def run_agent(size: Size, folder: Path) -> list[Table]:
    """Burst after burst of edges through an agent, whose events a dispatcher's half confirms."""
    wanted, burst = _so_many(size, EDGES)
    with ExitStack() as stack:
        pins, subscriber = stack.enter_context(agent(folder))

        def once(total: int) -> Sample:
            subscriber.ask("reset")
            began_ns = pins.ask("toggle", count=burst, interval_s=0)["at_ns"][0]
            found = subscriber.ask("wait", count=burst, within_s=_WAIT_S)
            if found["count"] < burst:
                before = total - burst
                raise BenchmarkError(f"{before + found['count']:,} of {total:,} events came; {pins.last_words()}")
            rate = burst / ((found["last_ns"] - began_ns) / 1e9)
            return Sample(rate, resident_mb(pins.pid), resident_mb(subscriber.pid), _on_disk_mb(folder / "agent"))

        samples, took_s = _soak(wanted, burst, once)
    total = len(samples) * burst
    rows = _rows("agent", "the subscriber", samples)
    notes = [_how_far(total, wanted, burst, took_s), "Each burst has arrived before the next one began: none missing."]
    return [Table(f"Soak: {total:,} edges through an agent", _COLUMNS, rows, notes)]


def _so_many(size: Size, burst: int) -> tuple[int, int]:
    """How many events altogether, and in a burst."""
    wanted = size.of(EVENTS_PER_ROUND, 100) * size.rounds
    return wanted, min(burst, -(-wanted // 10))


def _soak(wanted: int, burst: int, once: Callable[[int], Sample]) -> tuple[list[Sample], float]:
    """Ask for one burst after another, with the number of events it comes to; the samples, and how long it took."""
    samples: list[Sample] = []
    began = time.monotonic()
    while len(samples) * burst < wanted and (len(samples) < 10 or time.monotonic() - began < LONGEST_S):
        samples.append(once((len(samples) + 1) * burst))
    return samples, time.monotonic() - began


def _how_far(total: int, wanted: int, burst: int, took_s: float) -> str:
    return f"{total:,} of {wanted:,} events in {took_s:.0f} s, looked at every {burst:,}."


def _rows(program: str, measurer: str, samples: Sequence[Sample]) -> list[list[str]]:
    tenth = max(1, len(samples) // 10)
    first, last = samples[:tenth], samples[-tenth:]
    return [
        _row(f"{program}, RSS MB (median)", [one.resident_mb for one in first], [one.resident_mb for one in last]),
        [f"{program}, RSS MB (highest)", *_highest(first, last)],
        _row("its state folder, MB", [one.disk_mb for one in first], [one.disk_mb for one in last]),
        _row(f"{measurer}, RSS MB", [one.measurer_mb for one in first], [one.measurer_mb for one in last]),
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
