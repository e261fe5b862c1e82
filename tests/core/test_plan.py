"""The plan: which invocations follow from an event, and why others do not."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from bridge.core.event import Event
from bridge.core.mapping import REMEMBERED, Mapping, MappingSet
from bridge.core.mapping_state import MAX_KEPT, LastValue, StateChange, last_change
from bridge.core.plan import _ASKED, MappingState, Plan, explain, node_offline, plan, succeeded
from bridge.core.selector import SensorSelector
from tests.core.mapping_events import NOON, SOURCE, at, foreign_event, mapping_set, one, sensor_event

KEY = f"m|{SOURCE}"


class Desk:
    """A mapping set and its state, fed with events."""

    def __init__(self, mappings: MappingSet) -> None:
        self.mappings = mappings
        self.state = MappingState()

    def feed(self, event: Event, *, received: float | None = None, backlog: bool = False) -> Plan:
        received_at = event.time if received is None else at(received)
        planned = plan(event, self.mappings, self.state, received_at=received_at, backlog=backlog)
        self.state.apply(planned.changes)
        return planned


def fired(planned: Plan) -> list[str]:
    return [one.function for one in planned.invocations]


def clause(planned: Plan) -> str | None:
    (judgement,) = planned.judgements
    return judgement.clause


def test_an_event_that_is_selected_invokes_the_function_in_its_lane() -> None:
    event = sensor_event()
    planned = Desk(one()).feed(event)
    (invocation,) = planned.invocations
    assert invocation.id == f"{event.key}:m"
    assert invocation.lane == KEY
    assert invocation.due_at is None
    assert not invocation.latest
    (judgement,) = planned.judgements
    assert (judgement.result, judgement.clause) == ("fires", None)
    assert judgement.passed == ("select", "enabled", "initial", "max_age", "hours", "when", "for", "cooldown")
    assert judgement.text == "m invokes f"


def test_a_mapping_that_replaces_another_of_its_name_is_asked_its_own_clauses() -> None:
    desk = Desk(one())
    assert fired(desk.feed(sensor_event())) == ["f"]
    desk.mappings = one("enabled: false")
    assert clause(desk.feed(sensor_event())) == "enabled"
    desk.mappings = one()
    assert fired(desk.feed(sensor_event())) == ["f"]


def test_the_clauses_of_so_many_mappings_are_remembered_and_no_more() -> None:
    several = MappingSet(
        Mapping(name=f"m{i}", selectors=(SensorSelector(),), function="f") for i in range(REMEMBERED + 1)
    )
    assert len(Desk(several).feed(sensor_event()).invocations) == REMEMBERED + 1
    assert len(_ASKED) <= REMEMBERED
    assert len(Desk(several).feed(sensor_event()).invocations) == REMEMBERED + 1


def test_an_event_that_no_mapping_selects_is_judged_by_explain_alone() -> None:
    desk, event = Desk(one()), sensor_event(sensor="gate")
    assert desk.feed(event).judgements == ()
    (judgement,) = explain(event, desk.mappings, desk.state, received_at=NOON)
    assert (judgement.clause, judgement.wanted, judgement.found) == ("select.sensor", "front-door", "gate")
    assert judgement.text == "m does not fire: select.sensor wants front-door, found gate"


def test_a_message_of_another_device_has_its_topic_as_lane() -> None:
    (invocation,) = Desk(one(select="{topic: zigbee2mqtt/+}")).feed(foreign_event()).invocations
    assert invocation.lane == "m|zigbee2mqtt/door"


def test_order_none_lifts_the_lane() -> None:
    assert Desk(one("order: none")).feed(sensor_event()).invocations[0].lane == ""


def test_a_mapping_that_is_not_enabled_says_so() -> None:
    planned = Desk(one("enabled: false")).feed(sensor_event())
    assert (fired(planned), clause(planned)) == ([], "enabled")


def test_a_plan_changes_no_state() -> None:
    desk = Desk(one("cooldown: 30s"))
    planned = plan(sensor_event(), desk.mappings, desk.state, received_at=NOON)
    assert planned.changes
    assert desk.state.snapshot() == ()


# --- initial ---


def test_a_level_found_at_start_fires_when_nothing_was_known() -> None:
    assert fired(Desk(one()).feed(sensor_event(initial=True))) == ["f"]


def test_a_level_found_at_start_fires_only_when_it_is_another_than_before() -> None:
    desk = Desk(one(select="{event: motion.*}"))
    desk.feed(sensor_event("motion.detected"))
    again = desk.feed(sensor_event("motion.detected", seconds=9, initial=True))
    assert (fired(again), clause(again)) == ([], "initial")
    assert fired(desk.feed(sensor_event("motion.ended", seconds=10, value=False, initial=True))) == ["f"]


def test_a_threshold_stays_known_while_values_change() -> None:
    desk = Desk(one(select="{event: temperature.high}"))
    desk.feed(sensor_event("temperature.high", value=71.0))
    desk.feed(sensor_event("temperature.changed", seconds=1, value=72.0))
    desk.feed(sensor_event("sensor.fault", seconds=2, value=None))
    assert fired(desk.feed(sensor_event("temperature.high", seconds=3, value=73.0, initial=True))) == []


def test_a_value_found_at_start_is_compared_by_value() -> None:
    desk = Desk(one(select="{event: temperature.changed}"))
    desk.feed(sensor_event("temperature.changed", value=20.0))
    assert clause(desk.feed(sensor_event("temperature.changed", seconds=1, value=20.0, initial=True))) == "initial"
    assert fired(desk.feed(sensor_event("temperature.changed", seconds=2, value=21.0, initial=True))) == ["f"]


def test_initial_never_and_always_do_not_look_at_what_was_known() -> None:
    assert clause(Desk(one("initial: never")).feed(sensor_event(initial=True))) == "initial"
    desk = Desk(one("initial: always"))
    desk.feed(sensor_event())
    assert fired(desk.feed(sensor_event(seconds=1, initial=True))) == ["f"]
    assert desk.state.last == {}


def test_a_late_event_does_not_overwrite_what_is_known() -> None:
    desk = Desk(one())
    desk.feed(sensor_event(seconds=10))
    desk.feed(sensor_event("motion.ended", seconds=5, value=False))
    assert desk.state.last["pi-1/front-door"] == LastValue("motion.detected", True, at(10), "motion.detected")


# --- time ---


def test_an_event_older_than_max_age_is_dropped_with_a_judgement() -> None:
    desk = Desk(one("max_age: 10m"))
    assert fired(desk.feed(sensor_event(), received=600)) == ["f"]
    planned = desk.feed(sensor_event(seconds=1), received=601.5)
    assert (fired(planned), clause(planned)) == ([], "max_age")
    assert planned.judgements[0].found == "600.5 s old"


def test_an_event_of_a_sender_without_a_clock_ages_from_its_receipt() -> None:
    event = sensor_event(seconds=-1e8, timesynced=False)
    assert fired(Desk(one("max_age: 1s")).feed(event, received=0)) == ["f"]


def test_active_hours_are_judged_by_event_time() -> None:
    desk = Desk(one('hours: "11:00-13:00"'))
    assert fired(desk.feed(sensor_event(), received=99_999)) == ["f"]
    planned = desk.feed(sensor_event(seconds=3600), received=0)
    assert (fired(planned), clause(planned)) == ([], "hours")
    assert planned.judgements[0].found == "Wed 13:00 UTC"


# --- when ---


def test_a_condition_that_does_not_hold_rejects() -> None:
    planned = Desk(one("when: data.value == false")).feed(sensor_event())
    assert (fired(planned), clause(planned)) == ([], "when")


def test_a_condition_that_raises_is_a_failure_with_its_text() -> None:
    """rule_12"""
    event = sensor_event()
    planned = Desk(one("when: data.missing > 1")).feed(event)
    (failure,) = planned.failures
    assert (failure.id, failure.mapping, failure.function) == (f"{event.key}:m", "m", "f")
    assert "there is no 'missing'" in failure.text
    assert planned.judgements[0].result == "failed"


def test_a_shadow_mapping_that_fails_makes_no_dead_letter() -> None:
    planned = Desk(one("when: data.missing > 1\nshadow: true")).feed(sensor_event())
    assert planned.failures == ()
    assert planned.judgements[0].result == "failed"


def test_a_condition_sees_the_state_before_the_event() -> None:
    desk = Desk(one("when: \"state['pi-1/front-door'].event == 'motion.ended'\""))
    assert desk.feed(sensor_event()).failures
    assert clause(desk.feed(sensor_event(seconds=1))) == "when"
    desk.feed(sensor_event("motion.ended", seconds=2, value=False))
    assert fired(desk.feed(sensor_event(seconds=3))) == ["f"]


# --- for ---


def test_for_waits_until_event_time_plus_its_length() -> None:
    """rule_15"""
    desk = Desk(one("for: 5s"))
    planned = desk.feed(sensor_event(), received=2)
    assert planned.invocations[0].due_at == at(5)
    assert planned.judgements[0].result == "waits"
    assert list(desk.state.waiting) == [KEY]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("motion.detected", "motion.ended"),
        ("beam.broken", "beam.restored"),
        ("temperature.high", "temperature.normal"),
        ("temperature.low", "temperature.normal"),
        ("temperature.high", "temperature.low"),
        ("button.pressed", "button.released"),
        ("digital.on", "digital.off"),
        ("distance.near", "distance.clear"),
        ("motion.ended", "motion.detected"),
    ],
)
def test_the_opposite_event_of_the_sensor_cancels(start: str, end: str) -> None:
    """rule_15"""
    desk = Desk(one("for: 5s", select=f"{{event: {start}}}"))
    desk.feed(sensor_event(start))
    assert desk.feed(sensor_event(end, seconds=4, sensor="gate")).cancelled == ()
    planned = desk.feed(sensor_event(end, seconds=4))
    assert planned.cancelled == (KEY,)
    assert [judgement.result for judgement in planned.judgements] == ["cancels"]
    assert desk.state.waiting == {}


def test_a_cancel_after_the_due_time_undoes_nothing() -> None:
    """rule_15"""
    desk = Desk(one("for: 5s"))
    desk.feed(sensor_event())
    planned = desk.feed(sensor_event("motion.ended", seconds=5))
    assert planned.cancelled == ()
    assert planned.judgements == ()
    assert desk.state.waiting == {}


def test_the_same_event_again_does_not_wait_twice() -> None:
    desk = Desk(one("for: 5s"))
    desk.feed(sensor_event())
    assert clause(desk.feed(sensor_event(seconds=3))) == "for"
    assert desk.feed(sensor_event(seconds=6)).invocations[0].due_at == at(11)


def test_another_sensor_waits_for_itself() -> None:
    desk = Desk(one("for: 5s", select="{kind: pir, event: motion.detected}"))
    desk.feed(sensor_event())
    assert fired(desk.feed(sensor_event(seconds=1, sensor="gate"))) == ["f"]
    assert len(desk.state.waiting) == 2


def test_a_fault_cancels_unless_it_is_kept() -> None:
    """rule_15"""
    fault = sensor_event("sensor.fault", seconds=1, value=None)
    desk, kept = Desk(one("for: 5s")), Desk(one("for: 5s\non_fault: keep"))
    desk.feed(sensor_event())
    kept.feed(sensor_event())
    assert desk.feed(fault).cancelled == (KEY,)
    assert kept.feed(fault).cancelled == ()


def test_until_without_a_place_means_the_same_sensor_and_replaces_the_opposite() -> None:
    desk = Desk(one("for: 5s\nuntil: {event: button.pressed}", select="{event: motion.detected}"))
    desk.feed(sensor_event())
    assert desk.feed(sensor_event("motion.ended", seconds=1)).cancelled == ()
    assert desk.feed(sensor_event("button.pressed", seconds=2, sensor="other")).cancelled == ()
    assert desk.feed(sensor_event("button.pressed", seconds=3)).cancelled == (KEY,)


def test_until_with_a_place_cancels_every_sensors_waiting() -> None:
    text = """
a: {select: {event: motion.detected}, for: 60s, until: {sensor: disarm}, invoke: f}
b: {select: {event: motion.detected}, for: 60s, invoke: f}
"""
    desk = Desk(mapping_set(text))
    desk.feed(sensor_event())
    desk.feed(sensor_event(sensor="gate"))
    planned = desk.feed(sensor_event("button.pressed", seconds=3, sensor="disarm"))
    assert sorted(planned.cancelled) == sorted(key for key in (f"a|{SOURCE}", f"a|{SOURCE[:-10]}gate"))
    assert set(desk.state.waiting) == {f"b|{SOURCE}", f"b|{SOURCE[:-10]}gate"}


def test_rule_15_backlog_from_elsewhere_of_before_the_waiting_began_does_not_end_it() -> None:
    desk = Desk(one("for: 60s\nuntil: {sensor: disarm}", select="{event: motion.detected}"))
    desk.feed(sensor_event(seconds=100))
    before = sensor_event("button.pressed", seconds=99, sensor="disarm")
    assert desk.feed(before, received=110, backlog=True).cancelled == ()
    at_once = sensor_event("button.pressed", seconds=100, sensor="disarm")
    assert desk.feed(at_once, received=110, backlog=True).cancelled == (KEY,)


def test_rule_15_what_is_live_ends_a_waiting_also_when_its_clock_is_behind() -> None:
    desk = Desk(one("for: 60s\nuntil: [{sensor: disarm}, {topic: alarm/off}]", select="{event: motion.detected}"))
    desk.feed(sensor_event(seconds=100))
    assert desk.feed(sensor_event("button.pressed", seconds=98, sensor="disarm")).cancelled == (KEY,)
    desk.feed(sensor_event(seconds=200))
    assert desk.feed(foreign_event("alarm/off", seconds=199)).cancelled == (KEY,)


def test_rule_15_a_sensors_own_later_event_ends_a_waiting_whatever_its_clock_said() -> None:
    desk = Desk(one("for: 60s\nuntil: {event: button.pressed}", select="{event: motion.detected}"))
    desk.feed(sensor_event(seconds=100))
    assert desk.feed(sensor_event("button.pressed", seconds=-86400)).cancelled == (KEY,)


def test_an_event_may_end_a_waiting_and_begin_it_again() -> None:
    desk = Desk(one("for: 5s\nuntil: {event: motion.detected}"))
    desk.feed(sensor_event())
    planned = desk.feed(sensor_event(seconds=2))
    assert planned.cancelled == (KEY,)
    assert planned.invocations[0].due_at == at(7)
    assert desk.state.waiting[KEY].since == at(2)


def test_until_a_foreign_topic_cancels() -> None:
    desk = Desk(one("for: 5s\nuntil: {topic: alarm/off}", select="{topic: alarm/on}"))
    desk.feed(foreign_event("alarm/on"))
    assert desk.feed(foreign_event("alarm/off", seconds=1)).cancelled == ("m|/mqtt/alarm/on",)


def never(key: str) -> bool:
    """No timer has fallen due."""
    return False


def test_a_node_that_goes_offline_cancels_what_waits_for_it() -> None:
    """rule_15"""
    mappings = mapping_set("""
a: {select: {event: motion.detected}, for: 5s, cooldown: 9s, invoke: f}
b: {select: {event: motion.detected}, for: 5s, on_fault: keep, invoke: f}
c: {select: {event: motion.detected}, for: 5s, invoke: f}
""")
    desk = Desk(mappings)
    desk.feed(sensor_event())
    desk.feed(sensor_event(node="pi-10"))
    planned = node_offline("home", "pi-1", mappings, desk.state, overdue=never)
    assert planned.cancelled == (f"a|{SOURCE}", f"c|{SOURCE}")
    desk.state.apply(planned.changes)
    assert f"a|{SOURCE}" not in desk.state.cooldowns
    assert node_offline("home", "pi-1", mappings, desk.state, overdue=never).cancelled == ()
    assert node_offline("home", "pi-10", mappings, desk.state, overdue=lambda key: True).cancelled == ()
    assert node_offline("home", "pi-10", MappingSet(), desk.state, overdue=never).cancelled == ()


def test_a_timer_of_a_mapping_that_was_removed_is_forgotten() -> None:
    desk = Desk(one("for: 5s"))
    desk.feed(sensor_event())
    desk.mappings = MappingSet()
    assert desk.feed(sensor_event(seconds=1)).cancelled == ()
    assert desk.state.waiting == {}


# --- cooldown ---


def test_a_cooldown_is_per_sensor_and_in_event_time() -> None:
    """rule_15"""
    desk = Desk(one("cooldown: 30s", select="{event: motion.detected}"))
    assert fired(desk.feed(sensor_event(), received=100)) == ["f"]
    assert clause(desk.feed(sensor_event(seconds=29.9), received=900)) == "cooldown"
    assert fired(desk.feed(sensor_event(seconds=1, sensor="gate"))) == ["f"]
    assert fired(desk.feed(sensor_event(seconds=30))) == ["f"]


def test_a_cooldown_may_be_per_mapping_or_per_node() -> None:
    per_mapping = Desk(one("cooldown: {time: 30s, per: mapping}", select="{event: motion.detected}"))
    per_mapping.feed(sensor_event())
    assert clause(per_mapping.feed(sensor_event(seconds=1, node="pi-2"))) == "cooldown"
    per_node = Desk(one("cooldown: {time: 30s, per: node}", select="{event: motion.detected}"))
    per_node.feed(sensor_event())
    assert clause(per_node.feed(sensor_event(seconds=1, sensor="gate"))) == "cooldown"
    assert fired(per_node.feed(sensor_event(seconds=1, node="pi-2"))) == ["f"]


def test_a_cooldown_per_node_is_per_topic_for_other_devices() -> None:
    desk = Desk(one("cooldown: {time: 30s, per: node}", select='{topic: "#"}'))
    desk.feed(foreign_event("a"))
    assert fired(desk.feed(foreign_event("b", seconds=1))) == ["f"]
    assert clause(desk.feed(foreign_event("a", seconds=1))) == "cooldown"


def test_a_wrong_clock_in_the_future_does_not_silence_a_mapping() -> None:
    desk = Desk(one("cooldown: 30s"))
    desk.feed(sensor_event(seconds=1e8))
    assert fired(desk.feed(sensor_event())) == ["f"]


def test_a_cooldown_from_success_begins_with_the_success() -> None:
    desk = Desk(one("cooldown: {time: 30s, from: success}"))
    first, second = desk.feed(sensor_event()), desk.feed(sensor_event(seconds=1))
    assert fired(first) == fired(second) == ["f"]
    key = second.invocations[0].cooldown_key
    assert key is not None
    desk.state.apply((succeeded(key, sensor_event(seconds=1), at(20), desk.state),))
    assert clause(desk.feed(sensor_event(seconds=30))) == "cooldown"
    assert fired(desk.feed(sensor_event(seconds=31))) == ["f"]


def test_rule_15_a_success_that_was_long_in_coming_ends_no_later_cooldown() -> None:
    desk = Desk(one("cooldown: {time: 30s, per: mapping, from: success}", select="{event: motion.detected}"))
    slow, quick = sensor_event(), sensor_event(seconds=10, sensor="gate")
    key = desk.feed(slow).invocations[0].cooldown_key
    assert key is not None
    assert fired(desk.feed(quick)) == ["f"]
    desk.state.apply((succeeded(key, quick, at(11), desk.state),))
    desk.state.apply((succeeded(key, slow, at(20), desk.state),))
    assert clause(desk.feed(sensor_event(seconds=39))) == "cooldown"
    assert fired(desk.feed(sensor_event(seconds=40))) == ["f"]


def test_what_was_cancelled_starts_no_cooldown() -> None:
    desk = Desk(one("for: 5s\ncooldown: 1h"))
    desk.feed(sensor_event())
    desk.feed(sensor_event("motion.ended", seconds=1))
    assert fired(desk.feed(sensor_event(seconds=2))) == ["f"]
    assert clause(desk.feed(sensor_event(seconds=8))) == "cooldown"


def test_another_sensors_waiting_does_not_hold_back_an_alarm() -> None:
    desk = Desk(one("for: 5m\ncooldown: {time: 1h, per: mapping}", select="{event: temperature.high}"))
    desk.feed(sensor_event("temperature.high", sensor="a"))
    assert fired(desk.feed(sensor_event("temperature.high", seconds=60, sensor="b"))) == ["f"]
    late = desk.feed(sensor_event("temperature.high", seconds=400, sensor="c"))
    assert clause(late) == "cooldown"


# --- payload, shadow, backlog ---


def test_a_template_is_rendered_with_the_plan() -> None:
    desk = Desk(one('invoke: {function: f, payload: {template: "${sensor}: ${data.value}"}}'))
    assert desk.feed(sensor_event()).invocations[0].text == "front-door: true"


def test_a_template_that_cannot_be_rendered_is_a_failure() -> None:
    """rule_12"""
    planned = Desk(one('invoke: {function: f, payload: {template: "${data.missing}"}}')).feed(sensor_event())
    assert "payload could not be evaluated" in planned.failures[0].text
    assert (planned.invocations, planned.judgements[0].clause) == ((), "payload")


def test_a_shadow_mapping_says_what_it_would_do_and_cools_down() -> None:
    desk = Desk(one("shadow: true\ncooldown: {time: 30s, from: success}"))
    planned = desk.feed(sensor_event())
    assert (fired(planned), clause(planned)) == ([], "shadow")
    assert planned.judgements[0].found == "would invoke f"
    assert clause(desk.feed(sensor_event(seconds=1))) == "cooldown"


def test_a_shadow_mapping_with_for_does_not_wait() -> None:
    desk = Desk(one("shadow: true\nfor: 5s\ncooldown: 30s"))
    planned = desk.feed(sensor_event())
    assert planned.judgements[0].found == "would wait 5 s and invoke f"
    assert desk.state.waiting == {}
    assert desk.state.cooldowns == {}


def test_backlog_of_which_the_latest_is_wanted_is_marked() -> None:
    """rule_14"""
    desk = Desk(one("backlog: latest"))
    assert desk.feed(sensor_event(), backlog=True).invocations[0].latest
    assert not desk.feed(sensor_event(seconds=1)).invocations[0].latest


# --- state ---


def test_the_state_survives_a_journal() -> None:
    desk = Desk(one("for: 5s\ncooldown: 30s"))
    desk.feed(sensor_event())
    desk.feed(sensor_event(seconds=1, sensor="gate"))
    kept = [StateChange(change.key, orjson.loads(orjson.dumps(change.value))) for change in desk.state.snapshot()]
    restored = MappingState.restore(kept)
    assert restored.snapshot() == desk.state.snapshot()
    assert restored.known == desk.state.known
    assert restored.waiting_of(SOURCE) == [KEY]


def test_changes_that_are_applied_again_change_nothing() -> None:
    desk = Desk(one("for: 5s\ncooldown: 30s"))
    planned = desk.feed(sensor_event())
    before = desk.state.snapshot()
    desk.state.apply(planned.changes)
    assert desk.state.snapshot() == before


def test_a_change_of_a_kind_that_is_not_known_is_ignored() -> None:
    assert MappingState.restore([StateChange("later|a", 1)]).snapshot() == ()


def test_the_oldest_is_forgotten_when_too_much_is_kept() -> None:
    desk = Desk(one())
    desk.state.apply(last_change(f"pi-1/s{i}", LastValue("x", i, NOON)) for i in range(MAX_KEPT))
    planned = desk.feed(sensor_event())
    assert planned.changes[0] == StateChange("last|pi-1/s0", None)
    assert planned.forgotten == ("last|pi-1/s0",)
    assert len(desk.state.last) == len(desk.state.known) == MAX_KEPT
    assert desk.feed(sensor_event(seconds=1)).changes[0].value is not None


def test_only_the_last_fires_of_a_cooldown_are_kept() -> None:
    desk = Desk(one("cooldown: 1s"))
    for second in range(20):
        desk.feed(sensor_event(seconds=second))
    (fires,) = desk.state.cooldowns.values()
    assert fires == tuple(NOON + timedelta(seconds=second) for second in range(12, 20))
