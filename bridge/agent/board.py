"""The board an agent runs on: real pins through one of gpiozero's drivers, or mock pins.

gpiozero's process-wide `Device.pin_factory` is never relied on: several virtual Pis live in one process, and a fallback
from one driver to another must not happen silently.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self

from bridge.agent.pins import Pin
from bridge.errors import SensorError

FactoryName = Literal["auto", "lgpio", "rpigpio", "pigpio", "native", "mock"]

_DRIVERS = {
    "lgpio": ("gpiozero.pins.lgpio", "LGPIOFactory", "install the package python3-lgpio (or pip install lgpio)"),
    "rpigpio": ("gpiozero.pins.rpigpio", "RPiGPIOFactory", "use pins: {factory: lgpio}; RPi.GPIO needs an old kernel"),
    "pigpio": ("gpiozero.pins.pigpio", "PiGPIOFactory", "install python3-pigpio and start the service pigpiod"),
    "native": ("gpiozero.pins.native", "NativeFactory", "use pins: {factory: lgpio}"),
}
_W1_ROOT = Path("/sys/bus/w1/devices")


class Board(Protocol):
    """What sensors and outputs open their devices on. Whoever made a board closes it, after the agent has stopped."""

    @property
    def pin_factory(self) -> Any:
        """The factory of gpiozero (which ships no types); passed explicitly to every device."""

    @property
    def description(self) -> str:
        """The board for people, such as `Raspberry Pi 5B rev 1.0`."""

    @property
    def w1_root(self) -> Path:
        """The folder in which the kernel shows 1-Wire devices."""

    def takes(self, seconds: float) -> float:
        """How long what takes `seconds` in the world takes on this board: a capacitor to drain, an echo to come."""

    def lasted(self, seconds: float) -> None:
        """A reading took so long in the world; where nobody has waited for it, that time is still to pass."""

    def read_text(self, file: Path) -> str:
        """What a file of the kernel says; blocks as long as the kernel does. Raises OSError."""

    def took_s(self) -> float:
        """How much longer the readings since the last call took in the board's world than they did here."""

    def close(self) -> None:
        """Let go of the pins."""


@dataclass(frozen=True, slots=True)
class PinsSettings:
    """Which driver moves the pins."""

    factory: FactoryName = "auto"
    revision: str | None = None
    """Of a mock board only: the revision code of the Pi it pretends to be, such as `d04170` (a Pi 5)."""
    one_wire: Pin = field(default=Pin(4))
    """The pin of the 1-Wire bus (`dtoverlay=w1-gpio,gpiopin=4`)."""
    w1_root: Path = _W1_ROOT

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if self.revision is None:
            return
        if self.factory != "mock":
            yield "revision", "is for factory: mock; a real board knows its own"
        try:
            int(self.revision, 16)
        except ValueError:
            yield "revision", f"must be a revision code in hexadecimal such as d04170, not {self.revision!r}"


class RealBoard:
    """This machine's own pins, or gpiozero's mock pins where the settings say `mock`.

    Opening raises SensorError that says which driver is missing and how to get it.
    """

    def __init__(self, settings: PinsSettings) -> None:
        self.w1_root = settings.w1_root
        self.pin_factory: Any = _factory(settings)
        with explained("reading the board's revision"):
            info = self.pin_factory.board_info
        self.description = f"Raspberry Pi {info.model} rev {info.pcb_revision} ({info.revision})"

    def takes(self, seconds: float) -> float:
        return seconds

    def lasted(self, seconds: float) -> None:
        """It has."""

    def read_text(self, file: Path) -> str:
        return read_text(file)

    def took_s(self) -> float:
        return 0.0

    def close(self) -> None:
        self.pin_factory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def read_text(file: Path) -> str:
    """What this machine's kernel says in a file."""
    return file.read_text(encoding="ascii", errors="replace")


def driver_name(factory: object) -> str:
    """The driver behind a factory, such as `lgpio` or `mock`."""
    for cls in type(factory).__mro__:
        if cls.__module__.startswith("gpiozero.pins."):
            return cls.__module__.rpartition(".")[2]
    return type(factory).__module__


@contextmanager
def explained(attempt: str) -> Iterator[None]:
    """Turn what gpiozero and its drivers raise into a SensorError that says what was attempted."""
    try:
        yield
    except SensorError:
        raise
    except Exception as error:
        if not _of_driver(error):
            raise
        raise SensorError(f"{attempt} failed: {_told(error)}{_advice(error)}") from error


def _factory(settings: PinsSettings) -> Any:
    if importlib.util.find_spec("gpiozero") is None:
        raise SensorError('gpiozero is not installed; install it with: pip install "gpio-bridge[agent]"')
    if settings.factory == "mock":
        from gpiozero.pins.mock import MockFactory, MockPWMPin  # noqa: PLC0415 - not on a real Pi

        return MockFactory(revision=settings.revision, pin_class=MockPWMPin)
    if settings.factory != "auto":
        return _open(settings.factory)
    reasons = []
    for name in _DRIVERS:
        try:
            return _open(name)
        except SensorError as error:
            reasons.append(str(error))
    advice = "on a machine that is no Raspberry Pi, write pins: {factory: mock}"
    raise SensorError("no driver for the pins could be opened; " + advice + "\n  " + "\n  ".join(reasons))


def _open(name: str) -> Any:
    module, cls, advice = _DRIVERS[name]
    try:
        factory = getattr(importlib.import_module(module), cls)
    except ImportError as error:
        raise SensorError(f"the pin driver {name} is not installed ({error}): {advice}") from error
    with explained(f"opening the pin driver {name}"):
        return factory()


def _of_driver(error: Exception) -> bool:
    """Whether a driver raised it: an operating system's error, gpiozero's, or lgpio's own (no common root)."""
    exceptions = sys.modules.get("gpiozero.exc")
    roots = () if exceptions is None else (exceptions.GPIOZeroError, exceptions.GPIOZeroWarning)
    return isinstance(error, (OSError, *roots)) or type(error).__module__ in ("lgpio", "_lgpio", "pigpio", "RPi")


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__


def _advice(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, PermissionError) or "permission" in text or "not permitted" in text:
        return "; add the user to the groups gpio, spi and i2c (sudo usermod -aG gpio,spi,i2c USER) and log in again"
    if "busy" in text:
        return "; another program holds the pin (gpioinfo tells which)"
    return ""
