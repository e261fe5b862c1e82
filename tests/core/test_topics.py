from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import topics as t
from bridge.core.topics import (
    DispatcherTopic,
    MappingsTopic,
    NodeTopic,
    OutputTopic,
    SensorEventTopic,
    SensorStateTopic,
    Topics,
    check_filter,
    check_topic,
    client_id,
    cover,
    matches,
    overlap,
)
from bridge.errors import TopicError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
LEVELS = st.sampled_from(["", "a", "b", "$x"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.sampled_from(["", "a", "b", "$x", "+"]), min_size=0, max_size=3))
    if not levels or draw(st.booleans()):
        levels.append(draw(st.sampled_from(["#", "+", "a"])))
    text = "/".join(levels)
    return text or "+"


def reference(topic_filter: str, topic: str) -> bool:
    """MQTT 5.0, section 4.7, word for word and slowly."""
    if topic_filter[0] in "+#" and topic[0] == "$":
        return False

    def level(wanted: list[str], found: list[str]) -> bool:
        if wanted == ["#"]:
            return True
        if not wanted or not found:
            return not wanted and not found
        return wanted[0] in ("+", found[0]) and (
            level(wanted[1:], found[1:]) or (wanted[1:] == ["#"] and found[1:] == [])
        )

    return level(topic_filter.split("/"), topic.split("/"))


@given(root=NAMES, site=NAMES, node=NAMES, leaf=NAMES)
def test_what_is_built_is_parsed_back(root: str, site: str, node: str, leaf: str) -> None:
    ours = Topics(f"{root}/{site}")

    assert ours.parse(ours.status(site, node)) == NodeTopic(ours.status(site, node), site, node, "status")
    assert ours.parse(ours.info(site, node)) == NodeTopic(ours.info(site, node), site, node, "info")
    assert ours.parse(ours.confirm(site, node)) == NodeTopic(ours.confirm(site, node), site, node, "confirm")
    event, state = ours.event(site, node, leaf), ours.state(site, node, leaf)
    assert ours.parse(event) == SensorEventTopic(event, site, node, leaf)
    assert ours.parse(state) == SensorStateTopic(state, site, node, leaf)
    wanted, found = ours.output_set(site, node, leaf), ours.output_state(site, node, leaf)
    assert ours.parse(wanted) == OutputTopic(wanted, site, node, leaf, "set")
    assert ours.parse(found) == OutputTopic(found, site, node, leaf, "state")
    assert ours.parse(ours.mappings(site)) == MappingsTopic(ours.mappings(site), site)
    for kind in ("status", "marker"):
        text = ours.dispatcher(site, node, kind)
        assert ours.parse(text) == DispatcherTopic(text, site, node, kind)


@given(st.text())
def test_any_text_is_parsed_to_a_topic_of_ours_or_to_nothing(text: str) -> None:
    parsed = Topics().parse(text)

    assert parsed is None or parsed.text == text


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "zigbee2mqtt/door",
        "gpio-bridge/v2/home/nodes/pi-1/status",
        "gpio-bridge/v1/home",
        "gpio-bridge/v1/HOME/nodes/pi-1/status",
        "gpio-bridge/v1/home/nodes/pi_1/status",
        "gpio-bridge/v1/home/nodes/pi-1/status\n",
        "gpio-bridge/v1/home/nodes/pi-1/sensors/-door/event",
        "gpio-bridge/v1/home/nodes/pi-1/sensors/door/other",
        "gpio-bridge/v1/home/nodes/pi-1/status/more",
        "gpio-bridge/v1/home/outputs/pi-1/status",
        "gpio-bridge/v1/home/config/other",
    ],
)
def test_a_topic_that_is_not_one_of_ours_is_none(topic: str) -> None:
    assert Topics().parse(topic) is None


def test_a_root_with_a_wildcard_is_refused() -> None:
    with pytest.raises(TopicError, match="wildcard"):
        Topics("home/+")


def test_a_client_id_names_site_program_and_node() -> None:
    assert client_id("home", "agent", "pi-1") == "gpio-bridge-home-agent-pi-1"
    assert client_id("home", "dispatcher") == "gpio-bridge-home-dispatcher"


@pytest.mark.parametrize(
    ("topic", "wrong"),
    [
        ("", "empty"),
        ("a\0b", "null character"),
        ("a/#", "wildcard"),
        ("a/+", "wildcard"),
        ("a" * 65_536, "longer than 65535 bytes"),
        ("ü" * 40_000, "longer than 65535 bytes"),
        ("a\ud800", "no Unicode text"),
    ],
)
def test_a_topic_that_cannot_be_published_to_is_refused(topic: str, wrong: str) -> None:
    with pytest.raises(TopicError, match=wrong):
        check_topic(topic)


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/#", "+/+/a", "/", "a//b", "$SYS/#"])
def test_a_valid_filter_is_accepted(topic_filter: str) -> None:
    check_filter(topic_filter)


@pytest.mark.parametrize(
    ("topic_filter", "wrong"), [("a#", "#"), ("#/a", "#"), ("a+", r"\+"), ("+a/b", r"\+"), ("", "empty")]
)
def test_a_wildcard_in_the_wrong_place_is_refused(topic_filter: str, wrong: str) -> None:
    with pytest.raises(TopicError, match=wrong):
        check_filter(topic_filter)


@given(st.text(st.sampled_from("a+#/$\0"), max_size=6))
def test_every_text_is_a_valid_filter_or_refused_with_a_topic_error(text: str) -> None:
    try:
        check_filter(text)
    except TopicError:
        return
    assert matches(text, text.replace("+", "x").replace("#", "x")) or text[0] in "+#" or "$" in text


@pytest.mark.parametrize(
    ("topic_filter", "topic", "matched"),
    [
        ("sport/#", "sport", True),
        ("sport/#", "sport/tennis/player", True),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS/broker", False),
        ("+/broker", "$SYS/broker", False),
        ("$SYS/#", "$SYS/broker", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_filters_match_as_the_standard_says(topic_filter: str, topic: str, matched: bool) -> None:
    assert matches(topic_filter, topic) is matched
    assert reference(topic_filter, topic) is matched


@given(filters(), TOPICS)
def test_matching_agrees_with_the_standard(topic_filter: str, topic: str) -> None:
    check_filter(topic_filter)

    assert matches(topic_filter, topic) == reference(topic_filter, topic)


@given(filters(), filters(), TOPICS)
def test_filters_that_match_the_same_topic_overlap(one: str, other: str, topic: str) -> None:
    if matches(one, topic) and matches(other, topic):
        assert overlap(one, other)
        assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other", "overlapping"),
    [
        ("a/#", "a", True),
        ("a/#", "a/+/b", True),
        ("a/+", "+/b", True),
        ("a/+", "b/+", False),
        ("a/+", "a/b/c", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/+", "$SYS/x", True),
        ("a", "a/b", False),
        ("a/b/#", "a", False),
        ("a", "a/+", False),
    ],
)
def test_overlapping_is_told(one: str, other: str, overlapping: bool) -> None:
    assert overlap(one, other) is overlapping
    assert overlap(other, one) is overlapping


@given(st.lists(filters(), max_size=6), st.lists(TOPICS, max_size=30))
def test_a_cover_matches_all_that_is_wanted_and_nothing_twice(wanted: list[str], some: list[str]) -> None:
    """Rule 6: the subscriptions are a non-overlapping cover of what is needed."""
    kept = cover(wanted)

    for one in kept:
        check_filter(one)
    for topic in some:
        matched = sum(matches(one, topic) for one in kept)
        assert matched <= 1
        assert matched == 1 or not any(matches(one, topic) for one in wanted)
    assert not any(overlap(one, other) for one in kept for other in kept if one != other)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ([], ()),
        (["b/c", "a/+", "a/b", "b/#", "a/+"], ("b/#", "a/+")),
        (["a/+", "+/b"], ("+/+",)),
        (["a/b", "a/b/#"], ("a/b/#",)),
        (["a/+/c", "a/b/#"], ("a/+/#",)),
        (["#", "$SYS/x"], ("#", "$SYS/x")),
        (["a/b", "c/+", "+/b"], ("+/+",)),
    ],
)
def test_a_cover_joins_what_overlaps_and_leaves_the_rest(wanted: list[str], kept: tuple[str, ...]) -> None:
    assert cover(wanted) == kept


def test_the_limits_are_those_of_mqtt() -> None:
    assert t.MAX_BYTES == 65_535
    check_topic("a" * 65_535)
