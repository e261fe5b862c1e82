"""One channel of an MCP3008, the usual analog-to-digital converter on a Pi (Microchip DS21295, section 5).

Spoken to over the factory's SPI bus. gpiozero's `MCP3008` is not used because a bus that is switched off would fall
back to bit-banging with a warning; here that is an error which says how to switch it on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Annotated, Any

from bridge.agent.board import Board, explained
from bridge.agent.pins import Use, spi_uses
from bridge.config import Within
from bridge.errors import SensorError

Channel = Annotated[int, Within(0, 7)]
ChipSelect = Annotated[int, Within(0, 1)]

QUEUE = "spi"
"""All chips on the bus take turns on one thread."""
REFERENCE_V = 3.3

_SINGLE_ENDED = 0b1000
_FULL_SCALE = 2 * 2**10 - 1


def adc_uses(channel: int, chip_select: int) -> Iterator[Use]:
    """What a channel takes of the board: the bus, which is shared, and the channel, which is not."""
    yield from spi_uses("channel")
    yield Use("channel", f"channel {channel} of the MCP3008 on CE{chip_select}")


class AdcChannel:
    """An opened channel; `read` gives the part of the reference voltage that stands on it, 0.0 to 1.0.

    Raises SensorError when the SPI bus cannot be opened.
    """

    def __init__(self, board: Board, channel: int, chip_select: int) -> None:
        from gpiozero.exc import SPISoftwareFallback  # noqa: PLC0415 - only where pins are

        self._what = f"channel {channel} of the MCP3008 on CE{chip_select}"
        self._request = [1, (_SINGLE_ENDED | channel) << 4, 0]
        with warnings.catch_warnings(), explained(f"opening SPI for {self._what}"):
            warnings.simplefilter("error", SPISoftwareFallback)
            try:
                self._spi: Any = board.pin_factory.spi(port=0, device=chip_select, shared=True)
            except SPISoftwareFallback as error:
                advice = "switch SPI on: sudo raspi-config nonint do_spi 0 (or dtparam=spi=on), then restart the Pi"
                raise SensorError(f"opening SPI for {self._what} failed: {error}; {advice}") from error

    def read(self) -> float:
        with explained(f"reading {self._what}"):
            answer = self._spi.transfer(self._request)
        raw = (answer[1] & 0b11) << 8 | answer[2]
        # Half a step up, as gpiozero has it, so that 1023 is 1.0 and its formulas hold.
        return float(2 * raw + 1) / _FULL_SCALE

    def close(self) -> None:
        self._spi.close()
