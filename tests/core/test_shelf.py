from __future__ import annotations

from bridge.core.shelf import Shelf


def shelf(**stored: int) -> Shelf[str]:
    return Shelf(stored)


def long(resident: int = 1) -> Shelf[str]:
    some = shelf()
    some.begin("a", resident, after=9)
    return some


def test_what_is_put_away_is_on_the_disk_when_a_commit_has_kept_it() -> None:
    some = long()
    some.put("a", 10, "ten")

    assert (some.stored, some.is_coming("a", 10)) == (0, True)
    assert some.arrived("a", 10) == "ten"
    assert (some.stored, some.is_coming("a", 10)) == (1, False)
    assert some.arrived("a", 10) is None


def test_a_lane_is_read_when_few_of_it_are_in_memory_and_once_at_a_time() -> None:
    some = long(resident=2)
    some.put("a", 10, "ten")
    some.arrived("a", 10)

    assert list(some.wanted(low=1)) == []
    some.left("a")
    assert list(some.wanted(low=1)) == [("a", 9)]
    some.left("a")
    assert list(some.wanted(low=1)) == []
    some.read("a")
    assert list(some.wanted(low=1)) == [("a", 9)]


def test_what_was_read_is_in_memory_and_the_next_reading_begins_behind_it() -> None:
    some = shelf(a=2)
    assert list(some.wanted(low=0)) == [("a", 0)]

    assert some.taken("a", 4)
    some.joined("a")
    some.read("a")
    assert (some.stored, list(some.wanted(low=0))) == (1, [])
    some.left("a")
    assert list(some.wanted(low=0)) == [("a", 4)]


def test_a_lane_with_nothing_on_the_disk_nor_on_its_way_is_long_no_more() -> None:
    some = shelf(a=1)
    assert list(some.wanted(low=0)) == [("a", 0)]
    some.taken("a", 4)
    some.put("a", 5, "five")
    some.read("a")

    assert list(some.wanted(low=0)) == []
    assert "a" in some
    some.arrived("a", 5)
    assert list(some.wanted(low=0)) == [("a", 4)]
    some.taken("a", 5)
    some.read("a")
    assert list(some.wanted(low=0)) == []
    assert ("a" in some, len(some), some.arrived("a", 5), some.withdraw("a", 5)) == (False, 0, None, False)


def test_what_ends_on_its_way_to_the_disk_does_not_come_back_from_there() -> None:
    some = long(resident=0)
    some.put("a", 10, "ten")
    some.put("a", 11, "eleven")

    assert some.withdraw("a", 10)
    assert not some.withdraw("a", 10)
    assert some.arrived("a", 10) is None
    some.arrived("a", 11)
    assert list(some.wanted(low=0)) == [("a", 9)]
    assert [some.taken("a", number) for number in (10, 11)] == [False, True]
