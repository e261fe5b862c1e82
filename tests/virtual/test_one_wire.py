from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.agent.sensors.one_wire import Ds18b20 as Reader
from bridge.errors import SensorError
from bridge.virtual.one_wire import CONVERSION_S, OneWireBus

ADDRESS = "28-0316a2795cff"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[OneWireBus]:
    made = OneWireBus(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("celsius", [21.5, 0.0, -10.125, 124.9375, -54.0])
def test_the_agent_reads_the_temperature_that_was_set(bus: OneWireBus, celsius: float) -> None:
    bus.thermometer(ADDRESS).set(celsius)
    assert Reader(bus.root, ADDRESS).read() == pytest.approx(celsius, abs=0.0006)


def test_the_checksum_is_the_one_of_the_datasheet(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS).set(23.125)
    text = (bus.root / ADDRESS / "w1_slave").read_text(encoding="ascii")
    assert text == (
        "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n"
        "72 01 4b 46 7f ff 0e 10 57 t=23125\n"
    )  # fmt: skip


def test_a_wrong_checksum_stands_beside_the_computed_one_and_leaves_the_second_line_as_it_was(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS, 23.125).set(fault="crc")
    assert (bus.root / ADDRESS / "w1_slave").read_text(encoding="ascii") == (
        "72 01 4b 46 7f ff 0e 10 a8 : crc=57 NO\n"
        "72 01 4b 46 7f ff 0e 10 57 t=23125\n"
    )  # fmt: skip


@pytest.mark.parametrize(("power_on", "reserved"), [(True, 0x0C), (False, 0x10)])
def test_the_power_on_value_differs_from_a_measured_85_degrees_in_byte_6(
    bus: OneWireBus, power_on: bool, reserved: int
) -> None:
    bus.thermometer(ADDRESS).set(85.0, power_on=power_on)
    read = (bus.root / ADDRESS / "w1_slave").read_text(encoding="ascii").split()
    assert (read[:2], int(read[6], 16)) == (["50", "05"], reserved)


def test_a_wrong_checksum_keeps_the_temperature_and_is_refused_by_the_agent(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS, 21.5).set(fault="crc")
    assert "NO\n" in (bus.root / ADDRESS / "w1_slave").read_text(encoding="ascii")
    assert (bus.root / ADDRESS / "temperature").read_text(encoding="ascii") == ""
    with pytest.raises(SensorError, match="checksum"):
        Reader(bus.root, ADDRESS).read()


def test_a_missing_thermometer_is_gone_and_comes_back(bus: OneWireBus) -> None:
    thermometer = bus.thermometer(ADDRESS, 21.5)
    thermometer.set(fault="missing")
    with pytest.raises(SensorError, match="not on the 1-Wire bus"):
        Reader(bus.root, ADDRESS).read()
    thermometer.set(22.0)
    assert Reader(bus.root, ADDRESS).read() == 22.0


def test_a_slow_thermometer_makes_each_reader_wait_as_long_as_a_conversion(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS, 21.5).set(fault="slow")
    started = time.monotonic()
    assert Reader(bus.root, ADDRESS).read() == 21.5
    assert time.monotonic() - started >= CONVERSION_S * 0.9


def test_a_slow_thermometer_that_nobody_reads_can_be_closed_at_once(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS).set(fault="slow")
    started = time.monotonic()
    bus.close()
    assert time.monotonic() - started < CONVERSION_S
