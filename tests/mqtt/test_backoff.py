"""How long a transport waits before it connects again."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mqtt.backoff import Backoff
from bridge.mqtt.ending import Cause


class Longest(Random):
    """Chance that never shortens a pause."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


def test_pauses_double_from_a_quarter_second_to_the_longest() -> None:
    backoff = Backoff(3.0, Longest())
    assert [backoff.pause(Cause.UNREACHABLE, 0) for _ in range(6)] == [0.25, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_connection_that_stood_for_a_while_starts_again_at_the_first_pause() -> None:
    backoff = Backoff(3.0, Longest())
    for _ in range(5):
        backoff.pause(Cause.UNREACHABLE, 0)
    assert backoff.pause(Cause.LOST, 1.0) == 3.0
    assert backoff.pause(Cause.LOST, 5.0) == 0.25


def test_an_unsupported_version_costs_no_time_and_a_wrong_password_the_longest_pause() -> None:
    backoff = Backoff(15.0, Longest())
    assert backoff.pause(Cause.UNSUPPORTED, 0) == 0
    assert backoff.pause(Cause.NOT_ALLOWED, 0) == 15.0
    assert backoff.pause(Cause.LOST, 0) == 0.25


def test_after_a_take_over_the_pause_is_longer_than_any_other() -> None:
    assert Backoff(15.0, Longest()).pause(Cause.TAKEN_OVER, 100) == 60.0


def test_two_connections_in_a_row_closed_without_a_reason_look_like_a_fight() -> None:
    backoff = Backoff(15.0, Longest())
    seen = [(backoff.pause(Cause.UNEXPLAINED, lived_s), backoff.fighting) for lived_s in (1000, 0.2, 0.2)]
    assert seen == [(0.25, False), (60.0, True), (60.0, True)]


@pytest.mark.parametrize(("between", "lived_s"), [(Cause.UNREACHABLE, 0.0), (Cause.UNEXPLAINED, 60.0)])
def test_a_broker_that_was_killed_twice_is_no_fight(between: Cause, lived_s: float) -> None:
    backoff = Backoff(15.0, Longest())
    backoff.pause(Cause.UNEXPLAINED, 1000)
    backoff.pause(between, lived_s)
    backoff.pause(Cause.UNREACHABLE, 0)
    assert backoff.pause(Cause.UNEXPLAINED, 2.0) <= 2.0
    assert not backoff.fighting


@given(
    st.integers(0, 1000),
    st.floats(0.1, 600),
    st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 100)), max_size=30),
)
def test_a_pause_is_never_longer_than_after_a_take_over(
    seed: int, longest_s: float, endings: list[tuple[Cause, float]]
) -> None:
    backoff = Backoff(longest_s, Random(seed))
    for cause, lived_s in endings:
        pause_s = backoff.pause(cause, lived_s)
        assert 0 <= pause_s <= 4 * longest_s
        assert cause is Cause.UNSUPPORTED or pause_s >= min(0.25, longest_s) / 2
