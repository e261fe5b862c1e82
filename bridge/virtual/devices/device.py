"""What every device on the pins of a virtual Pi has in common: the words it takes, and what they would change.

A device says what it accepts and what would change, and changes its pins on the thread it is called from: never the
loop's, because real callbacks come from the driver's thread. A change has happened when it returns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.errors import BridgeError

REFERENCE_V = 3.3

STICKING = ("stuck", "unstuck")
"""The words that every sensor of a board takes, whatever its device: nothing changes any more, and it does again."""


class NotAccepted(BridgeError, ValueError):
    """A virtual device was asked for something it cannot do; the message says what it can."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a word means to a device, before it happens."""

    make: Callable[[], None]
    """Lets it happen with all its moves. Blocks for as long as it takes, at most some seconds."""
    end: Callable[[], None]
    """Brings about at once what is so afterwards."""
    passing: bool = False
    """Whether it only wavers, and leaves nothing behind that a device which is stuck would have to catch up with."""

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


class Told:
    """The last number that a device was told, and what deviates from it for a moment: `off by 0.3`."""

    accepts = "off by NUMBER"

    def __init__(self, number: float, low: float, high: float) -> None:
        self.number = number
        self._low, self._high = low, high

    def understand(self, word: str, show: Callable[[float], None]) -> Change | None:
        """A number or a deviation, which `show` gets as the number that is then so; None when it is neither.

        A deviation ends where the device does: noise at its limits is cut off.
        """
        if word.startswith("off by "):
            off = number_in(word.removeprefix("off by "))
            if off is None:
                return None

            def waver() -> None:
                show(min(self._high, max(self._low, self.number + off)))

            return Change(waver, waver, passing=True)
        number = number_in(word)
        if number is None or not self._low <= number <= self._high:
            return None

        def tell() -> None:
            self.number = number
            show(number)

        return Change.at_once(tell)


class Voltage:
    """What stands on one input of the converter, in volts. Read by the thread that converts."""

    def __init__(self, volts: float = 0.0) -> None:
        self.volts = volts

    def ratio(self) -> float:
        """The part of the reference voltage."""
        return self.volts / REFERENCE_V


def number_in(text: str) -> float | None:
    """A finite number, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def refusal(value: str, accepts: tuple[str, ...]) -> NotAccepted:
    """The error for a word that a device does not take."""
    *words, last = *accepts, *STICKING
    return NotAccepted(f"does not know {value!r}; it accepts {', '.join(words)} or {last}")
