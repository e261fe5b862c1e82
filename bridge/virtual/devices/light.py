"""Light-dependent resistors: on an input of the converter, and as what charges a capacitor.

The ideal ones are light or dark; a `Photoresistor` has a resistance that follows from the light, and its circuit says
what becomes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bridge.agent.models import Ldr
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


class Photoresistor:
    """A light-dependent resistor in the light of a laser; `resist` is told its resistance in ohm at each change."""

    accepts = ("break", "restore", "NUMBER lux")

    def __init__(self, model: Ldr, resist: Callable[[float], None]) -> None:
        self._model = model
        self._resist = resist
        self._shine(model.bright_lux)

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        lux = {"restore": self._model.bright_lux, "break": self._model.dark_lux}.get(word)
        if lux is None and word.endswith("lux"):
            lux = number_in(word.removesuffix("lux"))
        if lux is None or lux <= 0:
            raise refusal(value, self.accepts)
        return Change.at_once(lambda: self._shine(lux))

    def _shine(self, lux: float) -> None:
        self._resist(resistance_ohm(self._model, lux))


def resistance_ohm(model: Ldr, lux: float) -> float:
    """What light makes of the resistance: R = R10 (E / 10 lx)^-gamma, as data sheets of such resistors define gamma."""
    return float(model.r10_ohm * (lux / 10) ** -model.gamma)


def divided(model: Ldr, input_: Voltage) -> Photoresistor:
    """The resistor from 3.3 V to the channel, another one from there to ground: the more light, the more volts."""

    def resist(ohm: float) -> None:
        input_.volts = REFERENCE_V * model.divider_ohm / (model.divider_ohm + ohm)

    return Photoresistor(model, resist)


def charging(model: Ldr, pin: ChargingPin) -> Photoresistor:
    """The resistor from 3.3 V to the pin, a capacitor from there to ground: t = -RC ln(1 - Vhigh / Vdd)."""

    def resist(ohm: float) -> None:
        pin.charge_s = -ohm * model.capacitor_uf * 1e-6 * math.log(1 - model.high_v / REFERENCE_V)

    return Photoresistor(model, resist)
