"""What a test asks of invocations, and what it is told when there are others than it thought."""

from __future__ import annotations

import pytest

from bridge.testing import House
from tests.testing.conftest import NOON, Build

TWO = """
version: 1
timezone: UTC
mappings:
  night: {select: {event: button.pressed}, hours: "22:00-06:00", invoke: alarm}
  bell: {select: {event: button.pressed}, invoke: ring}
  motion: {select: {kind: pir}, invoke: light}
"""


@pytest.fixture
def house(build: Build) -> House:
    return build(TWO, at=NOON)


def ring(house: House) -> None:
    house.pi("pi-1").sensor("doorbell").press().release()


def test_they_are_a_sequence_in_the_order_of_their_first_attempts(house: House) -> None:
    ring(house)
    house.pi("pi-1").sensor("front-door").motion()
    assert house.invocations.functions() == ["ring", "light"]
    assert [one.mapping for one in house.invocations] == ["bell", "motion"]
    assert house.invocations[0] is house.invocations.of("ring").only() is house.invocations.by("bell").only()
    assert house.invocations[-1] is house.invocations.last()
    assert len(house.invocations[:1]) == 1
    assert house.invocations.of("ring").by("motion").functions() == []
    house.invocations.of("alarm").none()


def test_more_than_one_is_listed_when_one_was_expected(house: House) -> None:
    ring(house)
    ring(house)
    with pytest.raises(AssertionError, match="one invocation was expected of ring, and there are 2") as caught:
        house.invocations.of("ring").only()
    assert "\n  12:00:00.000 ring by bell, for pi-1/doorbell button.pressed True: succeeded 200" in str(caught.value)
    with pytest.raises(AssertionError, match="no invocation was expected:\n  12:00:00"):
        house.invocations.none()
    assert repr(house.invocations).startswith("<2 invocations:\n")


def test_none_is_explained_by_the_clause_that_said_no_and_by_what_was_invoked_instead(house: House) -> None:
    ring(house)
    with pytest.raises(AssertionError) as caught:
        house.invocations.of("alarm").only()
    text = str(caught.value)
    assert text.startswith(
        "nothing was invoked of alarm; night: hours wants 22:00-06:00 (UTC), found Sun 12:00 UTC\ninstead:\n  12:00:00"
    )


def test_a_name_that_nobody_has_is_an_error_and_not_just_nothing(house: House) -> None:
    with pytest.raises(LookupError, match="no mapping invokes rign, and no stack file has it; did you mean ring"):
        house.function("rign")
    with pytest.raises(LookupError, match="no mapping invokes nobody, and no stack file has it; there are "):
        house.invocations.of("nobody").none()
    with pytest.raises(LookupError, match="there is no mapping bel; did you mean bell"):
        house.invocations.by("bel").none()


def test_names_are_those_of_the_mapping_file_that_is_in_force_and_of_what_was_invoked(house: House) -> None:
    ring(house)
    house.replace_mappings(
        "version: 1\nmappings: {other: {select: {event: button.pressed}, invoke: new, on_failure: page}}\n"
    )
    house.function("new").answers(500)
    house.function("page")
    assert len(house.invocations.of("ring").by("bell")) == 1
    with pytest.raises(LookupError, match="no mapping invokes ring"):
        house.function("ring")


def test_what_no_mapping_selects_is_explained_by_the_nearest_one(house: House) -> None:
    house.pi("pi-1").sensor("boiler").temperature(75)
    text = repr(house.invocations)
    assert "bell: select.event wants button.pressed, found temperature.high" in text
    assert "motion: select.kind wants pir, found thermometer" in text
    assert "pi-1/boiler temperature.high 75.0" in text
    assert house.why("motion") == "motion: select.kind wants pir, found thermometer"


def test_a_mapping_that_has_fired_or_heard_nothing_has_no_reason_not_to(house: House) -> None:
    assert house.why("bell") == "no event came in"
    ring(house)
    assert house.why("bell") == "it has said no to nothing, and fired 1 times"
    with pytest.raises(LookupError, match="there is no mapping sunrise; there are night, bell, motion"):
        house.why("sunrise")


def test_a_dispatcher_that_is_dead_is_the_reason(house: House) -> None:
    house.kill_dispatcher()
    ring(house)
    with pytest.raises(AssertionError, match="nothing was invoked; the dispatcher is not running"):
        house.invocations.only()


def test_the_story_of_a_house_is_told_line_by_line(house: House) -> None:
    house.function("ring").answers(500, "oh", times=1)
    ring(house)
    house.advance("10s")
    told = [line.split("  ", 1)[1].strip() for line in house.happened().splitlines()]
    assert told == [
        "pi-1/doorbell button.pressed",
        "night does not fire: hours wants 22:00-06:00 (UTC), found Sun 12:00 UTC",
        "bell invokes ring",
        "bell → ring, attempt 1",
        "ring: HTTP 500: oh",
        "pi-1/doorbell button.released",
        "bell → ring, attempt 2",
        "ring: done",
    ]
