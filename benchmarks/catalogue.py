"""The catalogue: which benchmarks there are, in the order they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import (
    agent_burst,
    calls,
    dispatcher_burst,
    dispatcher_paced,
    footprint,
    gateway_overhead,
    gateway_swarm,
    invoker_choice,
    latency,
    losses,
    manager_reads,
    outbox_cost,
    peers_agent,
    peers_burst,
    soak,
)
from benchmarks.figures import Size, Table

Measure = Callable[[Size, Path], list[Table]]
"""Measures, with files in an empty folder that is removed afterwards."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark. One that is long, or installs something, runs only `when_named`."""

    told: str
    run: Measure
    when_named: bool = False


BENCHMARKS: Final[dict[str, Benchmark]] = {
    "latency": Benchmark("pin edge to function started, the whole path", latency.run),
    "agent": Benchmark("events per second through an agent", agent_burst.run),
    "dispatcher": Benchmark("events per second through a dispatcher", dispatcher_burst.run),
    "paced": Benchmark("latency and CPU of a dispatcher at 100 and 1,000 events a second", dispatcher_paced.run),
    "calls": Benchmark("calls of functions for each event, which a busy machine changes little of", calls.run),
    "gateway": Benchmark("a function called through the gateway, and directly", gateway_overhead.run),
    "gateway-swarm": Benchmark(
        "the same over a Docker Swarm of its own, which needs root and an installed Docker",
        gateway_swarm.run,
        when_named=True,
    ),
    "manager": Benchmark("the manager's answers with a thousand mappings and a hundred nodes", manager_reads.run),
    "footprint": Benchmark("memory and start-up time of each program", footprint.run),
    "invoker": Benchmark("the HTTP clients that could invoke: httpx, aiohttp, bare", invoker_choice.run),
    "outbox": Benchmark("accepting to publishing, and bytes to the disk", outbox_cost.run),
    "peers": Benchmark("our dispatcher beside mq-bridge, Node-RED and mqttwarn", peers_burst.run, when_named=True),
    "peers-agent": Benchmark("our agent beside mqtt-io and a bare gpiozero script", peers_agent.run, when_named=True),
    "losses": Benchmark("what a kill and a failing function cost us and our peers", losses.run, when_named=True),
    "soak": Benchmark("a million events through a dispatcher: is its memory flat", soak.run, when_named=True),
    "soak-agent": Benchmark("a million edges through an agent: is its memory flat", soak.run_agent, when_named=True),
}


def by_default() -> list[str]:
    """The names of the benchmarks that run when nobody names any."""
    return [name for name, benchmark in BENCHMARKS.items() if not benchmark.when_named]
