"""What is a number to a person: a voltage, a temperature by TMP36, the processor's temperature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bridge.virtual.devices.device import REFERENCE_V, Change, Told, Voltage, refusal
from bridge.virtual.one_wire import replace_text


class Quantity:
    """Something with a number: a voltage, a temperature by TMP36, the CPU's temperature."""

    def __init__(self, what: str, apply: Callable[[float], None], start: float, low: float, high: float) -> None:
        self._apply = apply
        self._told = Told(start, low, high)
        self.accepts = (f"{what} from {low:g} to {high:g}", Told.accepts)
        apply(start)

    def understand(self, value: str) -> Change:
        change = self._told.understand(value.strip().lower(), self._apply)
        if change is None:
            raise refusal(value, self.accepts)
        return change


def tmp36(input_: Voltage) -> Quantity:
    """A TMP36: 0.5 V at 0 °C and 10 mV a degree (Analog Devices, TMP35/36/37 data sheet, figure 6)."""

    def apply(celsius: float) -> None:
        input_.volts = 0.5 + celsius / 100

    return Quantity("°C", apply, 21.0, -40.0, 125.0)


def analog(input_: Voltage, *, unit: str | None, factor: float, offset: float) -> Quantity:
    """A voltage, told as the sensor tells it: its part of the reference, times `factor`, plus `offset`."""

    def apply(value: float) -> None:
        input_.volts = (value - offset) / factor * REFERENCE_V

    low, high = sorted((offset, offset + factor))
    return Quantity(unit or "a number", apply, offset, low, high)


def cpu_temperature(file: Path) -> Quantity:
    """The file where the kernel shows the processor's temperature, in thousandths of a degree."""

    def apply(celsius: float) -> None:
        replace_text(file, f"{round(celsius * 1000)}\n")

    return Quantity("°C", apply, 45.0, -40.0, 125.0)
