from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.agent.sensors.one_wire import Ds18b20, parse
from bridge.errors import SensorError

DEVICE = "28-0316a2795cff"
GOOD = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n"


def w1_slave(milli: int, verdict: str = "YES", pad: str = "72 01 4b 46 7f ff 0e 10 57") -> str:
    return f"{pad} : crc=57 {verdict}\n{pad} t={milli}\n"


def bus(root: Path, text: str | None, device: str = DEVICE) -> Ds18b20:
    """A tree as the kernel shows it, with one thermometer on it."""
    (root / "w1_bus_master1").mkdir(parents=True)
    if text is not None:
        (root / device).mkdir()
        (root / device / "w1_slave").write_text(text, encoding="ascii")
    return Ds18b20(root, DEVICE)


def test_a_reading_is_in_degrees(tmp_path: Path) -> None:
    assert bus(tmp_path, w1_slave(23125)).read() == 23.125


@given(st.integers(-55_000, 84_999) | st.integers(85_001, 125_000))
def test_every_temperature_it_can_measure_is_read(milli: int) -> None:
    assert parse(w1_slave(milli), DEVICE, None) == milli / 1000


@given(st.text(max_size=120))
def test_text_that_is_no_reading_is_an_error_and_nothing_worse(text: str) -> None:
    with pytest.raises(SensorError):
        parse(text, DEVICE, None)


def test_a_wrong_checksum_is_an_error_although_the_kernel_repeats_the_last_value(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="the checksum is wrong"):
        bus(tmp_path, w1_slave(23125, "NO")).read()


def test_the_power_on_value_is_not_a_temperature(tmp_path: Path) -> None:
    thermometer = bus(tmp_path, w1_slave(20000))
    thermometer.read()
    (tmp_path / DEVICE / "w1_slave").write_text(GOOD, encoding="ascii")

    with pytest.raises(SensorError, match=r"85\.000 is its power-on value"):
        thermometer.read()


def test_eighty_five_degrees_are_believed_when_it_was_nearly_as_hot_before(tmp_path: Path) -> None:
    thermometer = bus(tmp_path, w1_slave(84500))
    thermometer.read()
    (tmp_path / DEVICE / "w1_slave").write_text(GOOD, encoding="ascii")

    assert thermometer.read() == 85.0


def test_the_fault_value_is_not_a_temperature(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"127\.94 is a fault value"):
        bus(tmp_path, w1_slave(127937)).read()


def test_a_shorted_data_line_is_not_zero_degrees(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="shorted"):
        bus(tmp_path, w1_slave(0, pad="00 00 00 00 00 00 00 00 00")).read()


def test_a_missing_thermometer_says_which_ones_are_there(tmp_path: Path) -> None:
    thermometer = bus(tmp_path, None)
    with pytest.raises(SensorError, match=r"not on the 1-Wire bus; no thermometer"):
        thermometer.read()
    (tmp_path / "28-00000dead001").mkdir()

    with pytest.raises(SensorError, match="found there: 28-00000dead001"):
        thermometer.read()


def test_a_bus_that_is_switched_off_says_how_to_switch_it_on(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="dtoverlay=w1-gpio"):
        Ds18b20(tmp_path / "none", DEVICE).read()
