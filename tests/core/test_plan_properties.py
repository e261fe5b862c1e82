"""What holds of every plan, whatever the mappings and the events are."""

from __future__ import annotations

import copy
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.conditions import compile_condition
from bridge.core.event import Event
from bridge.core.hours import Hours
from bridge.core.mapping import Cooldown, Mapping, MappingSet
from bridge.core.mapping_state import FIRES_KEPT
from bridge.core.plan import MappingState, explain, plan
from bridge.core.selector import Selector, SensorSelector, TopicSelector
from tests.core.mapping_events import at, foreign_event, one, sensor_event

NAMES = ("motion.detected", "motion.ended", "temperature.high", "temperature.changed", "sensor.fault")
CONDITIONS = [
    None,
    compile_condition("data.value == true"),
    compile_condition("data.missing == 1"),
    compile_condition("'pi-1/a' in state"),
    compile_condition("state['pi-2/b'].value == true"),
]
seconds = st.integers(0, 120)
sensor_events = st.builds(
    sensor_event,
    name=st.sampled_from(NAMES),
    seconds=seconds,
    node=st.sampled_from(["pi-1", "pi-2"]),
    sensor=st.sampled_from(["a", "b"]),
    value=st.booleans(),
    initial=st.booleans(),
    timesynced=st.booleans(),
)
events: st.SearchStrategy[Event] = sensor_events | st.builds(
    foreign_event, st.sampled_from(["x/1", "x/2"]), seconds=seconds
)
selectors: st.SearchStrategy[Selector] = st.sampled_from(
    [
        SensorSelector(),
        SensorSelector(sensor="a"),
        SensorSelector(event="motion.*"),
        SensorSelector(node="pi-1", event="motion.detected"),
        TopicSelector(topic="x/+"),
    ]
)


@st.composite
def mapping_sets(draw: st.DrawFn) -> MappingSet:
    return MappingSet(
        Mapping(
            name=f"m{i}",
            selectors=tuple(draw(st.lists(selectors, min_size=1, max_size=2))),
            function="f",
            when=draw(st.sampled_from(CONDITIONS)),
            hours=draw(st.sampled_from([None, Hours(0, 721)])),
            for_s=draw(st.sampled_from([None, None, 5.0, 30.0])),
            until=draw(st.sampled_from([(), (SensorSelector(sensor="b"),), (SensorSelector(event="motion.ended"),)])),
            on_fault=draw(st.sampled_from(["cancel", "keep"])),
            cooldown=draw(st.sampled_from([None, Cooldown(20.0), Cooldown(20.0, "mapping"), Cooldown(20.0, "node")])),
            max_age_s=draw(st.sampled_from([None, 50.0])),
            order=draw(st.sampled_from(["sensor", "none"])),
            initial=draw(st.sampled_from(["never", "changed", "always"])),
            shadow=draw(st.booleans()),
            enabled=draw(st.sampled_from([True, True, True, False])),
        )
        for i in range(draw(st.integers(0, 4)))
    )


@settings(deadline=None)
@given(mapping_sets(), st.lists(st.tuples(events, seconds), max_size=12))
def test_a_plan_is_deterministic_pure_and_agrees_with_explain(
    mappings: MappingSet, arrivals: list[tuple[Event, int]]
) -> None:
    state = MappingState()
    for event, received in arrivals:
        before = copy.deepcopy(state.snapshot())
        planned = plan(event, mappings, state, received_at=at(received))
        assert planned == plan(event, mappings, state, received_at=at(received))
        explained = explain(event, mappings, state, received_at=at(received))
        assert state.snapshot() == before
        assert tuple(one for one in explained if not (one.clause or "").startswith("select.")) == planned.judgements
        assert {one.mapping for one in explained} == set(mappings.mappings)
        _agrees_with_itself(planned.judgements, planned)
        state.apply(planned.changes)
        assert MappingState.restore(state.snapshot()).snapshot() == state.snapshot()
        assert state.waiting.keys() >= {
            f"{one.mapping}|{event.source}" for one in planned.invocations if one.due_at is not None
        }


def _agrees_with_itself(judgements: tuple[object, ...], planned: object) -> None:
    """Each invocation, failure and cancelled timer has its judgement, and each judgement what it says."""
    from bridge.core.plan import Judgement, Plan

    assert isinstance(planned, Plan)
    told = [one for one in judgements if isinstance(one, Judgement)]
    assert [one.mapping for one in told if one.result in ("fires", "waits")] == [
        one.mapping for one in planned.invocations
    ]
    assert sorted(one.mapping for one in told if one.result == "cancels") == sorted(
        key.split("|")[0] for key in planned.cancelled
    )
    assert {one.mapping for one in planned.failures} <= {one.mapping for one in told if one.result == "failed"}
    ids = [one.id for one in planned.invocations]
    assert len(set(ids)) == len(ids)


@given(st.lists(seconds, max_size=FIRES_KEPT), st.sampled_from(["sensor", "mapping", "node"]))
def test_a_cooldown_never_fires_twice_within_its_time_in_any_order_of_arrival(times: list[int], per: str) -> None:
    mappings, state = one(f"cooldown: {{time: 20s, per: {per}}}"), MappingState()
    fires = []
    for number, second in enumerate(times, 1):
        planned = plan(sensor_event(seconds=second, sequence=number), mappings, state, received_at=at(200))
        state.apply(planned.changes)
        fires += [second for _ in planned.invocations]
    assert all(abs(a - b) >= 20 for a, b in combinations(fires, 2))
    assert bool(fires) == bool(times)


@given(st.lists(st.integers(0, 3000), max_size=60).map(sorted))
def test_a_cooldown_in_order_fires_as_soon_as_it_may(times: list[int]) -> None:
    mappings, state = one("cooldown: 20s"), MappingState()
    expected: list[int] = []
    fires = []
    for number, second in enumerate(times, 1):
        planned = plan(sensor_event(seconds=second, sequence=number), mappings, state, received_at=at(5000))
        state.apply(planned.changes)
        fires += [second for _ in planned.invocations]
        if not expected or second - expected[-1] >= 20:
            expected.append(second)
    assert fires == expected


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=30))
def test_what_waits_and_is_not_cancelled_held_for_its_whole_length(steps: list[tuple[bool, int]]) -> None:
    """rule_15"""
    mappings, state = one("for: 10s"), MappingState()
    waiting: list[float] = []
    kept: list[float] = []
    ends: list[int] = []
    now = 0
    for number, (detected, pause) in enumerate(steps, 1):
        now += pause
        name = "motion.detected" if detected else "motion.ended"
        planned = plan(sensor_event(name, seconds=now, sequence=number), mappings, state, received_at=at(now))
        state.apply(planned.changes)
        if planned.cancelled:
            waiting.pop()
        waiting += [float(now) for _ in planned.invocations]
        ends += [] if detected else [now]
    kept = waiting
    assert all(not any(start < end < start + 10 for end in ends) for start in kept)
