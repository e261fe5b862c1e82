"""ULIDs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import ulid

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants naive bounds


@given(TIMES, st.binary(min_size=10, max_size=10))
def test_an_id_tells_when_it_was_made_to_the_millisecond(at: datetime, randomness: bytes) -> None:
    made = ulid.mint(at, randomness)
    assert len(made) == ulid.LENGTH
    assert timedelta(0) <= at - ulid.made_at(made) < timedelta(milliseconds=1)


@given(TIMES, TIMES)
def test_ids_sort_by_their_times(one: datetime, other: datetime) -> None:
    first, second = sorted((one, other))
    assert ulid.mint(first, bytes(10)) <= ulid.mint(second, b"\xff" * 10)


def test_it_is_written_as_the_specification_writes_it() -> None:
    at = datetime.fromtimestamp(1469918176.385, UTC)
    assert ulid.mint(at, bytes(10)) == "01ARYZ6S410000000000000000"
    assert ulid.mint(at, b"\xff" * 10) == "01ARYZ6S41ZZZZZZZZZZZZZZZZ"


def test_two_ids_of_one_moment_differ() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({ulid.mint(at) for _ in range(1000)}) == 1000


def test_the_random_digits_of_an_id_are_all_thirty_two_at_every_place() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    made = [ulid.mint(at) for _ in range(2000)]  # that a digit is missing at a place: 1 in 10^25

    assert {each[:10] for each in made} == {ulid.mint(at, bytes(10))[:10]}
    assert {len(set(place)) for place in zip(*(each[10:] for each in made), strict=True)} == {32}


@pytest.mark.parametrize("milliseconds", [0, 1, 1023, 1024, 2**40 - 1, 2**47 + 12_345])
def test_an_id_with_randomness_of_its_own_has_the_time_of_one_that_is_given_some(milliseconds: int) -> None:
    at = ulid._EPOCH + min(milliseconds, 253_402_300_799_999) * ulid._MILLISECOND

    assert ulid.mint(at)[:10] == ulid.mint(at, bytes(10))[:10]
    assert ulid.made_at(ulid.mint(at)) == at


def test_a_time_before_1970_is_written_as_1970() -> None:
    assert ulid.made_at(ulid.mint(datetime(1960, 1, 1, tzinfo=UTC))) == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "01ARYZ6S41", "01ARYZ6S41000000000000000U", "8" * 26, "tombstone-abcd-1-2"])
def test_what_is_no_ulid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no ULID"):
        ulid.made_at(text)


@given(TIMES, st.binary(min_size=10, max_size=10))
def test_an_id_fits_into_sixteen_bytes_and_comes_back(at: datetime, randomness: bytes) -> None:
    made = ulid.mint(at, randomness)
    assert (len(ulid.packed(made)), ulid.unpacked(ulid.packed(made))) == (16, made)
