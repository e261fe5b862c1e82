from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.units import duration, seconds, size, size_bytes


@pytest.mark.parametrize(
    ("text", "value_s"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("1.5s", 1.5),
        ("0s", 0),
    ],
)
def test_a_duration_is_read(text: str, value_s: float) -> None:
    assert seconds(text) == pytest.approx(value_s)


@pytest.mark.parametrize("text", ["", "30", "s", "30 s", "-5s", "1e3s", "5M", "5y", "٣s", "30s\n", "x" * 500])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write one such as") as caught:
        seconds(text)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("text", ["36501d", "9" * 400 + "s"])
def test_a_duration_beyond_a_lifetime_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than 100 years"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "value"), [("512B", 512), ("64KiB", 65536), ("10MB", 10**7), ("1.5GiB", 3 * 2**29), ("1 KB", 1000)]
)
def test_a_size_is_read(text: str, value: int) -> None:
    assert size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "64", "64kib", "64 K", "-1B", "1e3B"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write one such as 512B, 64KiB or 10MB"):
        size_bytes(text)


def test_a_size_beyond_all_disks_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than any disk"):
        size_bytes("9" * 400 + "B")


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0, "0s"), (0.25, "250ms"), (1.5, "1.5s"), (60, "1m"), (5400, "1h30m"), (90061.5, "1d1h1m1.5s"), (3600, "1h")],
)
def test_a_duration_is_written_for_people(value_s: float, text: str) -> None:
    assert duration(value_s) == text


@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_is_read_back(value_s: float) -> None:
    assert seconds(duration(value_s)) == pytest.approx(value_s, rel=1e-4, abs=1e-5)


@given(st.integers(0, 2**50))
def test_a_written_size_is_read_back(value: int) -> None:
    assert size_bytes(size(value)) == value


def test_a_size_is_written_in_its_largest_unit() -> None:
    assert [size(value) for value in (0, 512, 1000, 65536, 10**7, 2**30)] == [
        "0B",
        "512B",
        "1KB",
        "64KiB",
        "10MB",
        "1GiB",
    ]
