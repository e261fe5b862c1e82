"""Side by side: a burst through our dispatcher, and through what somebody would install instead.

Every measurement has a Mosquitto, a sink, a publisher and the one program under test, all started anew, so that no two
programs compete for the cores and no broker keeps for one what was published for another. Rounds are interleaved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, per_second, without_figures
from benchmarks.machine import cpu_s, resident_mb
from benchmarks.peers.mq_bridge import MQ_BRIDGE
from benchmarks.peers.mqttwarn import MQTTWARN
from benchmarks.peers.node_red import NODE_RED
from benchmarks.peers.ours import DISPATCHER
from benchmarks.peers.peer import Peer, Place
from benchmarks.processes import BenchmarkError, Child, Role

PEERS: Final = (DISPATCHER, MQ_BRIDGE, NODE_RED, MQTTWARN)
EVENTS = 20_000
SENSORS = 50
SLOW_MS = 10
SLOW_EVENTS = 4_000
FOREIGN_TOPIC: Final = "zigbee2mqtt/+"
_WARM_UP = 500
_READY_S = 30.0
_QUIET_S = 0.3
_STUCK_S = 10.0
_LONGEST_S = 120.0
_ENDLESS = 1 << 60
_COLUMNS = ("", "events", "events/s", "ours/theirs", "CPU s per 1,000", "RSS MB", "missing", "repeated", "out of order")


@dataclass(frozen=True, slots=True)
class Work:
    """What all programs do in turns: so many events, from sensors or foreign topics, into a sink of some speed."""

    name: str
    events: int
    foreign: bool = False
    delay_ms: int = 0

    @property
    def topic(self) -> str:
        """What a program subscribes to for it."""
        return FOREIGN_TOPIC if self.foreign else parts.EVENTS


@dataclass(frozen=True, slots=True)
class Sample:
    """One burst through one program."""

    rate: float
    cpu_s: float
    resident_mb: float
    missing: int
    repeated: int
    out_of_order: int


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything around the program under test, where it runs, and what it does."""

    work: Work
    place: Place
    sink: Role
    publisher: Role

    @contextmanager
    def running(self, program: Peer) -> Iterator[Child]:
        """Start the program, and wait until an event goes all the way."""
        with program.start(self.place) as child:
            _until_ready(self, child)
            yield child

    def publish(self, count: int, epoch: str = "bench") -> int:
        """Publish a burst; when it began, in ns since the epoch."""
        told = self.publisher.ask("burst", count=count, sensors=SENSORS, foreign=self.work.foreign, epoch=epoch)
        began_ns: int = told["began_ns"]
        return began_ns

    def arrivals(self, count: int, stuck_s: float = _STUCK_S) -> tuple[int, int]:
        """How many requests came, and when the last one did: waits for `count`, or until no more come for a while."""
        deadline, before = time.monotonic() + _LONGEST_S, -1
        while True:
            found = self.sink.ask("wait", count=count, within_s=stuck_s)
            got: int = found["count"]
            if got >= count or got == before or time.monotonic() > deadline:
                return got, found["last_ns"]
            before = got

    def until_quiet(self, quiet_s: float = _QUIET_S) -> int:
        """Wait until nothing comes any more; how many requests came."""
        return self.arrivals(_ENDLESS, quiet_s)[0]


def run(size: Size, folder: Path) -> list[Table]:
    """A table for each work."""
    return measure(size, folder, PEERS, works(size))


def works(size: Size) -> tuple[Work, ...]:
    """What all programs do."""
    count, slow = size.of(EVENTS, 100), size.of(SLOW_EVENTS, 100)
    return (
        Work(f"Peers: events of {SENSORS} sensors, an instant function", count),
        Work(f"Peers: messages on {SENSORS} foreign topics, an instant function", count, foreign=True),
        Work(f"Peers: events of {SENSORS} sensors, a function of {SLOW_MS} ms", slow, delay_ms=SLOW_MS),
    )


def measure(size: Size, folder: Path, programs: Sequence[Peer], works: Sequence[Work]) -> list[Table]:
    """The first program is ours; one that cannot be installed or started has a row that says why."""
    refused = unusable(programs)
    tables = []
    for number, work in enumerate(works):
        place = folder / str(number)
        place.mkdir()
        usable = {one.name: partial(_measured, one, work, place) for one in programs if one.name not in refused}
        found = interleave(usable, size.rounds)
        notes = [] if number else [one.told for one in programs if one.told]
        rows = _rows(programs, work, found, refused, notes)
        tables.append(Table(f"{work.name}, {size.rounds} bursts each", _COLUMNS, rows, notes))
    return tables


def unusable(programs: Sequence[Peer]) -> dict[str, str]:
    """Install all; why some cannot be."""
    refused = {}
    for one in programs:
        try:
            one.install()
        except BenchmarkError as error:
            refused[one.name] = str(error)
    return refused


@contextmanager
def bench(work: Work, folder: Path) -> Iterator[Bench]:
    """Start everything around a program: broker, sink and publisher."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder, "--delay-ms", str(work.delay_ms)))
        place = Place(folder, broker.port, work.topic, f"http://127.0.0.1:{sink.hello['port']}")
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))
        yield Bench(work, place, sink, publisher)


def _measured(program: Peer, work: Work, folder: Path) -> Sample | str:
    """A burst through one program; or why there was none."""
    place = folder / f"{program.name}-{time.monotonic_ns()}"
    place.mkdir()
    try:
        with bench(work, place) as on, on.running(program) as child:
            return _burst(on, child, share_of(program, work))
    except BenchmarkError as error:
        return str(error)


def share_of(program: Peer, work: Work) -> int:
    """How many events a program gets. A function that takes its time is nobody's hurry: everybody gets all of them."""
    return work.events if work.delay_ms else max(100, round(work.events * program.share))


def _burst(on: Bench, child: Child, count: int) -> Sample:
    warm_up = min(_WARM_UP, count)
    on.publish(warm_up)
    on.arrivals(warm_up)  # all of them: one that came later would count as one of the burst
    on.until_quiet()
    on.sink.ask("reset")
    cpu = cpu_s(child.pid)
    began_ns = on.publish(count)
    got, last_ns = on.arrivals(count)
    child.check()
    used, resident = cpu_s(child.pid) - cpu, resident_mb(child.pid)
    on.until_quiet()  # what was told twice is among the `count`, so that others may still be on their way
    report = on.sink.ask("report")
    rate = got / ((last_ns - began_ns) / 1e9) if got else 0.0
    return Sample(
        rate, used * 1000 / count, resident, count - report["distinct"], report["repeated"], report["out_of_order"]
    )


def _until_ready(on: Bench, child: Child) -> None:
    """Publish single events until one arrives: whoever is not subscribed yet misses them."""
    deadline = time.monotonic() + _READY_S
    while on.sink.ask("wait", count=1, within_s=0.2)["count"] == 0:
        child.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"nothing arrived within {_READY_S:g} s; {child.last_words()}")
        on.publish(1, "probe")
    on.until_quiet()
    on.sink.ask("reset")


def _rows(
    programs: Sequence[Peer],
    work: Work,
    found: dict[str, list[Sample | str]],
    refused: dict[str, str],
    notes: list[str],
) -> list[list[str]]:
    rates = {
        name: median(one.rate for one in samples if isinstance(one, Sample))
        for name, samples in found.items()
        if any(isinstance(one, Sample) for one in samples)
    }
    ours = rates.get(programs[0].name)
    rows = []
    for one in programs:
        samples = [sample for sample in found.get(one.name, []) if isinstance(sample, Sample)]
        if not samples:
            why = refused.get(one.name) or next(str(sample) for sample in found[one.name])
            rows.append(without_figures(one.name, why, _COLUMNS, notes))
            continue
        rate = rates[one.name]
        rows.append(
            [
                one.name,
                f"{share_of(one, work):,}",
                per_second(rate),
                f"{ours / rate:.2f}" if ours and rate and one is not programs[0] else "",
                f"{median(sample.cpu_s for sample in samples):.3f}",
                f"{max(sample.resident_mb for sample in samples):.0f}",
                *(
                    f"{sum(counts):,}"
                    for counts in (
                        [sample.missing for sample in samples],
                        [sample.repeated for sample in samples],
                        [sample.out_of_order for sample in samples],
                    )
                ),
            ]
        )
    return rows
