"""What the outbox costs: from accepting an event to publishing it, and the bytes that reach the disk (or SD card)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.figures import Size, Table, interleave, median, milliseconds
from benchmarks.processes import Role

EVENTS = 300
PACE_S = 0.02
_VARIANTS = {
    "process (survives a kill), one by one": ("process", PACE_S, EVENTS),
    "power (survives a power cut), one by one": ("power", PACE_S, EVENTS),
    "process, 2,000 at once": ("process", 0.0, 2_000),
    "power, 2,000 at once": ("power", 0.0, 2_000),
}


def run(size: Size, folder: Path) -> list[Table]:
    """Both durabilities, at a pace and in a burst, in turns."""
    with ExitStack() as stack:
        outbox = stack.enter_context(Role("outbox", folder, str(folder)))
        found = interleave(
            {name: partial(_measure, outbox, size, *how) for name, how in _VARIANTS.items()}, size.rounds
        )
    rows = []
    for name, samples in found.items():
        p50, p99, calls, disk = (median(column) for column in zip(*samples, strict=True))
        rows.append([name, milliseconds(p50), milliseconds(p99), f"{calls:,.0f}", f"{disk:,.0f}"])
    columns = ("durability", "p50 ms", "p99 ms", "bytes written", "bytes to the disk")
    notes = [f"From accept to publish; one by one at {1 / PACE_S:.0f} a second; bytes are for each event."]
    return [Table(f"Outbox: {size.rounds} rounds, in {folder.parent}", columns, rows, notes)]


def _measure(
    outbox: Role, size: Size, durability: str, interval_s: float, count: int
) -> tuple[float, float, float, float]:
    count = size.of(count)
    found = outbox.ask("measure", durability=durability, interval_s=interval_s, count=count)
    return found["p50_s"], found["p99_s"], found["call_bytes"] / count, found["disk_bytes"] / count
