"""A virtual 1-Wire bus: the folder tree that the kernel's w1 driver shows, with thermometers that can misbehave.

Source: Linux, Documentation/w1/slaves/w1_therm.rst, and the layout of the DS18B20's scratchpad (its datasheet, table
"Memory map"). What a file cannot do is told where it differs: where the kernel's `temperature` answers EIO, the one
here is empty.
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Literal

CONVERSION_S = 0.75
"""How long a real DS18B20 takes for 12 bits: a slow one makes its reader wait that long."""

_LOOK_S = 0.01
"""How often a slow thermometer looks for a reader."""

Fault = Literal["crc", "missing", "slow"]

POWER_ON_C = 85.0
"""What a DS18B20 reports when no conversion has been made since it got power."""


class OneWireBus:
    """The tree under one folder (the kernel's is `/sys/bus/w1/devices`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "w1_bus_master1").mkdir(parents=True, exist_ok=True)
        (root / "w1_bus_master1" / "therm_bulk_read").write_text("0\n", encoding="ascii")
        self._thermometers: dict[str, Ds18b20] = {}

    def thermometer(self, address: str, celsius: float = 21.0) -> Ds18b20:
        """The thermometer of this address (`28-...`); put on the bus when it is first asked for."""
        if address not in self._thermometers:
            self._thermometers[address] = Ds18b20(self.root / address, celsius)
        return self._thermometers[address]

    def close(self) -> None:
        """Let go of readers that still wait for a slow thermometer."""
        for thermometer in self._thermometers.values():
            thermometer.close()


class Ds18b20:
    """One thermometer's folder: `w1_slave`, `temperature` and what stands beside them."""

    def __init__(self, folder: Path, celsius: float) -> None:
        self.folder = folder
        self.celsius = celsius
        self.fault: Fault | None = None
        self._converted = True
        self._slow: list[_SlowFile] = []
        self._lock = threading.Lock()
        self.set(celsius)

    def set(self, celsius: float | None = None, fault: Fault | None = None, *, power_on: bool = False) -> None:
        """Show this temperature (None: the one as before) and this fault (None: all is well).

        `power_on` says that no conversion has been made: `celsius` is then what stands there without one.
        """
        with self._lock:
            if celsius is not None:
                self.celsius = celsius
                self._converted = not power_on
            self.fault = fault
            self._close()
            if fault == "missing":
                for file in self.folder.glob("*"):
                    file.unlink()
                if self.folder.is_dir():
                    self.folder.rmdir()
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            for name, text in (
                ("name", self.folder.name),
                ("resolution", "12"),
                ("ext_power", "1"),
                ("features", "0"),
            ):
                replace_text(self.folder / name, f"{text}\n")
            raw = round(self.celsius * 16)
            told = str(int(raw * 1000 / 16))
            pad = _scratchpad(raw, converted=self._converted)
            texts = {
                "w1_slave": _w1_slave(pad, told, good=fault != "crc"),
                "temperature": "" if fault == "crc" else f"{told}\n",
            }
            for name, text in texts.items():
                if fault == "slow":
                    self._slow.append(_SlowFile(self.folder / name, text))
                else:
                    replace_text(self.folder / name, text)

    def close(self) -> None:
        """Answer nobody any more."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        while self._slow:
            self._slow.pop().close()


class _SlowFile:
    """A file that makes each reader wait as long as a conversion takes: a pipe, served by a thread."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._closed = threading.Event()
        self._fresh()
        self._thread = threading.Thread(target=self._serve, name=f"slow {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join(2 * CONVERSION_S)

    def _fresh(self) -> None:
        """A new pipe in the place of the last one: whoever still reads that one finds its end."""
        waiting = self._path.with_name(f".{self._path.name}.pipe")
        waiting.unlink(missing_ok=True)
        os.mkfifo(waiting)
        waiting.replace(self._path)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                # Without O_NONBLOCK a writer that nobody reads could not be told to stop (fifo(7)).
                writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._closed.wait(_LOOK_S)
                continue
            try:
                if self._closed.wait(CONVERSION_S):
                    return
                self._fresh()
                os.write(writer, self._text.encode("ascii"))
            except BrokenPipeError:
                continue  # the reader gave up, as readers with a time-out do
            finally:
                os.close(writer)


def _scratchpad(raw: int, *, converted: bool) -> list[int]:
    """The nine bytes of the memory map at 12 bits.

    Byte 6 is reserved. It is 0x0C at power-on and, once a conversion has been made, 0x10 less the sixteenths: by it the
    kernel tells the power-on value from a measured 85 °C (w1_therm.c, `W1_THERM_CHECK_RESULT`).
    """
    reserved = 0x10 - (raw & 0x0F) if converted else 0x0C
    pad = [*(raw & 0xFFFF).to_bytes(2, "little"), 0x4B, 0x46, 0x7F, 0xFF, reserved, 0x10]
    return [*pad, _crc(pad)]


def _w1_slave(pad: list[int], celsius_text: str, *, good: bool) -> str:
    """What was read with the verdict on its checksum, then the last good scratchpad and the temperature.

    `crc=` is what the kernel computes of the first eight bytes, so a garbled ninth byte differs from it; the bytes of
    the second line are those of the last reading that was good (w1_therm.c, `w1_slave_show`).
    """
    received = pad if good else [*pad[:8], pad[8] ^ 0xFF]
    return (
        f"{_bytes(received)} : crc={_crc(received[:8]):02x} {'YES' if good else 'NO'}\n{_bytes(pad)} t={celsius_text}\n"
    )


def _bytes(pad: list[int]) -> str:
    return " ".join(f"{byte:02x}" for byte in pad)


def _crc(data: list[int]) -> int:
    """Dallas' checksum: x^8 + x^5 + x^4 + 1, least significant bit first (Maxim application note 27)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc


def replace_text(path: Path, text: str) -> None:
    """Write so that a reader sees the old text or the new one, whole."""
    waiting = path.with_name(f".{path.name}.new")
    waiting.write_text(text, encoding="ascii")
    waiting.replace(path)
