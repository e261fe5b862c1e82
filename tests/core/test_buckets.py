"""Buckets: the spans they cover, numbers that are carried on, and how long each state lasted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.buckets import (
    HOUR,
    MINUTE,
    SECOND,
    STEPS,
    USUAL,
    NumberBucket,
    Shown,
    Span,
    StateBucket,
    Sums,
    name_of,
    numbers,
    span,
    states,
)

FOUR = Span(0, 40, 10)


@pytest.mark.parametrize(
    ("begin", "end", "step", "covered"),
    [
        (7, 33, 10, Span(0, 40, 10)),
        (10, 30, 10, Span(10, 30, 10)),
        (0, 24 * HOUR, None, Span(0, 24 * HOUR, 5 * MINUTE)),
        (1, 24 * HOUR, None, Span(0, 24 * HOUR, 5 * MINUTE)),
        (0, 60 * SECOND, None, Span(0, 60 * SECOND, SECOND)),
        (0, 1000 * 24 * HOUR, None, Span(0, 1000 * 24 * HOUR, STEPS[-1])),
    ],
)
def test_a_span_covers_what_was_asked_for_in_whole_steps(begin: int, end: int, step: int | None, covered: Span) -> None:
    assert span(begin, end, step) == covered
    assert covered.count == len(list(covered.begins()))
    assert step is not None or covered.count <= USUAL + 1 or covered.step == STEPS[-1]


def test_a_number_lasts_until_another_one_is_told_and_a_fault_ends_it() -> None:
    sums = {1: Sums(2, 1.0, 3.0, 2.0)}
    found = numbers(FOUR, sums, {1: 3.0, 2: None}, {1: 2, 2: 1}, before=0.5)
    assert found == [
        NumberBucket(0, 0, None, 0.5),
        NumberBucket(10, 2, Sums(2, 1.0, 3.0, 2.0), 3.0),
        NumberBucket(20, 1, None, None),
        NumberBucket(30, 0, None, None),
    ]


def test_a_state_lasts_across_buckets_until_the_next_one() -> None:
    found = states(FOUR, [(13, True), (18, False)], before=False, now=100)
    assert found == [
        StateBucket(0, 0, 0, False, {"false": 10}),
        StateBucket(10, 2, 2, False, {"false": 5, "true": 5}),
        StateBucket(20, 0, 0, False, {"false": 10}),
        StateBucket(30, 0, 0, False, {"false": 10}),
    ]


def test_nobody_knows_what_was_before_the_first_state_at_a_fault_or_after_now() -> None:
    found = states(FOUR, [(5, "open"), (12, None), (16, "open")], before=None, now=25)
    assert found == [
        StateBucket(0, 1, 0, "open", {"open": 5}, 5),
        StateBucket(10, 2, 0, "open", {"open": 6}, 4),
        StateBucket(20, 0, 0, "open", {"open": 5}, 0),
        StateBucket(30, 0, 0, None, {}, 0),
    ]


def test_states_have_names() -> None:
    assert [name_of(one) for one in (True, False, "open", 1.5)] == ["true", "false", "open", "1.5"]


@given(
    told=st.lists(st.tuples(st.integers(0, 39), st.sampled_from([True, False, None])), max_size=20).map(
        lambda found: sorted(found, key=lambda one: one[0])
    ),
    before=st.sampled_from([True, False, None]),
    now=st.integers(0, 60),
)
def test_every_moment_until_now_is_in_one_state(told: list[tuple[int, Shown]], before: Shown, now: int) -> None:
    until = max(now, told[-1][0]) if told else now
    found = states(FOUR, told, before, until)
    assert sum(bucket.events for bucket in found) == len(told)
    for bucket in found:
        length = min(max(until - bucket.begin, 0), FOUR.step)
        assert sum(bucket.times.values()) + bucket.unknown == length
