"""CPU and memory as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.swarm.quantities import cpu_nanos, cpu_text, memory_bytes, memory_text


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1", 10**9),
        ("2.5", 2_500_000_000),
        ("0.5", 500_000_000),
        (".5", 500_000_000),
        ("1.", 10**9),
        ("100m", 100_000_000),
        ("1m", 1_000_000),
        ("1500m", 1_500_000_000),
        ("0.001", 1_000_000),
        ("0.1", 100_000_000),
    ],
)
def test_cpu_is_read_exactly(text: str, nanos: int) -> None:
    assert cpu_nanos(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0001",
        "0.5m",
        "-1",
        "+1",
        "1e3",
        "1k",
        "100M",
        "100 m",
        " 1",
        "1,5",
        "NaN",
        "\u0663",
        "1" * 30,
        ".",
        "m",
    ],
)
def test_what_is_no_cpu_or_too_little_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"CPU"):
        cpu_nanos(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5Mi", 5 * 1024**2),
        ("20m", 20 * 1024**2),
        ("20mb", 20 * 1024**2),
        ("20M", 20 * 1000**2),
        ("1Gi", 1024**3),
        ("1g", 1024**3),
        ("1.5Gi", 3 * 1024**3 // 2),
        ("64000000", 64_000_000),
        ("64e6", 64_000_000),
        ("6E7", 60_000_000),
        ("8192k", 8 * 1024**2),
        ("8192Ki", 8 * 1024**2),
        ("1Ti", 1024**4),
        ("1E", 10**18),
        ("4194304b", 4 * 1024**2),
    ],
)
def test_memory_is_read_exactly(text: str, size: int) -> None:
    assert memory_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "3Mi", "1", "-5Mi", "5mi", "5MI", "5 Mi", "5Mib", "Mi", "5x", "1e99", "9E9E", "16Ei", "\u0665Mi"]
)
def test_what_is_no_memory_or_too_little_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="memory"):
        memory_bytes(text)


@given(st.integers(1_000_000, 10**13))
def test_cpu_that_is_told_is_read_again_as_the_same(nanos: int) -> None:
    assert cpu_nanos(cpu_text(nanos)) == nanos


@given(st.integers(4 * 1024**2, 2**50))
def test_memory_that_is_told_is_read_again_as_the_same(size: int) -> None:
    assert memory_bytes(memory_text(size)) == size


def test_amounts_are_told_in_the_unit_that_fits() -> None:
    assert [cpu_text(10**9), cpu_text(500_000_000), memory_text(5 * 1024**2)] == ["1", "500m", "5Mi"]
