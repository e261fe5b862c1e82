"""Events per second through an agent: pins toggle as quickly as a thread can do it, until the last event is out.

The outbox keeps every event on the disk before it goes out, and until it is confirmed: by the broker's acknowledgement
(`confirm: broker`), or once a second by a dispatcher, whose half a process of its own does here. A dispatcher's
confirmations let `outbox.in_flight` events a second through, so that is raised for one of the measurements.
The mock pins share the agent's process and its interpreter: what their callbacks reach alone is measured, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, per_second
from benchmarks.machine import cpu_s
from benchmarks.processes import Role

EDGES = 5_000
SENSORS = 10
"""An agent keeps 1,000 edges of one sensor waiting, and drops the oldest of more: no real pin is as quick as a mock."""
WIDE = 10_000
_WAIT_S = 60.0
_VARIANTS = {
    "confirmed by the broker": ("broker", 1_000),
    "confirmed by a dispatcher": ("dispatcher", 1_000),
    f"confirmed by a dispatcher, in_flight {WIDE:,}": ("dispatcher", WIDE),
}


def run(size: Size, folder: Path) -> list[Table]:
    """A burst of each kind in turns, and the mock pins with nothing behind them."""
    count = size.of(EDGES, 50)
    with ExitStack() as stack:
        ways = {}
        for number, (name, (confirm, in_flight)) in enumerate(_VARIANTS.items()):
            place = folder / f"way-{number}"
            place.mkdir()
            pins, subscriber = stack.enter_context(agent(place, confirm, in_flight))
            _burst(pins, subscriber, 50)  # to warm up
            ways[name] = partial(_burst, pins, subscriber, count)
        found = interleave(ways, size.rounds)
        bare = [pins.ask("bare", count=count) for _ in range(size.rounds)]
    rows = []
    for name, rounds in found.items():
        edges, events, cpu, arrived = (median(column) for column in zip(*rounds, strict=True))
        rows.append(
            [name, per_second(edges), per_second(events), f"{cpu * 1000 / count:.3f}", f"{arrived:.0f} of {count}"]
        )
    alone_s = median(one["seconds"] for one in bare)
    alone = [
        "mock pins and gpiozero's callback alone",
        per_second(count / alone_s),
        "",
        f"{alone_s * 1000 / count:.3f}",
        "",
    ]
    rows.append(alone)
    columns = ("", "edges/s made", "events/s out", "CPU s per 1,000", "arrived")
    return [Table(f"Agent: {size.rounds} bursts of {count:,} edges on {SENSORS} pins", columns, rows)]


@contextmanager
def agent(folder: Path, confirm: str = "dispatcher", in_flight: int = 1_000) -> Iterator[tuple[Role, Role]]:
    """An agent on mock pins at a broker of its own, and who hears its events, of which the first have come."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        subscriber = stack.enter_context(Role("subscriber", folder, str(broker.port), parts.EVENTS))
        if confirm == "dispatcher":
            stack.enter_context(Role("confirmer", folder, str(broker.port), parts.EVENTS))
        pins = stack.enter_context(parts.pins(folder, broker.port, confirm, SENSORS, in_flight=in_flight))
        subscriber.ask("wait", count=SENSORS, within_s=_WAIT_S)  # the levels that were found at the start
        yield pins, subscriber


def _burst(pins: Role, subscriber: Role, count: int) -> tuple[float, float, float, float]:
    """Edges made per second, events out per second, processor seconds, events that arrived."""
    subscriber.ask("reset")
    cpu = cpu_s(pins.pid)
    at_ns = pins.ask("toggle", count=count, interval_s=0)["at_ns"]
    found = subscriber.ask("wait", count=count, within_s=_WAIT_S)
    made_s, out_s = (at_ns[-1] - at_ns[0]) / 1e9, (found["last_ns"] - at_ns[0]) / 1e9
    return count / made_s, found["count"] / out_s, cpu_s(pins.pid) - cpu, found["count"]
