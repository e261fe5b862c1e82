"""The count itself: what it calls missing, twice and out of order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.chaos.__main__ import possible
from tests.system.chaos.stage import Span
from tests.system.chaos.tally import Identity, Outbox, Twice, count
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


def test_nodes_have_lanes_of_their_own() -> None:
    other = Outbox("pi-2", Path("/nowhere"), {("a", "e"): 1})
    theirs = event("a", 1) | {"source": "/sites/home/nodes/pi-2/sensors/a"}
    calls = [call("a", 1), call("a", 2), Call("seen", "ok", 0.0, "id:most", "id", theirs)]
    found = count([box(a=2), other], calls, [])
    assert (found.accepted, found.delivered, found.duplicates, found.out_of_order) == (3, 3, 0, 0)


def test_no_more_is_lost_than_was_reported_and_less_where_it_arrived_all_the_same() -> None:
    calls = [call("a", 1)]
    assert (count([box(a=3)], calls, [], 5).lost, count([box(a=3)], calls, [], 5).missing) == (2, 0)
    assert (count([box(a=3)], calls, [], 1).lost, count([box(a=3)], calls, [], 1).missing) == (1, 1)


def test_a_duplicate_is_told_with_both_times_also_over_several_looks() -> None:
    first, again = call("a", 1), Call("seen", "ok", 7.0, "id-a-1:most", "id-a-1", event("a", 1))
    before = count([box(a=1)], [first], [])
    added = count([box(a=1)], [first, again], []).since(before)
    assert added.twice == (Twice(Identity("pi-1", "a", "e", 1), 0.0, 7.0),)
    assert (added.duplicates, added.accepted) == (1, 0)


def test_a_duplicate_is_explained_by_what_went_on_between_its_two_calls() -> None:
    twice = Twice(Identity("pi-1", "a", "e", 1), 100.0, 104.0)
    assert Span("broker killed", 103.0, 105.0).explains(twice)
    assert Span("gateway frozen", 90.0, 99.0).explains(twice)
    assert not Span("long before", 10.0, 97.0).explains(twice)
    assert not Span("long after", 107.0, 109.0).explains(twice)


def test_faults_that_this_machine_cannot_carry_out_are_left_out_with_the_reason_and_missed_under_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["agent killed", "agent disk really full", "standby killed"]
    monkeypatch.delenv("CI", raising=False)
    assert possible(names, pair=False) == ["agent killed"]
    told = capsys.readouterr().out
    assert "left out, mounting needs " in told
    assert "left out, there is one dispatcher; --pair starts two: standby killed" in told
    monkeypatch.setenv("CI", "true")
    assert possible(names, pair=False) is None
    assert possible(["agent killed", "standby killed"], pair=False) == ["agent killed"]
