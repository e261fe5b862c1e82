"""Pins as people write them, and the rule that nothing is used twice.

The 40-pin header has been the same since the Raspberry Pi 1 B+; the map is static, so that a file can be checked on any
machine, without gpiozero and without a Pi (source: the header J8 in gpiozero's `pins/data.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from bridge.config import Invalid, Node, Reader

Pull = Literal["none", "up", "down"]

HEADER: Final = {
    3: 2, 5: 3, 7: 4, 8: 14, 10: 15, 11: 17, 12: 18, 13: 27, 15: 22, 16: 23, 18: 24, 19: 10, 21: 9, 22: 25, 23: 11,
    24: 8, 26: 7, 27: 0, 28: 1, 29: 5, 31: 6, 32: 12, 33: 13, 35: 19, 36: 16, 37: 26, 38: 20, 40: 21,
}  # fmt: skip
"""Place on the header -> GPIO number (BCM)."""

HIGHEST: Final = 27
FIXED_PULL_UP: Final = frozenset([2, 3])
"""GPIO2 and GPIO3 have pull-up resistors on the board (they are the I2C bus)."""

SPI_PINS: Final = {10: "MOSI", 9: "MISO", 11: "SCLK", 8: "CE0", 7: "CE1"}
"""What the kernel takes for SPI bus 0, both select pins included (dtparam=spi=on)."""

_NAMED = re.compile(r"(GPIO|BCM|BOARD|J8:)?([0-9]{1,3})")


@dataclass(frozen=True, slots=True, order=True)
class Pin:
    """A GPIO by its BCM number; in files `17`, `GPIO17`, `BCM17`, `BOARD11` or `J8:11`."""

    bcm: int

    @property
    def name(self) -> str:
        """What gpiozero and messages call it."""
        return f"GPIO{self.bcm}"

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Pin | Invalid:
        """Read a pin; every mistake names the file's line."""
        value = node.value
        match = None
        if isinstance(value, (int, str)) and not isinstance(value, bool):
            match = _NAMED.fullmatch(str(value).upper())
        if match is None:
            shown = repr(value) if isinstance(value, str) else node.kind()
            return reader.problem(node, key, f"must be a pin such as 17, GPIO17 or BOARD11, not {shown}")
        system, number = match[1], int(match[2])
        if system in ("BOARD", "J8:"):
            if number not in HEADER:
                return reader.problem(node, key, f"place {number} of the header is no GPIO (power, ground or none)")
            return cls(HEADER[number])
        if number > HIGHEST:
            return reader.problem(node, key, f"there is no GPIO{number}; the header has GPIO0 to GPIO{HIGHEST}")
        return cls(number)


@dataclass(frozen=True, slots=True)
class Use:
    """Something on the board that a sensor or output takes; those that share it name the same `bus`."""

    key: str
    """The key in the sensor's or output's section that asks for it."""
    resource: str
    bus: str | None = None


def pull_problem(pin: Pin, pull: Pull) -> str | None:
    """Why this pull cannot be had on this pin, or None."""
    if pin.bcm in FIXED_PULL_UP and pull != "up":
        return f"{pin.name} has a pull-up resistor on the board: write pull: up, or use another pin"
    return None


def spi_uses(key: str) -> Iterator[Use]:
    """All pins that hardware SPI takes, shared by everything on the bus."""
    return (Use(key, f"GPIO{bcm}", "the SPI bus") for bcm in SPI_PINS)


def conflicts(uses: Iterable[tuple[str, Use]]) -> Iterator[tuple[str, str]]:
    """What is used twice: (key, message) of each later use. `uses` are pairs of a section's key and its use."""
    first: dict[str, tuple[str, Use]] = {}
    told: set[tuple[str, str]] = set()
    for section, use in uses:
        taken = first.setdefault(use.resource, (section, use))
        if taken == (section, use) or (use.bus is not None and use.bus == taken[1].bus):
            continue
        key = f"{section}.{use.key}"
        message = _conflict(use, *taken)
        if (key, message) not in told:
            told.add((key, message))
            yield key, message


def _conflict(use: Use, section: str, taken: Use) -> str:
    if taken.bus is not None:
        return f"{use.resource} belongs to {taken.bus}, which {section} uses"
    if use.bus is not None:
        return f"{use.bus} needs {use.resource}, which {section}.{taken.key} uses"
    return f"{use.resource} is already used by {section}.{taken.key}"
