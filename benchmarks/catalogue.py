"""The catalogue: which benchmarks there are, in the order they run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import (
    agent_burst,
    dispatcher_burst,
    dispatcher_paced,
    footprint,
    gateway_overhead,
    invoker_choice,
    latency,
    outbox_cost,
)
from benchmarks.figures import Size, Table

Benchmark = Callable[[Size, Path], list[Table]]
"""Measures, with files in an empty folder that is removed afterwards."""

BENCHMARKS: Final[dict[str, tuple[str, Benchmark]]] = {
    "latency": ("pin edge to function started, the whole path", latency.run),
    "agent": ("events per second through an agent", agent_burst.run),
    "dispatcher": ("events per second through a dispatcher", dispatcher_burst.run),
    "paced": ("latency and CPU of a dispatcher at 100 and 1,000 events a second", dispatcher_paced.run),
    "gateway": ("a function called through the gateway, and directly", gateway_overhead.run),
    "footprint": ("memory and start-up time of each program", footprint.run),
    "invoker": ("the HTTP clients that could invoke: httpx, aiohttp, bare", invoker_choice.run),
    "outbox": ("accepting to publishing, and bytes to the disk", outbox_cost.run),
}
