"""Bounces of a contact: the same in each run, never even, and at an end when they should be."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.virtual.contact import MOST_PAIRS, Contact, Edge, read_bounces


def test_bounces_are_the_same_in_another_process_whatever_its_hashes() -> None:
    told = "from bridge.virtual.contact import Contact; print(Contact('bell').bounces(0.005, active=True))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", told], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs == [f"{Contact('bell').bounces(0.005, active=True)}\n"] * 2


def test_bounces_differ_by_the_sensors_name_and_from_one_change_to_the_next() -> None:
    bell, gate = Contact("bell"), Contact("gate")
    first = bell.bounces(0.005, active=True)
    assert first == bell.bounces(0.005, active=True), "nothing has changed"
    assert first != gate.bounces(0.005, active=True)
    bell.move(active=True)
    bell.move(active=False)
    assert first != bell.bounces(0.005, active=True)


def test_a_move_to_where_the_contact_stands_is_no_change() -> None:
    bell = Contact("bell")
    bell.move(active=False)
    assert bell.changes == 0
    bell.move(active=True)
    bell.move(active=True)
    assert bell.changes == 1


@given(
    name=st.text(max_size=10),
    changes=st.integers(0, 5),
    over_s=st.floats(0.000_1, 3600.0),
    active=st.booleans(),
)
def test_every_burst_alternates_at_uneven_moments_and_ends_at_its_level_on_time(
    name: str, changes: int, over_s: float, active: bool
) -> None:
    contact = Contact(name)
    for number in range(changes):
        contact.move(active=number % 2 == 0)
    edges = contact.bounces(over_s, active=active)
    assert edges[0] == Edge(0.0, not contact.active)
    assert edges[-1] == Edge(over_s, active)
    assert 2 <= len(edges) <= 2 * MOST_PAIRS + 1
    assert all(earlier.active != later.active for earlier, later in pairwise(edges))
    gaps = [later.after_s - earlier.after_s for earlier, later in pairwise(edges)]
    assert min(gaps) > 0
    assert len(gaps) == 1 or max(gaps) > min(gaps)


def test_the_edges_of_a_make_are_a_few_within_its_time() -> None:
    counts = {len(Contact(f"bell-{number}").bounces(0.005, active=True)) for number in range(50)}
    assert counts == {3, 5, 7, 9}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bounce for 5ms", (None, 0.005)),
        ("press bouncing for 5ms", ("press", 0.005)),
        ("break beam bouncing for 1s", ("break beam", 1.0)),
        ("bouncing for 5ms", None),
        ("press bounce for 5ms", None),
        ("press for 5ms", None),
        ("bounce", None),
    ],
)
def test_bounces_are_read_as_people_write_them(text: str, found: tuple[str | None, float] | None) -> None:
    assert read_bounces(text) == found


@pytest.mark.parametrize("text", ["bounce for 0s", "bounce for long", "press bouncing for -1s"])
def test_bounces_of_no_time_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time at all|is not a duration"):
        read_bounces(text)
