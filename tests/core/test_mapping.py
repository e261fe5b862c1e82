"""The mapping set: its index, its topic filters and its version."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.event import Event
from bridge.core.mapping import REMEMBERED, Mapping, MappingSet
from bridge.core.selector import Selector, SensorSelector, TopicSelector, selects
from tests.core.mapping_events import foreign_event, mapping_set, sensor_event

names = st.sampled_from(["*", "a", "b", "?", "[ab]", "a*"])
plain = st.sampled_from(["a", "b", "ab"])
events_of_sensors = st.builds(sensor_event, name=plain, site=plain, node=plain, sensor=plain, kind=plain)
levels = st.lists(st.sampled_from(["a", "b", "$s"]), min_size=1, max_size=3).map("/".join)
events: st.SearchStrategy[Event] = events_of_sensors | st.builds(foreign_event, levels)
filters = st.sampled_from(["#", "+", "+/#", "a", "a/b", "a/+", "a/#", "+/b", "$s/#", "/a", "b/+/a"])
selectors: st.SearchStrategy[Selector] = st.builds(
    SensorSelector, site=names, node=names, sensor=names, kind=names, event=names
) | st.builds(lambda topic: TopicSelector(topic=topic), filters)
selector_lists = st.lists(selectors, min_size=1, max_size=3).map(tuple)


@given(st.lists(st.tuples(selector_lists, selector_lists | st.just(())), max_size=12), events)
def test_the_index_finds_what_testing_every_mapping_finds(
    written: list[tuple[tuple[Selector, ...], tuple[Selector, ...]]], event: Event
) -> None:
    mappings = [
        Mapping(name=f"m{i}", selectors=selectors, until=until, function="f")
        for i, (selectors, until) in enumerate(written)
    ]
    built = MappingSet(mappings)
    assert list(built.candidates(event)) == [mapping for mapping in mappings if selects(mapping.selectors, event)]
    assert list(built.ended_by(event)) == [mapping for mapping in mappings if selects(mapping.until, event)]


def test_a_large_set_tests_few_mappings_for_an_event() -> None:
    built = MappingSet(
        Mapping(name=f"m{i}", selectors=(SensorSelector(sensor=f"s{i}"),), function="f") for i in range(1000)
    )
    assert [mapping.name for mapping in built.candidates(sensor_event(sensor="s7"))] == ["m7"]
    assert len(built._selected._buckets["sensor", "s7"]) == 1


def test_what_selects_so_many_topics_is_remembered_and_no_more() -> None:
    built = mapping_set("m: {select: {topic: a/+}, invoke: f}")
    for number in range(REMEMBERED + 1):
        assert [mapping.name for mapping in built.candidates(foreign_event(f"a/{number}"))] == ["m"]
    assert len(built._selected._found) == 1


def test_foreign_filters_are_those_of_enabled_mappings_once_each() -> None:
    built = mapping_set("""
a: {select: [{topic: z/+}, {sensor: "*"}], invoke: f}
b: {select: {topic: z/+}, for: 1s, until: {topic: off}, invoke: f}
c: {select: {topic: never}, invoke: f, enabled: false}
""")
    assert built.foreign_filters() == ("z/+", "off")


def test_the_version_tells_what_is_meant_not_how_it_is_written() -> None:
    a = mapping_set("m: {select: {sensor: a}, invoke: f}")
    b = mapping_set("m:  # comment\n  invoke: {function: f, timeout: 10s}\n  select: [{sensor: a, node: '*'}]")
    c = mapping_set("m: {select: {sensor: a}, invoke: g}")
    assert a.version == b.version != c.version
    assert len(a.version) == 12


def test_a_set_knows_whether_anything_looks_at_the_state() -> None:
    assert mapping_set("m: {select: {sensor: a}, invoke: f}").uses_state
    assert not mapping_set("m: {select: {sensor: a}, invoke: f, initial: always, when: data.value}").uses_state
    assert mapping_set("m: {select: {sensor: a}, invoke: f, initial: always, when: 'size(state) > 0'}").uses_state


def test_an_empty_set_says_so() -> None:
    """rule_13"""
    assert MappingSet().empty
    assert not MappingSet().allow_empty
    assert not MappingSet().candidates(sensor_event())


def test_its_functions_are_those_that_are_invoked_and_those_that_are_told_of_a_failure() -> None:
    built = mapping_set("""
a: {select: {event: "*"}, invoke: f, on_failure: page}
b: {select: {event: "*"}, invoke: g, on_failure: f}
c: {select: {event: "*"}, invoke: f}
""")
    assert built.functions == ("f", "page", "g")
