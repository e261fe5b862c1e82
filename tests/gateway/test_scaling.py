"""What an alert, load and idleness do to the number of replicas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.gateway.scaling import Course, Look, after_alert, follow
from bridge.gateway.settings import ScalingSettings
from bridge.openfaas.deployment import Deployment


def deployment(low: int = 1, high: int = 20, factor: int = 20) -> Deployment:
    names = ("min", "max", "factor")
    return Deployment(
        "f", labels={f"com.openfaas.scale.{n}": str(v) for n, v in zip(names, (low, high, factor), strict=True)}
    )


@pytest.mark.parametrize(
    ("current", "low", "high", "factor", "firing", "wanted"),
    [
        (1, 1, 20, 20, True, 5),
        (18, 1, 20, 20, True, 20),
        (1, 1, 5, 25, True, 3),
        (7, 2, 20, 20, False, 2),
        (3, 3, 3, 20, True, 3),
        (4, 1, 20, 0, True, 4),
        (4, 1, 20, 0, False, 4),
        (0, 1, 20, 20, True, 0),
    ],
)
def test_the_classic_autoscaling(current: int, low: int, high: int, factor: int, firing: bool, wanted: int) -> None:
    assert after_alert(current, deployment(low, high, factor), firing=firing) == wanted


@given(st.integers(1, 50), st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_a_firing_alert_never_scales_down_and_never_above_the_maximum(
    current: int, low: int, more: int, factor: int
) -> None:
    wanted = after_alert(current, deployment(low, low + more, factor), firing=True)
    assert current <= wanted <= max(current, low + more)


# --- by load

BY_LOAD = ScalingSettings(enabled=True, window_s=4.0, in_flight=4, rate=10, down_after_s=20.0, idle_s=30.0)


class Story:
    """A function under a load, looked at each second; what is wanted is done at once."""

    def __init__(self, deployment: Deployment, settings: ScalingSettings = BY_LOAD, replicas: int = 1) -> None:
        self.deployment = deployment
        self.settings = settings
        self.replicas = replicas
        self.now = 100.0
        self.begun = 0
        self.course: Course | None = None

    def passes(self, seconds: int, *, in_flight: int = 0, rate: int = 0) -> list[int]:
        """The replicas after each second."""
        found = []
        for _ in range(seconds):
            self.begun += rate
            look = Look(self.now, in_flight, self.begun, self.replicas)
            self.course = follow(self.course, look, self.deployment, self.settings)
            self.replicas = self.course.replicas
            found.append(self.replicas)
            self.now += 1.0
        return found


def test_calls_in_flight_bring_as_many_replicas_as_they_need() -> None:
    story = Story(deployment(high=8))
    assert story.passes(6, in_flight=10)[-1] == 3
    assert story.passes(6, in_flight=100)[-1] == 8


def test_the_rate_brings_as_many_replicas_as_it_needs() -> None:
    assert Story(deployment()).passes(6, rate=45)[-1] == 5


def test_a_moments_load_is_averaged_out() -> None:
    story = Story(deployment())
    story.passes(5)
    assert story.passes(1, in_flight=12) == [1]
    assert set(story.passes(10)) == {1}


def test_it_goes_down_only_after_the_load_was_low_for_a_while_and_never_below_the_minimum() -> None:
    story = Story(deployment(low=2), replicas=2)
    assert story.passes(6, in_flight=40)[-1] == 10
    slow = story.passes(40, in_flight=4)
    assert slow[15] == 10
    assert slow[-1] == 2


def test_load_that_comes_back_in_time_keeps_the_replicas() -> None:
    story = Story(deployment())
    story.passes(8, in_flight=40)
    for _ in range(5):
        assert set(story.passes(12)) == {10}
        assert story.passes(6, in_flight=40)[-1] == 10


def test_replicas_that_were_there_before_are_not_taken_away_at_the_start() -> None:
    assert set(Story(deployment(), replicas=7).passes(15)) == {7}


def test_a_target_and_its_type_are_the_functions_own() -> None:
    labels = {"com.openfaas.scale.target": "2", "com.openfaas.scale.type": "capacity"}
    by_capacity, by_rate = (
        Deployment("f", labels=labels),
        Deployment("f", labels=labels | {"com.openfaas.scale.type": "rps"}),
    )
    assert Story(by_capacity).passes(6, in_flight=7, rate=100)[-1] == 4
    assert Story(by_rate).passes(6, in_flight=100, rate=7)[-1] == 4
    assert Story(Deployment("f", labels={"com.openfaas.scale.target": "2"})).passes(6, in_flight=100, rate=7)[-1] == 4
    # OpenFaaS knows more types than we measure: such a function is scaled by what we do measure.
    assert Story(Deployment("f", labels={"com.openfaas.scale.type": "cpu"})).passes(6, in_flight=12)[-1] == 3


@pytest.mark.parametrize("given", [deployment(low=3, high=3), deployment(factor=0)])
def test_what_switches_alerts_off_switches_load_off(given: Deployment) -> None:
    assert set(Story(given, replicas=3).passes(60, in_flight=50)) == {3}


def test_without_the_setting_load_changes_nothing() -> None:
    assert set(Story(deployment(), ScalingSettings()).passes(60, in_flight=500)) == {1}


def test_a_function_at_zero_is_left_to_its_calls() -> None:
    assert set(Story(deployment(), replicas=0).passes(30, in_flight=50)) == {0}


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=60), st.integers(1, 9), st.integers(0, 9))
def test_load_never_leads_out_of_the_bounds(loads: list[tuple[int, int]], low: int, more: int) -> None:
    story = Story(deployment(low=low, high=low + more), replicas=low)
    for in_flight, rate in loads:
        (replicas,) = story.passes(1, in_flight=in_flight, rate=rate)
        assert low <= replicas <= low + more


# --- to zero

ZERO = Deployment("f", labels={"com.openfaas.scale.zero": "true"})


def test_an_idle_function_that_asks_for_it_goes_to_zero_and_another_does_not() -> None:
    assert Story(ZERO).passes(32) == [1] * 30 + [0, 0]
    assert set(Story(deployment()).passes(100)) == {1}
    assert set(Story(Deployment("f", labels={"com.openfaas.scale.zero": "false"})).passes(100)) == {1}


def test_its_own_idle_time_goes_before_the_settings() -> None:
    labels = {"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "5s"}
    assert Story(Deployment("f", labels=labels)).passes(6)[-1] == 0
    broken = labels | {"com.openfaas.scale.zero-duration": "soon"}
    assert Story(Deployment("f", labels=broken)).passes(31).index(0) == 30


def test_a_call_in_flight_and_each_call_put_it_off() -> None:
    story = Story(ZERO)
    assert set(story.passes(100, in_flight=1)) == {1}
    assert story.passes(30) == [1] * 29 + [0]
    story = Story(ZERO)
    story.passes(20)
    story.begun += 1
    assert set(story.passes(30)) == {1}


def test_a_function_woken_by_whomever_has_the_idle_time_anew() -> None:
    story = Story(ZERO)
    story.passes(40)
    story.replicas = 1
    assert story.passes(31).index(0) == 30


def test_counts_that_begin_anew_are_no_load() -> None:
    story = Story(deployment())
    story.begun = 10_000
    story.passes(3)
    story.begun = 0
    assert set(story.passes(5)) == {1}
