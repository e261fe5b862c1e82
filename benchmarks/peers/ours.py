"""gpio-bridge itself, in the shape of a peer: the dispatcher, and the agent, with what they always do switched on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import parts
from benchmarks.peers.peer import AgentPeer, Peer, Place
from benchmarks.processes import Child, Role

_MAPPING: dict[str, Any] = {"select": [{"node": "*", "sensor": "*"}, {"topic": "zigbee2mqtt/+"}]}


@contextmanager
def _start(place: Place) -> Iterator[Child]:
    with parts.dispatcher(place.folder, place.broker_port, place.gateway_url, _MAPPING) as part:
        yield part.child


DISPATCHER = Peer(
    "gpio-bridge",
    _start,
    told="gpio-bridge: journal, traces, order per sensor and retries on, as always; 32 invocations at a time.",
)


@contextmanager
def _start_agent(folder: Path, broker_port: int, pins: Sequence[int]) -> Iterator[Role]:
    # Nobody dispatches here, so the broker's acknowledgement is what an event's end has to be.
    with parts.pins(folder, broker_port, "broker", len(pins)) as role:
        yield role


AGENT = AgentPeer(
    "gpio-bridge",
    _start_agent,
    parts.EVENTS,
    told="gpio-bridge: the outbox is on, every event is on the disk before it is published, at QoS 1.",
)
