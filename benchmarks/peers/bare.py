"""A bare script: gpiozero's callbacks publish with paho. The floor for a program that uses these two libraries."""

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


BARE = AgentPeer(
    "a bare gpiozero + paho script",
    _start,
    "bare/+",
    told="The bare script publishes at QoS 1 from memory: what it has not sent is lost with it.",
)
