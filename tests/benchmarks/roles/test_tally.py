"""The tally finds what is missing, repeated and out of order, whoever sent it."""

from __future__ import annotations

import itertools

import pytest

from benchmarks.roles.publisher import foreign_messages, sensor_events
from benchmarks.roles.tally import Tally


def _numbered(*numbers: int) -> Tally:
    tally = Tally()
    for number in numbers:
        tally.add(b'{"device":"7","number":%d}' % number)
    return tally


@pytest.mark.parametrize(
    ("numbers", "distinct", "repeated", "out_of_order"),
    [
        ((1, 2, 3), 3, 0, 0),
        ((1, 2, 2, 3), 3, 1, 0),
        ((1, 3), 2, 0, 0),
        ((1, 3, 2), 3, 0, 1),
        ((3, 1, 2), 3, 0, 2),
        ((1, 3, 2, 2), 3, 1, 1),
        ((5, 2, 9, 2, 9), 3, 2, 1),
    ],
)
def test_each_event_is_distinct_repeated_or_before_an_earlier_one(
    numbers: tuple[int, ...], distinct: int, repeated: int, out_of_order: int
) -> None:
    tally = _numbered(*numbers)

    assert (tally.distinct, tally.repeated, tally.out_of_order) == (distinct, repeated, out_of_order)


@pytest.mark.parametrize("source", [sensor_events(5, "x"), foreign_messages(5)], ids=["sensors", "foreign topics"])
def test_what_the_publisher_makes_is_told_apart_by_place_and_number(source: itertools.chain[tuple[str, bytes]]) -> None:
    tally = Tally()

    bodies = [payload for _, payload in itertools.islice(source, 20)]
    for body in [*bodies, bodies[3]]:
        tally.add(b"POST / HTTP/1.1\r\n\r\n" + body)

    assert (tally.distinct, tally.repeated, tally.out_of_order, tally.unnamed) == (20, 1, 0, 0)


def test_a_request_that_names_no_event_is_counted_apart() -> None:
    tally = Tally()

    tally.add(b"POST / HTTP/1.1\r\n\r\nhello")

    assert (tally.distinct, tally.unnamed) == (0, 1)
