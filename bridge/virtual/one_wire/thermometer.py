"""One thermometer's folder: `w1_slave`, `temperature` and what stands beside them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, Literal

from bridge.agent.models import Ds18b20 as Model
from bridge.virtual.one_wire.files import Pipe, Reading, replace_text, written
from bridge.virtual.one_wire.scratchpad import (
    CONVERSION_S,
    RESOLUTIONS,
    Scratchpad,
    conversion_s,
    driver_s,
    sixteenths,
)

Fault = Literal["crc", "missing", "slow"]

READ: Final = ("w1_slave", "temperature")
"""The files whose reading is a conversion."""

_CHECK, _POLL = 1, 2  # the bits of `features`
_MEASURE: Final = 1  # written into `conv_time`
_MARGIN: Final = 1.2  # of a measured conversion time


class Ds18b20:
    """Without a model it is ideal: what is so stands in the files at once, and nobody waits.

    With a model, a reading is a conversion, as from the kernel: it takes as long as `conv_time` says, and `resolution`,
    `features` and `conv_time` obey whoever writes into them. A value that the kernel refuses is put back. `moved` is
    called when it has come to the bus or gone.
    """

    def __init__(
        self,
        folder: Path,
        celsius: float,
        model: Model | None,
        *,
        now_s: Callable[[], float],
        threads: bool,
        moved: Callable[[], None],
    ) -> None:
        self.folder = folder
        self.celsius = celsius
        self.fault: Fault | None = None
        self.resolution = 12 if model is None else model.resolution
        self._model = model
        self._now_s = now_s
        self._threads = threads
        self._moved = moved
        self._features = 0
        self._conv_ms = 0  # 0: what the driver knows of the resolution
        self.powerless = False
        self._pad = self._unconverted()
        self._bulk_done_at: float | None = None
        self._pipes: list[Pipe] = []
        self._lock = threading.Lock()
        self.set(celsius)

    def set(self, celsius: float | None = None, fault: Fault | None = None, *, power_on: bool = False) -> None:
        """Make it so warm (None: as before) and give it this fault (None: all is well).

        `power_on` says that it has just got its power and too little of it: each conversion fails until the next
        temperature is set, and what stands there is the power-on value.
        """
        self.look()
        with self._lock:
            if celsius is not None:
                self.celsius, self.powerless = celsius, power_on
            if power_on:
                self.resolution = 12 if self._model is None else self._model.resolution
                self._pad = self._unconverted()
            self.fault = fault
            if self._model is None:
                self._convert()
        # Not under the lock: a pipe that ends waits for its thread, which may be asking for an answer.
        if fault == "missing":
            self.close()
            with self._lock:
                shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self._show()
        self._moved()

    @property
    def there(self) -> bool:
        """Whether it is on the bus."""
        return self.fault != "missing"

    @property
    def obeys(self) -> bool:
        """Whether it does what is written into its files."""
        return self._model is not None and self.there

    @property
    def waits(self) -> bool:
        """Whether it makes its readers wait."""
        return self._model is not None or self.fault == "slow"

    @property
    def waiting_s(self) -> float:
        """How long the kernel waits for a conversion (`conv_time`)."""
        return self._conv_ms / 1000 if self._conv_ms else driver_s(self.resolution)

    @property
    def bulk(self) -> int:
        """-1 while it is converted with all others, 1 when that is over and nobody has read it, else 0."""
        if self._bulk_done_at is None:
            return 0
        return -1 if self._now_s() < self._bulk_done_at else 1

    def convert_in_bulk(self, waits_s: float) -> None:
        """Begin a conversion together with all others."""
        with self._lock:
            if waits_s >= conversion_s(self.resolution):
                self._convert()
            self._bulk_done_at = self._now_s() + waits_s

    def answer(self, file: str) -> Reading:
        """What a reader of one of the files READ gets who asks now."""
        with self._lock:
            bulk = self.bulk
            if bulk < 0:
                return Reading("")  # it answers nothing before the conversion of all is over
            took_s = 0.0
            if bulk > 0:
                self._bulk_done_at = None
            elif self._model is not None:
                needed_s = conversion_s(self.resolution)
                took_s = needed_s if self._features & _POLL else self.waiting_s
                if took_s >= needed_s:
                    self._convert()
            if self.fault == "slow":
                took_s += CONVERSION_S
            return Reading(self._text(file), took_s)

    def look(self) -> None:
        """Obey what was written into its files."""
        if not self.obeys:
            return
        takes = {
            "resolution": self._take_resolution,
            "features": self._take_features,
            "conv_time": self._take_conv_time,
        }
        with self._lock:
            # All before any is obeyed: a resolution changes what should stand in `conv_time`.
            before = self._settings()
            found = {name: written(self.folder / name) for name in takes}
            for name, text in found.items():
                if text is not None and text != before[name]:
                    takes[name](int(text) if text.isdecimal() else -1)
            for name, text in self._settings().items():
                if found.get(name) is not None and found[name] != text:
                    replace_text(self.folder / name, f"{text}\n")

    def close(self) -> None:
        """Answer nobody any more."""
        while self._pipes:
            self._pipes.pop().close()

    def _take_resolution(self, bits: int) -> None:
        if bits in RESOLUTIONS:
            self.resolution, self._conv_ms = bits, 0

    def _take_features(self, bits: int) -> None:
        if 0 <= bits <= _CHECK | _POLL:
            self._features = bits

    def _take_conv_time(self, milliseconds: int) -> None:
        if milliseconds == _MEASURE:
            self._conv_ms = round(conversion_s(self.resolution) * _MARGIN * 1000)
        elif milliseconds >= 0:
            self._conv_ms = milliseconds

    def _settings(self) -> dict[str, str]:
        return {
            "name": self.folder.name,
            "resolution": str(self.resolution),
            "ext_power": "1",
            "features": str(self._features),
            "conv_time": str(round(self.waiting_s * 1000)),
        }

    def _show(self) -> None:
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in self._settings().items():
                replace_text(self.folder / name, f"{text}\n")
        piped = self.waits and self._threads
        if not piped:
            self.close()
        for name in READ:
            if not piped:
                replace_text(self.folder / name, self._text(name))
            elif len(self._pipes) < len(READ):
                self._pipes.append(Pipe(self.folder / name, partial(self._asked, name)))

    def _asked(self, file: str) -> Reading:
        self.look()
        return self.answer(file)

    def _convert(self) -> None:
        if not self.powerless:
            self._pad = Scratchpad(sixteenths(self.celsius, self.resolution), self.resolution)

    def _unconverted(self) -> Scratchpad:
        return Scratchpad(85 * 16, self.resolution, converted=False)

    def _text(self, file: str) -> str:
        if self._features & _CHECK and self._pad.failed:
            return ""
        good = self.fault != "crc"
        if file == "temperature":
            return f"{self._pad.thousandths}\n" if good else ""
        return self._pad.told(good=good)
