"""The count itself: what it calls missing, twice and out of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.chaos.tally import Identity, Outbox, count
from tests.system.programs import Call


def box(**last: int) -> Outbox:
    return Outbox("pi-1", Path("/nowhere"), {(sensor, "e"): sequence for sensor, sequence in last.items()})


def event(sensor: str, sequence: int) -> dict[str, Any]:
    return {"source": f"/sites/home/nodes/pi-1/sensors/{sensor}", "epoch": "e", "sequence": f"{sequence:020d}"}


def call(sensor: str, sequence: int, answer: str = "ok") -> Call:
    return Call("seen", answer, 0.0, f"id-{sensor}-{sequence}:most", f"id-{sensor}-{sequence}", event(sensor, sequence))


def test_what_was_delivered_is_a_dead_letter_or_was_dropped_is_not_missing() -> None:
    outbox = box(a=4)
    outbox.dropped = 1
    found = count([outbox], [call("a", 1), call("a", 2)], [{"event": event("a", 4)}])
    assert (found.delivered, found.dead, found.dropped, found.missing) == (2, 1, 1, 0)
    assert found.holds


def test_an_event_whose_calls_were_all_spoilt_is_missing() -> None:
    found = count([box(a=2)], [call("a", 1), call("a", 2, "500"), call("a", 2, "crash")], [])
    assert (found.missing, found.absent) == (1, (Identity("pi-1", "a", "e", 2),))
    assert not found.holds


def test_a_second_success_is_a_duplicate_and_keeps_the_order() -> None:
    found = count([box(a=2)], [call("a", 1), call("a", 2), call("a", 1)], [])
    assert (found.duplicates, found.out_of_order) == (1, 0)
    assert found.holds


def test_the_order_is_judged_in_each_lane_by_the_first_call_even_a_spoilt_one() -> None:
    calls = [call("a", 2, "500"), call("b", 1), call("a", 1), call("a", 2)]
    found = count([box(a=2, b=1)], calls, [])
    assert found.swapped == ((Identity("pi-1", "a", "e", 1), 2),)
    assert not found.holds
