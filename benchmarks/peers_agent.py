"""Side by side: from a pin's edge to broker and MQTT subscriber, through our agent, mqtt-io and a bare script.

Every measurement has a Mosquitto, a subscriber and the one program under test, all started anew. All pins are
gpiozero's mock pins, toggled inside the program's process by the same code. Rounds are interleaved.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import parts
from benchmarks.figures import (
    Size,
    Table,
    interleave,
    latencies_s,
    median,
    milliseconds,
    per_second,
    percentile,
    without_figures,
)
from benchmarks.machine import cpu_s, resident_mb
from benchmarks.peers.bare import BARE, HOP
from benchmarks.peers.mqtt_io import MQTT_IO
from benchmarks.peers.ours import AGENT
from benchmarks.peers.peer import AgentPeer
from benchmarks.processes import BenchmarkError, Role
from benchmarks.wire import Wire, forbidden

PEERS: Final = (AGENT, MQTT_IO, BARE, HOP)
EDGES = 5_000
PACED = 300
EDGES_PER_S = 30
PINS: Final = tuple(range(4, 14))
_WARM_UP = 60
_READY_S = 20.0
_WAIT_S = 30.0
_QUIET_S = 0.3
_COLUMNS = (
    "", "p50 ms", "p99 ms", "max ms", "p50 ms to the broker", "burst events/s", "ours/theirs", "CPU s per 1,000",
    "RSS MB", "missing",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One program, at a pace and then in a burst."""

    p50_s: float
    p99_s: float
    highest_s: float
    to_broker_s: float | None
    """The median until the broker's end of the connection; None where nobody can see that."""
    rate: float
    cpu_s: float
    resident_mb: float
    missing: int


def run(size: Size, folder: Path) -> list[Table]:
    """One table."""
    return measure(size, folder, PEERS)


def measure(size: Size, folder: Path, programs: Sequence[AgentPeer]) -> list[Table]:
    """The first program is ours; one that cannot be installed or started has a row that says why."""
    paced, edges = size.of(PACED, 10), size.of(EDGES, 50)
    measures = {one.name: partial(_measured, one, folder, paced, edges) for one in programs}
    found = interleave(measures, size.rounds)
    ours = [sample.rate for sample in found[programs[0].name] if isinstance(sample, Sample)]
    notes = [one.told for one in programs if one.told]
    if (unseen := forbidden()) is not None:
        notes.append(f"{unseen[0].upper()}{unseen[1:]}.")
    rows = []
    for one in programs:
        compared = median(ours) if ours and one is not programs[0] else 0.0
        rows.append(_row(one.name, found[one.name], compared, notes))
    title = f"Agents: {size.rounds} x {paced:,} edges, {EDGES_PER_S} a second, then {edges:,} at once, {len(PINS)} pins"
    return [Table(title, _COLUMNS, rows, notes)]


def _measured(program: AgentPeer, folder: Path, paced: int, edges: int) -> Sample | str:
    """One program; or why it could not be measured."""
    place = folder / f"{program.name}-{time.monotonic_ns()}"
    place.mkdir()
    try:
        program.install()
        with ExitStack() as stack:
            broker = stack.enter_context(parts.broker(place))
            subscriber = stack.enter_context(Role("subscriber", place, str(broker.port), program.topic))
            pins = stack.enter_context(program.start(place, broker.port, PINS))
            _until_ready(pins, subscriber)
            _paced(pins, subscriber, min(_WARM_UP, paced))
            with Wire(broker.port, program.topic) as wire:
                edges_ns, arrived_ns = _paced(pins, subscriber, paced)
                at_broker_ns = wire.arrivals_ns()
            rate, used, missing = _burst(pins, subscriber, edges)
            p50, p99, highest = (percentile(latencies_s(edges_ns, arrived_ns), percent) for percent in (50, 99, 100))
            to_broker = percentile(latencies_s(edges_ns, at_broker_ns), 50) if at_broker_ns else None
            return Sample(p50, p99, highest, to_broker, rate, used, resident_mb(pins.pid), missing)
    except BenchmarkError as error:
        return str(error)


def _until_ready(pins: Role, subscriber: Role) -> None:
    """Toggle until something arrives, then until nothing more does: levels found at the start may be events, too."""
    deadline = time.monotonic() + _READY_S
    while True:
        subscriber.ask("reset")
        pins.ask("toggle", count=1, interval_s=0)
        if subscriber.ask("wait", count=1, within_s=0.3)["count"]:
            break
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no edge arrived within {_READY_S:g} s; {pins.last_words()}")
    before = -1
    while (now := subscriber.ask("wait", count=1 << 60, within_s=_QUIET_S)["count"]) != before:
        before = now


def _paced(pins: Role, subscriber: Role, count: int) -> tuple[list[int], list[int]]:
    """When each edge was made, and when each arrived at the subscriber, in ns."""
    subscriber.ask("reset")
    edges = pins.ask("toggle", count=count, interval_s=1 / EDGES_PER_S)["at_ns"]
    arrived = subscriber.ask("wait", count=count, within_s=_WAIT_S)["count"]
    if arrived != count:
        raise BenchmarkError(f"{count} edges became {arrived} messages; {pins.last_words()}")
    return edges, subscriber.ask("times")["at_ns"]


def _burst(pins: Role, subscriber: Role, count: int) -> tuple[float, float, int]:
    """Events a second from the first edge to the last arrival; processor seconds per 1,000; how many are missing."""
    subscriber.ask("reset")
    cpu = cpu_s(pins.pid)
    edges = pins.ask("toggle", count=count, interval_s=0)["at_ns"]
    found = subscriber.ask("wait", count=count, within_s=_WAIT_S)
    used = cpu_s(pins.pid) - cpu
    rate = found["count"] / ((found["last_ns"] - edges[0]) / 1e9) if found["count"] else 0.0
    return rate, used * 1000 / count, count - found["count"]


def _row(name: str, found: Sequence[Sample | str], ours: float, notes: list[str]) -> list[str]:
    samples = [sample for sample in found if isinstance(sample, Sample)]
    if not samples:
        return without_figures(name, str(found[0]), _COLUMNS, notes)
    rate = median(sample.rate for sample in samples)
    seen = [sample.to_broker_s for sample in samples if sample.to_broker_s is not None]
    return [
        name,
        milliseconds(median(sample.p50_s for sample in samples)),
        milliseconds(median(sample.p99_s for sample in samples)),
        milliseconds(median(sample.highest_s for sample in samples)),
        milliseconds(median(seen)) if seen else "",
        per_second(rate),
        f"{ours / rate:.2f}" if ours and rate else "",
        f"{median(sample.cpu_s for sample in samples):.3f}",
        f"{max(sample.resident_mb for sample in samples):.0f}",
        f"{sum(sample.missing for sample in samples):,}",
    ]
