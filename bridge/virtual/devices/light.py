"""Light-dependent resistors: on an input of the converter, and as what charges a capacitor."""

from __future__ import annotations

from bridge.virtual.devices.device import REFERENCE_V, Change, Voltage, number_in, refusal
from bridge.virtual.factory import ChargingPin

_LIGHT_S, _DARK_S = 0.0005, 1.0


class LightBeam:
    """A light-dependent resistor on a converter's input: light and dark as two parts of the reference voltage."""

    def __init__(self, input_: Voltage, *, light: float, dark: float) -> None:
        self._input = input_
        self._ratios = {"restore": light, "break": dark}
        self._shine(light)

    @property
    def accepts(self) -> tuple[str, ...]:
        return ("break", "restore", "a number from 0 to 1 (the light)")

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        number = number_in(word)
        if word in self._ratios:
            number = self._ratios[word]
        if number is None or not 0 <= number <= 1:
            raise refusal(value, self.accepts)
        return Change.at_once(lambda: self._shine(number))

    def _shine(self, ratio: float) -> None:
        self._input.volts = ratio * REFERENCE_V


class ChargedBeam:
    """A light-dependent resistor that charges a capacitor: quickly in the light, slowly in the dark."""

    accepts = ("break", "restore")

    def __init__(self, pin: ChargingPin) -> None:
        self._pin = pin
        self._charge(_LIGHT_S)

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        if word not in self.accepts:
            raise refusal(value, self.accepts)
        charge_s = _LIGHT_S if word == "restore" else _DARK_S
        return Change.at_once(lambda: self._charge(charge_s))

    def _charge(self, charge_s: float) -> None:
        self._pin.charge_s = charge_s
