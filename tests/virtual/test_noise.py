"""Numbers that waver: the same in each run, within their amplitude, and over when they should be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.clock import VirtualClock
from bridge.errors import SensorError
from bridge.virtual.board import VirtualBoard
from bridge.virtual.noise import deviations, read_noise
from tests.virtual.test_board import SENSORS, polled, settings


@given(st.text(max_size=5), st.integers(0, 9), st.floats(0, 1000), st.integers(1, 100))
def test_every_deviation_is_within_the_amplitude_and_the_same_again(
    name: str, number: int, amplitude: float, steps: int
) -> None:
    found = deviations(name, number, amplitude, steps)
    assert len(found) == steps
    assert all(-amplitude <= off <= amplitude for off in found)
    assert found == deviations(name, number, amplitude, steps)


def test_noise_differs_by_name_and_from_one_time_to_the_next_and_goes_both_ways() -> None:
    first = deviations("boiler", 0, 1.0, 20)
    assert first != deviations("boiler", 1, 1.0, 20)
    assert first != deviations("cellar", 0, 1.0, 20)
    assert min(first) < -0.5
    assert max(first) > 0.5


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("noise 0.5 for 30s", (0.5, 30.0)),
        ("noise 2 for 5m", (2.0, 300.0)),
        ("noise for 30s", None),
        ("noise 0.5", None),
        ("noise -1 for 1s", None),
    ],
)
def test_noise_is_read_as_people_write_it(text: str, found: tuple[float, float] | None) -> None:
    assert read_noise(text) == found


@pytest.mark.parametrize("text", ["noise 1 for 0s", "noise 1 for ever"])
def test_noise_of_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no time at all|is not a duration"):
        read_noise(text)


@pytest.mark.parametrize(
    ("sensor", "number", "off", "shown", "within"),
    [
        ("greenhouse", "20", "0.5", 20.5, 0.04),
        ("greenhouse", "124.9", "0.5", 125.0, 0.04),
        ("cellar", "20", "-1", 19.0, 0.33),
        ("cpu", "50", "0.25", 50.25, 0.001),
        ("soil", "40", "10", 0.5, 0.001),
        ("soil", "95", "10", 1.0, 0.001),
        ("tank", "42", "-2", 40.0, 0.01),
        ("tank", "3", "-2", 2.0, 0.01),
    ],
)
def test_a_deviation_is_around_the_last_number_and_cut_off_at_the_limits(
    sensor: str, number: str, off: str, shown: float, within: float
) -> None:
    board = VirtualBoard(settings(), virtual_clock=VirtualClock())
    read = polled(board, sensor)
    board.drive_now(sensor, number)
    before = read()
    for _ in range(2):
        board.drive_now(sensor, f"off by {off}")
        assert read() == pytest.approx(shown, abs=within), "not added up"
    board.drive_now(sensor, "off by 0")
    assert read() == before
    board.close()


def test_noise_ends_no_fault_and_a_stuck_sensor_does_not_waver() -> None:
    board = VirtualBoard(settings(), virtual_clock=VirtualClock())
    for sensor, fault in (("greenhouse", "missing"), ("greenhouse", "power-on"), ("tank", "unplugged")):
        board.drive_now(sensor, fault)
        board.drive_now(sensor, "off by 0.3")
        with pytest.raises(SensorError):
            polled(board, sensor)()
    board.drive_now("cpu", "stuck")
    board.drive_now("cpu", "60")
    board.drive_now("cpu", "off by 5")
    assert polled(board, "cpu")() == 45.0
    board.drive_now("cpu", "unstuck")
    assert polled(board, "cpu")() == 60.0
    board.close()


def test_a_model_wavers_too() -> None:
    board = VirtualBoard(settings(f"{SENSORS}virtual: {{tank: {{model: hc-sr04}}}}\n"), virtual_clock=VirtualClock())
    board.drive_now("tank", "nothing")
    board.drive_now("tank", "off by 1")
    assert polled(board, "tank")() == 400.0, "nothing is still nothing"
    board.close()
