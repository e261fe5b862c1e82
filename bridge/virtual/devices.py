"""What is wired to the pins of a virtual Pi, and the words a person uses to make it do something.

A device says what it accepts and what would change, and changes its pins on the thread it is called from: never the
loop's, because real callbacks come from the driver's thread. A change has happened when it returns.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bridge.errors import BridgeError
from bridge.virtual.contact import Contact, read_bounces
from bridge.virtual.factory import ChargingPin, EchoPin, WiredPin
from bridge.virtual.one_wire import POWER_ON_C, Ds18b20, Fault, replace_text

REFERENCE_V = 3.3
CLICK_S = 0.15
"""How long a click holds a button down: longer than every sensible debounce, shorter than a hold."""
MOST_BOUNCES_S = 1.0
"""How long a contact bounces at most when it is told by a word: other pins wait meanwhile."""

STICKING = ("stuck", "unstuck")
"""The words that every sensor of a board takes, whatever its device: nothing changes any more, and it does again."""

_LIGHT_S, _DARK_S = 0.0005, 1.0
_ON, _OFF = ("on", "high", "true", "1"), ("off", "low", "false", "0")


class NotAccepted(BridgeError, ValueError):
    """A virtual device was asked for something it cannot do; the message says what it can."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a word means to a device, before it happens."""

    make: Callable[[], None]
    """Lets it happen with all its moves. Blocks for as long as it takes, at most some seconds."""
    end: Callable[[], None]
    """Brings about at once what is so afterwards."""

    @classmethod
    def at_once(cls, make: Callable[[], None]) -> Change:
        """A change that is one move."""
        return cls(make, make)


class Device(Protocol):
    """One thing on the pins of a virtual Pi."""

    @property
    def accepts(self) -> tuple[str, ...]:
        """What `understand` takes, as a person reads it; every sensor takes STICKING besides."""

    def understand(self, value: str) -> Change:
        """What the word would change; nothing has changed yet. Raises NotAccepted."""


class Level:
    """A digital level behind words: motion and still, break and restore, on and off. It bounces when it is told to."""

    def __init__(self, name: str, pin: WiredPin, words: Mapping[str, bool], *, active_high: bool) -> None:
        self.contact = Contact(name)
        self._pin = pin
        self._words = words
        self._active_high = active_high
        self._held = threading.Event()
        self.set(active=False)

    @property
    def accepts(self) -> tuple[str, ...]:
        return (*self._words, "bounce for TIME", *(f"{word} bouncing for TIME" for word in self._words))

    def set(self, *, active: bool) -> None:
        """Hold the pin at the level that means active, or at the other."""
        self.contact.move(active=active)
        self._pin.hold(high=active == self._active_high)

    def understand(self, value: str) -> Change:
        word = " ".join(value.lower().split())
        try:
            bounces = read_bounces(word)
        except ValueError as error:
            raise NotAccepted(f"does not know {value!r}: {error}") from None
        if bounces is None:
            active = self._active(word, value)
            return Change.at_once(lambda: self.set(active=active))
        end, over_s = bounces
        if over_s > MOST_BOUNCES_S:
            raise NotAccepted(f"bounces for at most {MOST_BOUNCES_S:g}s, not as {value!r} says")
        active = end is not None and self._active(end, value)
        return Change(lambda: self._bounce(over_s, active=active), lambda: self.set(active=active))

    def _bounce(self, over_s: float, *, active: bool) -> None:
        begun_s = time.monotonic()
        for edge in self.contact.bounces(over_s, active=active):
            self._held.wait(max(0.0, begun_s + edge.after_s - time.monotonic()))
            self.set(active=edge.active)

    def _active(self, word: str, value: str) -> bool:
        if word in self._words:
            return self._words[word]
        if word in _ON or word in _OFF:
            return word in _ON
        raise _refusal(value, self.accepts)


class PushButton(Level):
    """A push button, which can also be clicked."""

    def __init__(self, name: str, pin: WiredPin, *, active_high: bool) -> None:
        super().__init__(name, pin, {"press": True, "release": False}, active_high=active_high)

    @property
    def accepts(self) -> tuple[str, ...]:
        return (*super().accepts, "click")

    def understand(self, value: str) -> Change:
        if value.strip().lower() != "click":
            return super().understand(value)
        return Change(self._click, lambda: self.set(active=False))

    def _click(self) -> None:
        self.set(active=True)
        self._held.wait(CLICK_S)
        self.set(active=False)


class Quantity:
    """Something with a number: a voltage, a temperature by TMP36, the CPU's temperature."""

    def __init__(self, what: str, apply: Callable[[float], None], start: float, low: float, high: float) -> None:
        self._what = what
        self._apply = apply
        self._low, self._high = low, high
        apply(start)

    @property
    def accepts(self) -> tuple[str, ...]:
        return (f"{self._what} from {self._low:g} to {self._high:g}",)

    def understand(self, value: str) -> Change:
        number = _number(value)
        if number is None or not self._low <= number <= self._high:
            raise _refusal(value, self.accepts)
        return Change.at_once(lambda: self._apply(number))


class Voltage:
    """What stands on one input of the converter, in volts. Read by the thread that converts."""

    def __init__(self, volts: float = 0.0) -> None:
        self.volts = volts

    def ratio(self) -> float:
        """The part of the reference voltage."""
        return self.volts / REFERENCE_V


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
        number = _number(word)
        if word in self._ratios:
            number = self._ratios[word]
        if number is None or not 0 <= number <= 1:
            raise _refusal(value, self.accepts)
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
            raise _refusal(value, self.accepts)
        charge_s = _LIGHT_S if word == "restore" else _DARK_S
        return Change.at_once(lambda: self._charge(charge_s))

    def _charge(self, charge_s: float) -> None:
        self._pin.charge_s = charge_s


class Obstacle:
    """What an HC-SR04 looks at."""

    def __init__(self, pin: EchoPin, *, low: float = 2.0, high: float = 400.0) -> None:
        self._pin = pin
        self._low, self._high = low, high

    @property
    def accepts(self) -> tuple[str, ...]:
        return (f"cm from {self._low:g} to {self._high:g}", "unplugged")

    def understand(self, value: str) -> Change:
        number = _number(value)
        unplugged = value.strip().lower() == "unplugged"
        if not unplugged and (number is None or not self._low <= number <= self._high):
            raise _refusal(value, self.accepts)
        return Change.at_once(lambda: self._stand(None if unplugged else number))

    def _stand(self, distance_cm: float | None) -> None:
        self._pin.distance_cm = distance_cm


class OneWireThermometer:
    """A DS18B20 that can also fail in the ways the real one does."""

    accepts = ("°C from -55 to 125", "crc", "missing", "slow", "power-on")

    def __init__(self, thermometer: Ds18b20) -> None:
        self._thermometer = thermometer

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        number = _number(word)
        faults: dict[str, Fault] = {"crc": "crc", "missing": "missing", "slow": "slow"}
        if word in faults:
            return Change.at_once(lambda: self._thermometer.set(fault=faults[word]))
        if word == "power-on":
            return Change.at_once(lambda: self._thermometer.set(POWER_ON_C, power_on=True))
        if number is not None and -55 <= number <= 125:
            return Change.at_once(lambda: self._thermometer.set(number))
        raise _refusal(value, self.accepts)


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


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _refusal(value: str, accepts: tuple[str, ...]) -> NotAccepted:
    *words, last = *accepts, *STICKING
    return NotAccepted(f"does not know {value!r}; it accepts {', '.join(words)} or {last}")
