"""A virtual MCP3008: the answers of the chip to the words on its SPI bus.

Source: Microchip DS21295, section 4.2 (the output code), section 5 (serial communication) and figure 6-1 (three bytes a
conversion).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from bridge.errors import SensorError

CHANNELS = 8
BITS = 10
STEPS = 1 << BITS

Ratio = Callable[[], float]
"""What stands on a channel now, as a part of the reference voltage: 0.0 to 1.0."""


def quiet() -> int:
    """The noise of an input that has none."""
    return 0


def noise(name: str, steps: int) -> Callable[[], int]:
    """Noise of at most so many steps up or down, as even as a die; the same in every run for the same name."""
    chance = Random(f"noise of {name}")  # noqa: S311 - noise that is the same in every run
    return lambda: chance.randint(-steps, steps)


class Mcp3008:
    """Eight analog inputs; an input that nothing is wired to reads as ground."""

    def __init__(self) -> None:
        self._inputs: dict[int, tuple[Ratio, Callable[[], int]]] = {}

    def wire(self, channel: int, ratio: Ratio, noise: Callable[[], int] = quiet) -> None:
        """Put something on a channel; `ratio` and `noise` (steps) are called from the thread that converts."""
        if not 0 <= channel < CHANNELS:
            raise SensorError(f"an MCP3008 has the channels 0 to {CHANNELS - 1}, not {channel}")
        self._inputs[channel] = ratio, noise

    def raw(self, channel: int) -> int:
        """One single-ended conversion: the whole steps below the voltage, 0 to 1023 (DS21295, equation 4-2)."""
        if channel not in self._inputs:
            return 0
        ratio, noise = self._inputs[channel]
        return min(STEPS - 1, max(0, math.floor(ratio() * STEPS) + noise()))

    def transfer(self, words: Sequence[int]) -> list[int]:
        """What the chip shifts out while the bytes `words` are shifted in.

        The start bit is the first 1; then single-ended or differential, then three bits of the channel. The result
        stands in the last ten bits, as long as the request was aligned for that, which all of gpiozero's are.
        """
        asked = int.from_bytes(bytes(words), "big")
        start = asked.bit_length() - 1
        if start < BITS + 6:
            return [0] * len(words)
        single, channel = asked >> (start - 1) & 1, asked >> (start - 4) & 7
        # Differential pairs are neighbours: channel 0 is read against 1, 1 against 0 (DS21295, table 5-2).
        result = self.raw(channel) if single else max(0, self.raw(channel) - self.raw(channel ^ 1))
        return list(result.to_bytes(len(words), "big"))
