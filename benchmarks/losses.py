"""Side by side: how many events are lost by a kill -9 in the middle of a burst, and by a function that fails for 3 s.

The broker is the same for all and forgets nothing; what is lost was acknowledged before it was done with.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import Size, Table, interleave, without_figures
from benchmarks.peers.peer import Peer
from benchmarks.peers_burst import PEERS, SENSORS, Bench, Work, bench, unusable
from benchmarks.processes import BenchmarkError

BURST = 3_000
PACED = 1_600
EVENTS_PER_S = 400
FAILS_S = 3.0
_SLOW_MS = 10
_FAILS_AFTER_S = 0.5
_COLUMNS: Final = ("", "kill -9: lost", "repeated", f"500 for {FAILS_S:g} s: lost", "repeated")

Sample = tuple[int, int, int, int]
"""Of the kill, then of the failing function: how many events are missing, and how many requests told one again."""


def run(size: Size, folder: Path) -> list[Table]:
    """One table."""
    return measure(size, folder, PEERS)


def measure(size: Size, folder: Path, programs: Sequence[Peer]) -> list[Table]:
    """A program that cannot be installed or started has a row that says why."""
    burst, paced = size.of(BURST, 200), size.of(PACED, 100)
    refused = unusable(programs)
    usable = [one for one in programs if one.name not in refused]
    found = interleave({one.name: partial(_measured, one, burst, paced, folder) for one in usable}, size.rounds)
    rows, notes = [], list[str]()
    for one in programs:
        samples = [sample for sample in found.get(one.name, []) if not isinstance(sample, str)]
        if not samples:
            why = refused.get(one.name) or str(found[one.name][0])
            rows.append(without_figures(one.name, why, _COLUMNS, notes))
            continue
        sums = [sum(column) for column in zip(*samples, strict=True)]
        of = (burst * len(samples), 0, paced * len(samples), 0)
        rows.append(
            [one.name, *(f"{got:,} of {all_:,}" if all_ else f"{got:,}" for got, all_ in zip(sums, of, strict=True))]
        )
    return [Table(f"Losses: {size.rounds} rounds, {SENSORS} sensors", _COLUMNS, rows, notes)]


def _measured(program: Peer, burst: int, paced: int, folder: Path) -> Sample | str:
    try:
        killed = _in_a_place(program, folder, Work("kill", burst, delay_ms=_SLOW_MS), partial(_killed, program))
        failed = _in_a_place(program, folder, Work("failing", paced), partial(_failing, program))
    except BenchmarkError as error:
        return str(error)
    return (*killed, *failed)


def _in_a_place(program: Peer, folder: Path, work: Work, happen: Callable[[Bench], None]) -> tuple[int, int]:
    place = folder / f"{program.name}-{work.name}-{time.monotonic_ns()}"
    place.mkdir()
    with bench(work, place) as on:
        happen(on)
        report = on.sink.ask("report")
    return work.events - report["distinct"], report["repeated"]


def _killed(program: Peer, on: Bench) -> None:
    """Kill it when a tenth of the burst has come; start it again on what it has kept; wait for the rest."""
    with on.running(program) as child:
        on.publish(on.work.events)
        on.arrivals(on.work.events // 10)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
    with program.start(on.place) as child:
        on.arrivals(on.work.events, program.retry_s)
        on.until_quiet()
        child.check()


def _failing(program: Peer, on: Bench) -> None:
    """The function answers 500 for a while, in the middle of a steady pace."""
    with on.running(program):
        on.publisher.tell(
            "pace", count=on.work.events, sensors=SENSORS, foreign=False, epoch="bench", interval_s=1 / EVENTS_PER_S
        )
        time.sleep(_FAILS_AFTER_S)
        on.sink.ask("fail", for_s=FAILS_S)
        on.publisher.answer()
        on.arrivals(on.work.events, program.retry_s)
        on.until_quiet()
