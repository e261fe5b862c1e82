"""Temperature, in degrees Celsius: a DS18B20 on the 1-Wire bus, a TMP36 on an MCP3008, or the Pi's own processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from bridge.agent.board import Board
from bridge.agent.pins import Pin, Use
from bridge.agent.sensors.adc import QUEUE, REFERENCE_V, AdcChannel, Channel, ChipSelect, adc_uses
from bridge.agent.sensors.interpreters import Numbers
from bridge.agent.sensors.one_wire import ADDRESS, Ds18b20
from bridge.agent.sensors.plan import Plan, Polled, PolledDevice
from bridge.agent.sensors.settings import Measured
from bridge.config import Within
from bridge.core.filters import Band, Threshold
from bridge.errors import SensorError

UNIT = "Cel"
"""The UCUM code of degrees Celsius."""

_LIMITS = {"ds18b20": (-55.0, 125.0), "tmp36": (-40.0, 125.0), "cpu": (-20.0, 120.0)}
"""What each can measure, in degrees Celsius; an open TMP36 input reads as something outside or close to it."""
_NEEDED = {"ds18b20": "device", "tmp36": "channel", "cpu": None}
_NAMES = {Band.HIGH: "temperature.high", Band.LOW: "temperature.low", Band.NORMAL: "temperature.normal"}
_SLOWEST_DS18B20_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermometer(Measured):
    """`kind: thermometer`. With `high` or `low` it also tells `temperature.high`, `.low` and `.normal`."""

    KIND: ClassVar[str] = "thermometer"

    sensor: Literal["ds18b20", "tmp36", "cpu"]
    device: str | None = None
    """Of a DS18B20: its address, `28-` and twelve hexadecimal digits."""
    channel: Channel | None = None
    chip_select: ChipSelect = 0
    file: Path = Path("/sys/class/thermal/thermal_zone0/temp")
    """Of the processor: where the kernel shows its temperature."""
    high: float | None = None
    low: float | None = None
    hysteresis: Annotated[float, Within(0)] = 1.0
    delta: Annotated[float, Within(0)] = 0.5

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        if self.sensor == "ds18b20":
            yield Use("device", one_wire.name, "the 1-Wire bus")
            yield Use("device", f"the thermometer {self.device}")
        elif self.sensor == "tmp36" and self.channel is not None:
            yield from adc_uses(self.channel, self.chip_select)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        yield from Measured.problems(self)
        for key in ("device", "channel"):
            given, needed = getattr(self, key) is not None, _NEEDED[self.sensor] == key
            if needed and not given:
                yield key, f"is missing; sensor: {self.sensor} needs it"
            elif given and not needed:
                yield key, f"does not belong to sensor: {self.sensor}"
        if self.device is not None and not ADDRESS.fullmatch(self.device):
            yield "device", f"must be an address such as 28-0316a2795cff, not {self.device!r}"
        if self.high is not None and self.low is not None and self.high - self.hysteresis <= self.low + self.hysteresis:
            yield "high", f"is too close to low: {self.low:g} for a hysteresis of {self.hysteresis:g}"
        if self.sensor == "ds18b20" and self.every_s < _SLOWEST_DS18B20_S:
            yield "every", "must be at least 1s; a DS18B20 needs 750 ms for a reading"

    def plan(self) -> Plan:
        watched = self.high is not None or self.low is not None
        bands = Threshold(self.high, self.low, self.hysteresis) if watched else None
        numbers = Numbers("temperature.changed", UNIT, self.clean(*_LIMITS[self.sensor]), self.report(), bands, _NAMES)
        queue = QUEUE if self.sensor == "tmp36" else None
        source = Polled(self._open, self.every_s, self.timeout_s, queue)
        return Plan(source, numbers, UNIT, ("temperature.changed", *(_NAMES.values() if watched else ())))

    def _open(self, board: Board) -> PolledDevice[float]:
        if self.sensor == "ds18b20":
            assert self.device is not None
            return Ds18b20(board.w1_root, self.device, board.read_text)
        if self.sensor == "tmp36":
            assert self.channel is not None
            return Tmp36(AdcChannel(board, self.channel, self.chip_select))
        return CpuThermometer(self.file)


class Tmp36:
    """A TMP36: 10 mV a degree, 500 mV at 0 degrees Celsius (its datasheet); a step of the converter is 0.32."""

    def __init__(self, channel: AdcChannel) -> None:
        self._channel = channel

    def read(self) -> float:
        return (self._channel.read() * REFERENCE_V - 0.5) * 100

    def close(self) -> None:
        self._channel.close()


class CpuThermometer:
    """The processor's own thermometer, in thousandths of a degree in a file of the kernel."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> float:
        try:
            return int(self._file.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError) as error:
            raise SensorError(f"reading the processor's temperature from {self._file} failed: {error}") from error

    def close(self) -> None:
        """There is nothing to let go of."""
