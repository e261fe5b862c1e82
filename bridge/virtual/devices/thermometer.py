"""A DS18B20 that can also fail in the ways the real one does."""

from __future__ import annotations

from bridge.virtual.devices.device import Change, number_in, refusal
from bridge.virtual.one_wire import POWER_ON_C, Ds18b20, Fault


class OneWireThermometer:
    """A DS18B20 that can also fail in the ways the real one does."""

    accepts = ("°C from -55 to 125", "crc", "missing", "slow", "power-on")

    def __init__(self, thermometer: Ds18b20) -> None:
        self._thermometer = thermometer

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        number = number_in(word)
        faults: dict[str, Fault] = {"crc": "crc", "missing": "missing", "slow": "slow"}
        if word in faults:
            return Change.at_once(lambda: self._thermometer.set(fault=faults[word]))
        if word == "power-on":
            return Change.at_once(lambda: self._thermometer.set(POWER_ON_C, power_on=True))
        if number is not None and -55 <= number <= 125:
            return Change.at_once(lambda: self._thermometer.set(number))
        raise refusal(value, self.accepts)
