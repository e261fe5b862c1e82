"""Which version of the engine's API is spoken."""

from __future__ import annotations

import pytest

from bridge.errors import EngineError
from bridge.swarm.versions import agree, at_least


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"),
    [
        ("1.41", "1.12", "1.41"),  # Engine 20.10
        ("1.47", "1.24", "1.47"),  # Engine 27
        ("1.52", "1.44", "1.51"),  # Engine 29.0
        ("1.60", "1.55", "1.55"),  # one that refuses everything we know
        ("2.1", "2.0", "2.0"),
        ("1.41", "", "1.41"),
        ("1.40", "1.12", "1.40"),
    ],
)
def test_the_newest_that_both_know_is_spoken(newest: str, oldest: str, spoken: str) -> None:
    assert agree(newest, oldest) == spoken


def test_an_engine_that_is_too_old_is_refused_with_what_is_needed() -> None:
    with pytest.raises(EngineError, match=r"speaks API 1\.39 at most; 1\.40 is needed"):
        agree("1.39", "1.12")


@pytest.mark.parametrize("text", ["", "1", "x.y", "1.", ".4", "1.4.1", "1.-4"])
def test_what_is_no_version_is_no_docker_engine(text: str) -> None:
    with pytest.raises(EngineError, match="is no version"):
        agree(text, "1.12")


def test_versions_are_compared_as_numbers() -> None:
    assert at_least("1.44", (1, 44))
    assert at_least("1.100", (1, 44))
    assert not at_least("1.9", (1, 44))
