"""From a pin's edge to the start of the function: the whole path, each program a process, events at an easy pace.

pin (mock, in an agent) -> Mosquitto -> dispatcher -> gateway -> handler.py. The wire to the broker and a second
subscriber at it tell how much of it is the agent's half. All clocks are this machine's.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from benchmarks import parts
from benchmarks.figures import Size, Table, latencies_s, median, milliseconds, percentile
from benchmarks.processes import BenchmarkError, Role
from benchmarks.wire import Wire, forbidden

EVENTS_PER_S = 30
SECONDS = 10
_WAIT_S = 20.0
_ROWS = (
    "edge -> function started (the whole path)",
    "  edge -> the event has its time",
    "  edge -> at the broker",
    "  edge -> at an MQTT subscriber",
    "  MQTT subscriber -> function started",
)


def run(size: Size, folder: Path) -> list[Table]:
    """Rounds of some seconds, one after the other, in one set of processes."""
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        gateway = stack.enter_context(parts.gateway(folder))
        mapping = {"select": {"sensor": f"{parts.SENSOR}-*"}}
        stack.enter_context(parts.dispatcher(folder, broker.port, f"http://127.0.0.1:{gateway.port}", mapping))
        subscriber = stack.enter_context(Role("subscriber", folder, str(broker.port), parts.EVENTS))
        pins = stack.enter_context(parts.pins(folder, broker.port, "dispatcher"))
        subscriber.ask("wait", count=1, within_s=_WAIT_S)  # the level that was found at the start is an event, too
        count = size.of(EVENTS_PER_S * SECONDS)
        wire = stack.enter_context(Wire(broker.port, parts.EVENTS))
        _round(pins, subscriber, wire, gateway.port, min(count, 60))  # to warm up
        rounds = [_round(pins, subscriber, wire, gateway.port, count) for _ in range(size.rounds)]
    rows = [[name, *_figures([found[i] for found in rounds])] for i, name in enumerate(_ROWS)]
    title = f"Latency: {len(rounds)} x {count} edges, {EVENTS_PER_S} a second"
    unseen = forbidden()
    return [Table(title, ("", "p50 ms", "p99 ms", "max ms"), rows, [] if unseen is None else [unseen])]


def _figures(rounds: list[list[float]]) -> list[str]:
    """The cells of a row, of its rounds; empty where nobody could see it."""
    if not all(rounds):
        return [""] * 3
    return [milliseconds(median(percentile(one, percent) for one in rounds)) for percent in (50, 99, 100)]


def _round(pins: Role, subscriber: Role, wire: Wire, gateway_port: int, count: int) -> tuple[list[float], ...]:
    """Toggle the pin so many times; the latencies of each row, in seconds."""
    subscriber.ask("reset")
    wire.arrivals_ns()  # what came before
    parts.get(gateway_port, f"/function/{parts.FUNCTION}", "DELETE")
    edges = pins.ask("toggle", count=count, interval_s=1 / EVENTS_PER_S)["at_ns"]
    arrived = subscriber.ask("wait", count=count, within_s=_WAIT_S)["count"]
    if arrived != count:
        raise BenchmarkError(f"{count} edges became {arrived} events at the broker; {pins.last_words()}")
    events = sorted(subscriber.ask("report")["events"], key=lambda event: event[2])
    started = _started(gateway_port, {event[1] for event in events})
    whole, timed, agent, rest = [], [], [], []
    at_broker_ns = wire.arrivals_ns()
    broker = latencies_s(edges, at_broker_ns) if at_broker_ns else []
    # The n-th edge made the n-th event: their sequence says so.
    for edge_ns, (arrived_ns, id_, _, timed_at) in zip(edges, events, strict=True):
        whole.append((started[id_] - edge_ns) / 1e9)
        timed.append(datetime.fromisoformat(timed_at).timestamp() - edge_ns / 1e9)
        agent.append((arrived_ns - edge_ns) / 1e9)
        rest.append((started[id_] - arrived_ns) / 1e9)
    return whole, timed, broker, agent, rest


def _started(gateway_port: int, wanted: set[str]) -> dict[str, int]:
    """When the function was started for each event id, once it was for all that are wanted."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        status, body = parts.get(gateway_port, f"/function/{parts.FUNCTION}")
        if status != 200:
            raise BenchmarkError(f"the function answered {status}: {body.decode('utf-8', 'replace')[:200]}")
        started = {id_: at_ns for at_ns, id_, _ in reversed(json.loads(body))}  # the first of several counts
        missing = wanted - started.keys()
        if not missing:
            return started
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"{len(missing)} of {len(wanted)} events did not reach the function within {_WAIT_S:g} s"
            )
        time.sleep(0.1)
