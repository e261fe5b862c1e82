"""Floors: a bare script whose gpiozero callbacks publish with paho, and a bare socket into the broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.peer import AgentPeer
from benchmarks.processes import Role


@contextmanager
def _start(folder: Path, broker_port: int, pins: Sequence[int]) -> Iterator[Role]:
    with Role("bare_pins", folder, str(broker_port), *(str(pin) for pin in pins)) as role:
        yield role


@contextmanager
def _hop(folder: Path, broker_port: int, pins: Sequence[int]) -> Iterator[Role]:
    with Role("bare_hop", folder, str(broker_port), str(len(pins))) as role:
        yield role


BARE = AgentPeer(
    "a bare gpiozero + paho script",
    _start,
    "bare/+",
    told="The bare script publishes at QoS 1 from memory: what it has not sent is lost with it.",
)

HOP = AgentPeer(
    "a bare socket into the broker",
    _hop,
    "hop/+",
    told="The bare socket writes ready packets of an event's size at QoS 1, without pins: it shows the broker's part.",
)
