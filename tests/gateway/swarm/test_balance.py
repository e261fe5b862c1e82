"""Which replica gets the next call."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.gateway.backends.swarm.balance import View, choose
from bridge.gateway.settings import Balance

BALANCES: tuple[Balance, ...] = ("least_in_flight", "round_robin")


@pytest.mark.parametrize("balance", BALANCES)
def test_without_a_sound_replica_there_is_none_to_choose(balance: Balance) -> None:
    assert choose([], balance) is None
    assert choose([View("a", suspect=True)], balance) is None


def test_the_least_busy_gets_the_call_or_the_next_in_turn() -> None:
    views = [View("a", in_flight=2, turn=1), View("b", in_flight=1, turn=3), View("c", in_flight=1, turn=2)]
    assert choose(views, "least_in_flight") == "c"
    assert choose(views, "round_robin") == "a"


@pytest.mark.parametrize("balance", BALANCES)
def test_a_suspect_replica_is_passed_over(balance: Balance) -> None:
    assert choose([View("a", suspect=True), View("b", in_flight=9, turn=9)], balance) == "b"


@given(st.sampled_from(BALANCES), st.integers(1, 6), st.integers(1, 60))
def test_replicas_that_finish_at_once_share_the_calls_evenly(balance: Balance, replicas: int, calls: int) -> None:
    turns = dict.fromkeys(map(str, range(replicas)), 0)
    got: Counter[str] = Counter()
    for turn in range(1, calls + 1):
        key = choose((View(key, turn=last) for key, last in turns.items()), balance)
        assert key is not None
        turns[key] = turn
        got[key] += 1
    assert max(got.values()) - min(got.get(key, 0) for key in turns) <= 1


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6))
def test_nobody_is_given_more_than_the_least_busy_has(loads: list[tuple[int, bool]]) -> None:
    views = [View(str(key), in_flight, key, suspect) for key, (in_flight, suspect) in enumerate(loads)]
    key = choose(views, "least_in_flight")
    sound = [view.in_flight for view in views if not view.suspect]
    assert (key is None) is (not sound)
    if key is not None:
        assert views[int(key)].in_flight == min(sound)
