"""A virtual MCP3008: the answers of the chip to the words on its SPI bus.

Source: Microchip DS21295, section 5 (serial communication) and figure 6-1 (three bytes a conversion).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.errors import SensorError

CHANNELS = 8
BITS = 10
STEPS = 1 << BITS
FULL_SCALE = 2 * STEPS - 1
"""gpiozero scales a raw value as `raw * 2 / FULL_SCALE`, so that 1023 reads as 1.0 less half a step."""

Ratio = Callable[[], float]
"""What stands on a channel now, as a part of the reference voltage: 0.0 to 1.0."""


class Mcp3008:
    """Eight analog inputs; an input that nothing is wired to reads as ground."""

    def __init__(self) -> None:
        self._inputs: dict[int, Ratio] = {}

    def wire(self, channel: int, ratio: Ratio) -> None:
        """Put something on a channel; `ratio` is called from the thread that converts."""
        if not 0 <= channel < CHANNELS:
            raise SensorError(f"an MCP3008 has the channels 0 to {CHANNELS - 1}, not {channel}")
        self._inputs[channel] = ratio

    def raw(self, channel: int) -> int:
        """One single-ended conversion: 0 to 1023."""
        ratio = self._inputs[channel]() if channel in self._inputs else 0.0
        return min(STEPS - 1, max(0, round(ratio * FULL_SCALE / 2)))

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
