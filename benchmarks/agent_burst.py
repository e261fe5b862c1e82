"""Events per second through an agent: pins toggle as quickly as a thread can do it, until the last event is out.

The outbox keeps every event on the disk before it goes out; the broker's acknowledgement ends it here (`confirm:
broker`), because no dispatcher runs.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import parts
from benchmarks.figures import Size, Table, median, per_second
from benchmarks.machine import cpu_s
from benchmarks.processes import Role

EDGES = 5_000
SENSORS = 10
"""An agent keeps 1,000 edges of one sensor waiting, and drops the oldest of more: no real pin is as quick as a mock."""
_WAIT_S = 60.0


def run(size: Size, folder: Path) -> list[Table]:
    """A burst per round."""
    count = size.of(EDGES, 50)
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        subscriber = stack.enter_context(Role("subscriber", folder, str(broker.port), parts.EVENTS))
        pins = stack.enter_context(parts.pins(folder, broker.port, "broker", SENSORS))
        subscriber.ask("wait", count=SENSORS, within_s=_WAIT_S)  # the levels that were found at the start
        _burst(pins, subscriber, 50)  # to warm up
        rounds = [_burst(pins, subscriber, count) for _ in range(size.rounds)]
    edges, events, cpu, arrived = (median(column) for column in zip(*rounds, strict=True))
    row = ["agent", per_second(edges), per_second(events), f"{cpu * 1000 / count:.3f}", f"{arrived:.0f} of {count}"]
    columns = ("", "edges/s made", "events/s out", "CPU s per 1,000", "arrived")
    return [Table(f"Agent: {len(rounds)} bursts of {count:,} edges on {SENSORS} pins", columns, [row])]


def _burst(pins: Role, subscriber: Role, count: int) -> tuple[float, float, float, float]:
    """Edges made per second, events out per second, processor seconds, events that arrived."""
    subscriber.ask("reset")
    cpu = cpu_s(pins.pid)
    at_ns = pins.ask("toggle", count=count, interval_s=0)["at_ns"]
    found = subscriber.ask("wait", count=count, within_s=_WAIT_S)
    made_s, out_s = (at_ns[-1] - at_ns[0]) / 1e9, (found["last_ns"] - at_ns[0]) / 1e9
    return count / made_s, found["count"] / out_s, cpu_s(pins.pid) - cpu, found["count"]
