from __future__ import annotations

import importlib.util

import pytest

from bridge.agent.board import PinsSettings, RealBoard, driver_name, explained
from bridge.errors import SensorError


def test_a_mock_board_is_the_pi_of_its_revision() -> None:
    with RealBoard(PinsSettings(factory="mock", revision="902120")) as board:
        assert board.description == "Raspberry Pi Zero2W rev 1.0 (902120)"
        assert driver_name(board.pin_factory) == "mock"


def test_two_boards_in_one_process_do_not_share_pins() -> None:
    with RealBoard(PinsSettings(factory="mock")) as one, RealBoard(PinsSettings(factory="mock")) as other:
        assert one.pin_factory.pin(17) is not other.pin_factory.pin(17)


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is not None, reason="lgpio is installed here")
def test_a_driver_that_is_not_installed_says_what_to_install() -> None:
    with pytest.raises(
        SensorError, match=r"the pin driver lgpio is not installed .*: install the package python3-lgpio"
    ):
        RealBoard(PinsSettings(factory="lgpio"))


@pytest.mark.skipif(importlib.util.find_spec("lgpio") is not None, reason="lgpio is installed here")
def test_a_machine_without_pins_says_why_each_driver_failed_and_names_the_mock() -> None:
    with pytest.raises(SensorError) as raised:
        RealBoard(PinsSettings(factory="auto"))

    text = str(raised.value)
    assert "write pins: {factory: mock}" in text
    for name in ("lgpio", "rpigpio", "pigpio", "native"):
        assert f"driver {name}" in text


def test_a_permission_error_names_the_groups() -> None:
    with (
        pytest.raises(SensorError, match=r"opening GPIO17 failed: .*add the user to the groups gpio"),
        explained("opening GPIO17"),
    ):
        raise PermissionError(13, "Permission denied", "/dev/gpiochip0")


def test_a_pin_that_is_held_by_another_program_says_so() -> None:
    with pytest.raises(SensorError, match="another program holds the pin"), explained("opening GPIO17"):
        raise OSError(16, "Device or resource busy")


def test_an_error_of_our_own_making_is_not_dressed_up() -> None:
    with pytest.raises(ZeroDivisionError), explained("opening GPIO17"):
        raise ZeroDivisionError
