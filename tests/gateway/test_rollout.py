"""Which replicas start and which go."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge.gateway.backends.local.rollout import Phase, Steps, View, decide

READY, STARTING, DRAINING = Phase.READY, Phase.STARTING, Phase.DRAINING

VIEWS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(list(Phase)), st.integers(0, 3)), max_size=8).map(
    lambda rows: [View(key, *row) for key, row in enumerate(rows)]
)


def test_missing_replicas_start_all_at_once() -> None:
    assert decide(3, 1, [], may_start=True) == Steps(start=3)


def test_nothing_starts_during_the_pause_after_a_failure() -> None:
    assert decide(3, 1, [], may_start=False) == Steps()


def test_a_new_version_starts_one_replica_at_a_time_while_the_old_ones_serve() -> None:
    old = [View(1, 1, READY), View(2, 1, READY)]
    assert decide(2, 2, old, may_start=True) == Steps(start=1)
    assert decide(2, 2, [*old, View(3, 2, STARTING)], may_start=True) == Steps()
    assert decide(2, 2, [*old, View(3, 2, READY)], may_start=True) == Steps(start=1, drain=(1,))


def test_scaling_down_lets_go_of_what_is_starting_first_and_then_of_the_idle() -> None:
    views = [View(1, 1, READY, 2), View(2, 1, READY, 0), View(3, 1, STARTING)]
    assert decide(1, 1, views, may_start=True).drain == (3, 2)


def test_a_version_given_up_while_it_started_is_ended() -> None:
    assert decide(1, 3, [View(1, 1, READY), View(2, 2, STARTING)], may_start=False).drain == (2,)


@given(st.integers(0, 5), VIEWS, st.booleans())
def test_no_ready_replica_goes_before_enough_others_are_ready(wanted: int, views: list[View], may_start: bool) -> None:
    steps = decide(wanted, 3, views, may_start=may_start)
    ready_before = [view for view in views if view.phase is READY]
    ready_after = [view for view in ready_before if view.key not in steps.drain]
    assert len(ready_after) >= min(wanted, len(ready_before)) or len(ready_after) + sum(
        view.phase is STARTING and view.version == 3 for view in views
    ) >= min(wanted, len(ready_before))
    assert len(set(steps.drain)) == len(steps.drain)


@given(st.integers(0, 5), VIEWS)
def test_it_always_arrives_at_what_is_wanted_and_then_rests(wanted: int, views: list[View]) -> None:
    key = 100
    for _ in range(60):
        steps = decide(wanted, 3, views, may_start=True)
        views = [view for view in views if view.key not in steps.drain and view.phase is not DRAINING]
        if steps == Steps() and all(view.phase is READY for view in views):
            break
        views = [replace(view, phase=READY) for view in views]
        views += [View(key + number, 3, STARTING) for number in range(steps.start)]
        key += steps.start
    assert len(views) == wanted
    assert all(view.version == 3 and view.phase is READY for view in views)
