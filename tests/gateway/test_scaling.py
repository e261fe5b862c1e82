"""What an alert does to the number of replicas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.gateway.deployment import Deployment
from bridge.gateway.scaling import after_alert


def deployment(low: int = 1, high: int = 20, factor: int = 20) -> Deployment:
    names = ("min", "max", "factor")
    return Deployment(
        "f", labels={f"com.openfaas.scale.{n}": str(v) for n, v in zip(names, (low, high, factor), strict=True)}
    )


@pytest.mark.parametrize(
    ("current", "low", "high", "factor", "firing", "wanted"),
    [
        (1, 1, 20, 20, True, 5),
        (18, 1, 20, 20, True, 20),
        (1, 1, 5, 25, True, 3),
        (7, 2, 20, 20, False, 2),
        (3, 3, 3, 20, True, 3),
        (4, 1, 20, 0, True, 4),
        (4, 1, 20, 0, False, 4),
        (0, 1, 20, 20, True, 0),
    ],
)
def test_the_classic_rule(current: int, low: int, high: int, factor: int, firing: bool, wanted: int) -> None:
    assert after_alert(current, deployment(low, high, factor), firing=firing) == wanted


@given(st.integers(1, 50), st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
def test_a_firing_alert_never_scales_down_and_never_above_the_maximum(
    current: int, low: int, more: int, factor: int
) -> None:
    wanted = after_alert(current, deployment(low, low + more, factor), firing=True)
    assert current <= wanted <= max(current, low + more)
