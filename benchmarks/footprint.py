"""How large the programs are and how long they take to be ready; each a process, nothing to do yet."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from benchmarks import parts
from benchmarks.figures import Size, Table, median
from benchmarks.machine import children, resident_mb

_SETTLE_S = 0.5


def run(size: Size, folder: Path) -> list[Table]:
    """Start all, look, stop all; per round."""
    ready: dict[str, list[float]] = defaultdict(list)
    resident: dict[str, list[float]] = defaultdict(list)
    for number in range(size.rounds):
        place = folder / f"round-{number}"
        place.mkdir()
        with ExitStack() as stack:
            broker = stack.enter_context(parts.broker(place))
            gateway = stack.enter_context(parts.gateway(place))
            url = f"http://127.0.0.1:{gateway.port}"
            mapping = {"select": {"sensor": f"{parts.SENSOR}-*"}}
            found = {
                "agent (mock pins)": stack.enter_context(parts.agent(place, broker.port)),
                "dispatcher": stack.enter_context(parts.dispatcher(place, broker.port, url, mapping)),
                "gateway": gateway,
                "Mosquitto": broker,
            }
            time.sleep(_SETTLE_S)
            for name, part in found.items():
                ready[name].append(part.ready_s)
                resident[name].append(resident_mb(part.child.pid))
            for pid in children(gateway.child.pid):
                resident["one replica of a Python function"].append(resident_mb(pid))
    rows = [
        [name, f"{median(ready[name]):.2f}" if ready[name] else "", f"{median(sizes):.1f}"]
        for name, sizes in resident.items()
    ]
    notes = ["Ready: /readyz says so, of a new state folder; the broker is there, the gateway's function runs."]
    return [Table(f"Footprint: {size.rounds} starts", ("", "ready s", "RSS MB"), rows, notes)]
