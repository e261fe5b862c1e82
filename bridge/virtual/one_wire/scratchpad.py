"""What a DS18B20 measures and how it tells it: resolution, conversion time, scratchpad and checksum. Pure.

Source: the DS18B20's data sheet (tables "Thermometer resolution configuration" and "Memory map"); for the text, Linux,
drivers/w1/slaves/w1_therm.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONVERSION_S: Final = 0.75
"""How long a conversion takes at most at 12 bits; each bit less halves it."""
POWER_ON_C: Final = 85.0
"""What a DS18B20 reports when no conversion has been made since it got power."""
RESOLUTIONS: Final = range(9, 13)

_DRIVER_MS: Final = {9: 95, 10: 190, 11: 375, 12: 750}


@dataclass(frozen=True, slots=True)
class Scratchpad:
    """What stands in the sensor's memory: the last conversion, in sixteenths of a degree, and how it was made.

    Without a conversion since power-on byte 6, which is reserved, is 0x0C, and after one 0x10 less the sixteenths: by
    it the kernel tells the power-on value from 85 °C that were measured.
    """

    sixteenths: int
    resolution: int
    converted: bool = True

    @property
    def bytes_(self) -> list[int]:
        """The nine bytes of the memory map, the checksum last."""
        reserved = 0x10 - (self.sixteenths & 0x0F) if self.converted else 0x0C
        configuration = (self.resolution - 9) << 5 | 0x1F
        pad = [*(self.sixteenths & 0xFFFF).to_bytes(2, "little"), 0x4B, 0x46, configuration, 0xFF, reserved, 0x10]
        return [*pad, crc(pad)]

    @property
    def failed(self) -> bool:
        """Whether the kernel, asked to check, takes it for no conversion (`features`, bit 1)."""
        low, high, *_ = pad = self.bytes_
        return pad[6] == 0x0C and (low, high) in ((0x50, 0x05), (0xFF, 0x07))

    @property
    def thousandths(self) -> int:
        """The temperature as the kernel computes it, rounded towards zero."""
        return int(self.sixteenths * 1000 / 16)

    def told(self, *, good: bool) -> str:
        """The text of `w1_slave`: what was read with the verdict on its checksum, then the last good one, and t=.

        `crc=` is what the kernel computes of the first eight bytes, so a garbled ninth byte differs from it.
        """
        pad = self.bytes_
        received = pad if good else [*pad[:8], pad[8] ^ 0xFF]
        verdict = f"crc={crc(received[:8]):02x} {'YES' if good else 'NO'}"
        return f"{_hex(received)} : {verdict}\n{_hex(pad)} t={self.thousandths}\n"


def conversion_s(resolution: int) -> float:
    """How long the sensor needs."""
    return CONVERSION_S / (1 << (12 - resolution))


def driver_s(resolution: int) -> float:
    """How long the kernel waits for it, unless it is told otherwise."""
    return _DRIVER_MS[resolution] / 1000


def sixteenths(celsius: float, resolution: int) -> int:
    """The temperature as the sensor stores it; the bits beyond its resolution are zeros."""
    step = 1 << (12 - resolution)
    return round(celsius * 16 / step) * step


def crc(data: list[int]) -> int:
    """Dallas' checksum: x^8 + x^5 + x^4 + 1, least significant bit first (Maxim application note 27)."""
    found = 0
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x8C if found & 1 else 0)
    return found


def _hex(pad: list[int]) -> str:
    return " ".join(f"{byte:02x}" for byte in pad)
