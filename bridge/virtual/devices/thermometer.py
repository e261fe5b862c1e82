"""A DS18B20 that can also fail in the ways the real one does."""

from __future__ import annotations

from bridge.virtual.devices.device import Change, Told, refusal
from bridge.virtual.one_wire import POWER_ON_C, Ds18b20, Fault


class OneWireThermometer:
    """A DS18B20 that can also fail in the ways the real one does."""

    accepts = ("°C from -55 to 125", Told.accepts, "crc", "missing", "slow", "power-on")

    def __init__(self, thermometer: Ds18b20) -> None:
        self._thermometer = thermometer
        self._told = Told(thermometer.celsius, -55.0, 125.0)

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        faults: dict[str, Fault] = {"crc": "crc", "missing": "missing", "slow": "slow"}
        if word in faults:
            return Change.at_once(lambda: self._thermometer.set(fault=faults[word]))
        if word == "power-on":
            return Change.at_once(lambda: self._thermometer.set(POWER_ON_C, power_on=True))
        change = self._told.understand(word, self._waver if word.startswith("off by ") else self._thermometer.set)
        if change is None:
            raise refusal(value, self.accepts)
        return change

    def _waver(self, celsius: float) -> None:
        """A number ends a fault, noise does not."""
        thermometer = self._thermometer
        thermometer.set(celsius, thermometer.fault, power_on=thermometer.powerless)
