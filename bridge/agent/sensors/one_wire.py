"""A DS18B20 on the kernel's 1-Wire bus, read through the files of the driver w1_therm.

Source: Linux, Documentation/w1/slaves/w1_therm.rst; the scratchpad's layout from the DS18B20's datasheet. Reading
`w1_slave` converts, and blocks for 750 ms at 12 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bridge.agent.board import read_text
from bridge.errors import SensorError

ADDRESS = re.compile(r"28-[0-9a-f]{12}")

_LINE = re.compile(r"((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)")
_TEMPERATURE = re.compile(r"t=(-?[0-9]{1,7})\s*$")
_POWER_ON_C = 85.0
_POWER_ON_NEIGHBOURS_C = 5.0
"""85.000 is believed when the reading before was as close as this: the water may really be that hot."""
_FAULT_C = 127.9
"""127.94 is the scratchpad of a sensor that has lost its power in between."""


def parse(text: str, device: str, last: float | None) -> float:
    """Degrees Celsius from the text of `w1_slave`. Raises SensorError for everything that is no measurement.

    On a bad checksum the kernel repeats the temperature before, which is refused here along with the power-on value.
    """
    line, temperature = _LINE.search(text), _TEMPERATURE.search(text)
    if line is None or temperature is None:
        raise SensorError(f"{device} gave no temperature; check the wiring and the 4.7 kOhm pull-up")
    if line[2] == "NO":
        raise SensorError(f"{device}: the checksum is wrong (CRC NO); check the cable and the pull-up")
    if not line[1].replace("0", "").strip():
        raise SensorError(f"{device} answers with zeros only; the data line is shorted to ground")
    celsius = int(temperature[1]) / 1000
    if celsius == _POWER_ON_C and (last is None or abs(last - celsius) > _POWER_ON_NEIGHBOURS_C):
        raise SensorError(f"{device}: 85.000 is its power-on value, not a temperature; check its supply")
    if celsius >= _FAULT_C:
        raise SensorError(f"{device}: {celsius:.2f} is a fault value, not a temperature; check its supply")
    return celsius


class Ds18b20:
    """One thermometer; `read` blocks for about a second, so it belongs on a thread of its own.

    `read_text` is how the board reads a file.
    """

    def __init__(self, root: Path, device: str, read_text: Callable[[Path], str] = read_text) -> None:
        self._read_text = read_text
        self._folder = root / device
        self._device = device
        self._last: float | None = None

    def read(self) -> float:
        """Degrees Celsius. A wrong checksum is tried once more, since a long cable garbles one reading now and then."""
        text = self._text()
        if " NO" in text:
            text = self._text()
        self._last = parse(text, self._device, self._last)
        return self._last

    def close(self) -> None:
        """There is nothing to let go of: files are opened for each reading."""

    def _text(self) -> str:
        try:
            return self._read_text(self._folder / "w1_slave")
        except FileNotFoundError:
            raise SensorError(f"{self._device} is not on the 1-Wire bus; {_found(self._folder.parent)}") from None
        except OSError as error:
            raise SensorError(f"reading {self._device} failed: {error.strerror or error}") from error


def _found(root: Path) -> str:
    if not root.is_dir():
        return f"there is no {root}: switch it on with dtoverlay=w1-gpio in config.txt and restart the Pi"
    others = sorted(folder.name for folder in root.glob("28-*"))
    return f"found there: {', '.join(others)}" if others else "no thermometer (28-...) is there; check the wiring"
