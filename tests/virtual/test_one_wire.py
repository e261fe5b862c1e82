from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.agent.models import Ds18b20 as Model
from bridge.agent.sensors.one_wire import Ds18b20 as Reader
from bridge.errors import SensorError
from bridge.virtual.one_wire import CONVERSION_S, OneWireBus
from bridge.virtual.one_wire.scratchpad import Scratchpad, crc, sixteenths

ADDRESS = "28-0316a2795cff"


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[OneWireBus]:
    made = OneWireBus(tmp_path, now_s=time.monotonic)
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


@given(st.floats(-55, 125), st.integers(9, 12))
def test_a_scratchpad_holds_the_temperature_to_half_a_step_and_its_checksum_is_right(
    celsius: float, resolution: int
) -> None:
    pad = Scratchpad(sixteenths(celsius, resolution), resolution)
    step = 1 / (1 << (resolution - 8))
    assert pad.sixteenths / 16 == pytest.approx(celsius, abs=step / 2 + 1e-9)
    assert math.fmod(pad.sixteenths / 16, step) == 0
    assert crc(pad.bytes_) == 0, "over its own checksum it is 0"
    assert pad.bytes_[4] == {9: 0x1F, 10: 0x3F, 11: 0x5F, 12: 0x7F}[resolution]


OTHER = "28-0316a2795d00"
BULK = "w1_bus_master1/therm_bulk_read"


class Kernel:
    """A bus with two thermometers of the model, on a clock of the test; `read` as its files are read there."""

    def __init__(self, root: Path) -> None:
        self.now_s = 0.0
        self.bus = OneWireBus(root, now_s=lambda: self.now_s, threads=False)
        self.one, self.other = (self.bus.thermometer(address, 21.3, Model()) for address in (ADDRESS, OTHER))

    def read(self, path: str) -> tuple[str, float]:
        reading = self.bus.read(self.bus.root / path)
        return reading.text.strip(), reading.took_s

    def write(self, path: str, text: str) -> None:
        (self.bus.root / path).write_text(text, encoding="ascii")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_a_reading_is_a_conversion_and_takes_750_ms_at_12_bits(kernel: Kernel) -> None:
    assert kernel.read(f"{ADDRESS}/temperature") == ("21312", 0.75)
    text, took_s = kernel.read(f"{ADDRESS}/w1_slave")
    assert text.endswith("t=21312")
    assert took_s == 0.75
    assert kernel.read(f"{ADDRESS}/resolution") == ("12", 0.0)


@pytest.mark.parametrize(
    ("bits", "told", "milliseconds"), [(9, "21500", 95), (10, "21250", 190), (11, "21250", 375), (12, "21312", 750)]
)
def test_a_written_resolution_changes_the_step_and_the_time(
    kernel: Kernel, bits: int, told: str, milliseconds: int
) -> None:
    kernel.write(f"{ADDRESS}/resolution", f"{bits}\n")
    assert kernel.read(f"{ADDRESS}/temperature") == (told, milliseconds / 1000)
    assert kernel.read(f"{ADDRESS}/conv_time") == (str(milliseconds), 0.0)
    assert kernel.read(f"{OTHER}/conv_time") == ("750", 0.0)


@pytest.mark.parametrize(
    ("file", "text", "stays"),
    [("resolution", "13", "12"), ("resolution", "8", "12"), ("features", "4", "0"), ("conv_time", "fast", "750")],
)
def test_what_the_kernel_refuses_is_put_back(kernel: Kernel, file: str, text: str, stays: str) -> None:
    kernel.write(f"{ADDRESS}/{file}", f"{text}\n")
    assert kernel.read(f"{ADDRESS}/{file}") == (stays, 0.0)


def test_a_conversion_time_that_is_too_short_reads_what_was_converted_before(kernel: Kernel) -> None:
    kernel.write(f"{ADDRESS}/conv_time", "100\n")
    assert kernel.read(f"{ADDRESS}/temperature") == ("85000", 0.1)
    kernel.write(f"{ADDRESS}/conv_time", "1\n")
    assert kernel.read(f"{ADDRESS}/conv_time")[0] == "900", "measured, and a fifth more"
    assert kernel.read(f"{ADDRESS}/temperature") == ("21312", 0.9)
    kernel.write(f"{ADDRESS}/conv_time", "100\n")
    kernel.one.set(50.0)
    assert kernel.read(f"{ADDRESS}/temperature") == ("21312", 0.1)
    kernel.write(f"{ADDRESS}/features", "2\n")
    assert kernel.read(f"{ADDRESS}/temperature") == ("50000", 0.75), "polled until it is complete"
    kernel.write(f"{ADDRESS}/features", "0\n")
    kernel.write(f"{ADDRESS}/resolution", "9\n")
    assert kernel.read(f"{ADDRESS}/conv_time")[0] == "95", "a new resolution has its own time"


def test_the_power_on_value_is_told_as_a_temperature_unless_the_kernel_is_asked_to_check(kernel: Kernel) -> None:
    kernel.write(f"{ADDRESS}/resolution", "9\n")
    kernel.read(f"{ADDRESS}/temperature")
    kernel.one.set(85.0, power_on=True)
    assert kernel.read(f"{ADDRESS}/temperature") == ("85000", 0.75), "the resolution is that of its memory again"
    with pytest.raises(SensorError, match="power-on value"):
        Reader(kernel.bus.root, ADDRESS, lambda file: kernel.bus.read(file).text).read()
    kernel.write(f"{ADDRESS}/features", "1\n")
    assert kernel.read(f"{ADDRESS}/temperature")[0] == ""
    assert kernel.read(f"{ADDRESS}/w1_slave")[0] == ""
    kernel.one.set(85.0)
    assert kernel.read(f"{ADDRESS}/temperature")[0] == "85000", "measured"


def test_all_are_converted_at_once_and_then_read_without_waiting(kernel: Kernel) -> None:
    assert kernel.read(BULK)[0] == "0"
    kernel.write(BULK, "trigger\n")
    assert kernel.read(BULK)[0] == "-1"
    assert kernel.read(f"{ADDRESS}/temperature") == ("", 0.0)
    kernel.one.set(30.0)
    kernel.now_s = 0.75
    assert kernel.read(BULK)[0] == "1"
    assert kernel.read(f"{ADDRESS}/temperature") == ("21312", 0.0), "what was so when the conversion began"
    assert kernel.read(BULK)[0] == "1", "the other one has not been read"
    assert kernel.read(f"{OTHER}/w1_slave")[1] == 0.0
    assert kernel.read(BULK)[0] == "0"
    assert kernel.read(f"{ADDRESS}/temperature") == ("30000", 0.75)


def test_the_bus_knows_who_is_there_and_without_anybody_there_is_nothing_to_convert(kernel: Kernel) -> None:
    slaves = "w1_bus_master1/w1_master_slaves"
    assert kernel.read(slaves)[0].split() == [ADDRESS, OTHER]
    kernel.one.set(fault="missing")
    assert kernel.read(slaves)[0].split() == [OTHER]
    with pytest.raises(FileNotFoundError):
        kernel.read(f"{ADDRESS}/temperature")
    kernel.other.set(fault="missing")
    assert kernel.read(slaves)[0] == "not found."
    assert not (kernel.bus.root / BULK).exists()
    kernel.one.set(22.0)
    assert kernel.read(BULK)[0] == "0"
    assert kernel.read(f"{ADDRESS}/temperature")[0] == "22000"


def test_a_slow_one_takes_longer_on_a_virtual_clock_too(kernel: Kernel) -> None:
    kernel.one.set(fault="slow")
    assert kernel.read(f"{ADDRESS}/temperature") == ("21312", 1.5)


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


def test_in_real_time_the_files_obey_and_a_reader_waits(bus: OneWireBus) -> None:
    bus.thermometer(ADDRESS, 21.3, Model(resolution=9))
    folder = bus.root / ADDRESS
    (folder / "resolution").write_text("10\n", encoding="ascii")
    eventually(lambda: (folder / "conv_time").read_text(encoding="ascii") == "190\n")
    started = time.monotonic()
    assert Reader(bus.root, ADDRESS).read() == 21.25
    assert time.monotonic() - started >= 0.18
    (bus.root / BULK).write_text("trigger\n", encoding="ascii")
    eventually(lambda: (bus.root / BULK).read_text(encoding="ascii") == "1\n")
    assert (folder / "temperature").read_text(encoding="ascii") == "21250\n"
    eventually(lambda: (bus.root / BULK).read_text(encoding="ascii") == "0\n")


def test_one_that_goes_while_it_is_read_leaves_its_reader_with_nothing(bus: OneWireBus) -> None:
    thermometer = bus.thermometer(ADDRESS, 21.3, Model())
    texts: list[str] = []
    opened = threading.Event()

    def read() -> None:
        with (bus.root / ADDRESS / "w1_slave").open(encoding="ascii") as file:
            opened.set()
            texts.append(file.read())

    reader = threading.Thread(target=read)
    reader.start()
    assert opened.wait(60)
    thermometer.set(fault="missing")
    reader.join(60)
    assert texts == [""]
    thermometer.set(22.0)
    assert Reader(bus.root, ADDRESS).read() == 22.0
