"""The pins of one virtual Pi: gpiozero's mock pins, held by what is wired to them, and chips on its SPI bus.

Every virtual Pi has a factory of its own, and nothing here touches `Device.pin_factory`. gpiozero's own mock SPI is
not used: it takes the process-wide factory for its bus and shares the bus between factories, so that a second Pi in
the process would read the first one's chips (gpiozero 2.0.1, `SPISoftwareBus._shared_key`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

from gpiozero import PinFixedPull
from gpiozero.pins import SPI
from gpiozero.pins.mock import MockFactory, MockPWMPin

from bridge.errors import SensorError
from bridge.virtual.adc import Mcp3008

PI_5 = "d04170"
"""The revision code of a Raspberry Pi 5."""

SPEED_OF_SOUND_CM_S = 34326.0
"""In air of 20 degrees Celsius, as gpiozero's DistanceSensor has it."""

_REMEMBERED_STATES = 64
_BITS_PER_WORD = 8


class WiredPin(MockPWMPin):  # type: ignore[misc] # gpiozero ships no type information
    """A pin whose level may be held from outside: then a pull resistor does not move it, nor does closing a device.

    Remembers its last states only; a mock pin keeps all of them, which a program that runs for weeks cannot afford.
    """

    def __init__(self, factory: VirtualFactory, info: Any) -> None:
        self._held = False
        super().__init__(factory, info)
        self._last_change: float = factory.ticks()

    def _set_pull(self, value: str) -> None:
        if not self._held:
            super()._set_pull(value)
        elif self.info.pull and value != self.info.pull:
            raise PinFixedPull(f"{self!r} has a fixed pull resistor")
        else:
            self._pull = value

    def _set_frequency(self, value: float | None) -> None:
        # Closing a device sets no frequency, which in the mock also drives the pin low; an input has nothing to drive.
        if value is not None or self.function == "output":
            super()._set_frequency(value)

    def _change_state(self, value: float) -> bool:
        if not super()._change_state(value):
            return False
        # The mock takes its own time, and not its factory's (gpiozero 2.0.1, `MockPin._change_state`).
        self._last_change = self.factory.ticks()
        del self.states[:-_REMEMBERED_STATES]
        return True

    def hold(self, *, high: bool) -> None:
        """Drive the level from outside, from now on; callbacks run on this thread before it returns."""
        self._held = True
        if self.function != "input":
            return
        if high:
            self.drive_high()
        else:
            self.drive_low()


class EchoPin(WiredPin):
    """The echo of an HC-SR04: a pulse as long as sound needs to the obstacle and back.

    The pulse's edges carry computed times instead of slept ones, so that a distance reads exactly.
    """

    def __init__(self, factory: VirtualFactory, info: Any) -> None:
        super().__init__(factory, info)
        self.distance_cm: float | None = 100.0
        """How far the obstacle is; None: none that echoes."""
        self.plugged = True
        """Whether the sensor is there at all."""
        self.speed_cm_s = SPEED_OF_SOUND_CM_S
        self.silence_s: float | None = None
        """How long the pulse is when no echo comes back; None: there is no pulse then."""
        self.cycle_s = 0.0
        """A ping that comes sooner than this after the one before is not answered."""
        self.now_s: Callable[[], float] = lambda: 0.0
        self._pinged_s = -math.inf

    def pulse(self) -> None:
        """Answer one trigger, on the calling thread."""
        now_s = self.now_s()
        # A little less than the cycle: moments are sums of decimal fractions.
        early = now_s - self._pinged_s < self.cycle_s - 1e-6
        if not early:
            self._pinged_s = now_s
        took_s = self.silence_s if self.distance_cm is None else 2 * self.distance_cm / self.speed_cm_s
        if early or took_s is None or not self.plugged or self.function != "input":
            return
        self.drive_high()
        rose = self._last_change
        self._change_state(False)
        self._last_change = rose + took_s
        if self._when_changed is not None:
            self._call_when_changed()


class TriggerPin(WiredPin):
    """The trigger of an HC-SR04: its falling edge starts the measurement, on a thread of its own as in the world."""

    def __init__(self, factory: VirtualFactory, info: Any) -> None:
        super().__init__(factory, info)
        self.echo: EchoPin | None = None
        self.at_once = False
        """Whether the echo is back before the edge has ended, on the thread that made it."""

    def _set_state(self, value: float) -> None:
        falling = bool(self.state) and not value
        super()._set_state(value)
        if not falling or self.echo is None:
            return
        if self.at_once:
            self.echo.pulse()
        else:
            threading.Thread(target=self.echo.pulse, name="virtual-echo", daemon=True).start()


class ChargingPin(WiredPin):
    """A pin with a light-dependent resistor and a capacitor on it: discharged as an output, it charges as an input."""

    def __init__(self, factory: VirtualFactory, info: Any) -> None:
        super().__init__(factory, info)
        self.charge_s = 0.001
        """How long charging takes: short in the light, long in the dark."""
        self.at_once = False
        """Whether the level is there at once, with the time at which it would have come."""
        self._charging: threading.Timer | None = None

    def _set_function(self, value: str) -> None:
        if self._charging is not None:
            self._charging.cancel()
        super()._set_function(value)
        if value != "input":
            return
        since: float = self.factory.ticks()
        if self.at_once:
            self._charged(since)
        else:
            self._charging = threading.Timer(self.charge_s, self._charged, (since,))
            self._charging.daemon = True
            self._charging.start()

    def _charged(self, since: float) -> None:
        """The level is high, with the time at which it became so: a busy machine's timers come late."""
        if self.function == "input" and self._change_state(True):
            self._last_change = since + self.charge_s
            if self._when_changed is not None:
                self._call_when_changed()


class VirtualSpi(SPI):  # type: ignore[misc] # gpiozero ships no type information
    """One device's side of the SPI bus: words go to the chip, its answer comes back."""

    def __init__(self, chip: Mcp3008, factory: VirtualFactory) -> None:
        self._chip: Mcp3008 | None = chip
        super().__init__(pin_factory=factory)

    @property
    def closed(self) -> bool:
        return self._chip is None

    def close(self) -> None:
        self._chip = None
        super().close()

    def transfer(self, data: Sequence[int]) -> list[int]:
        self._check_open()
        assert self._chip is not None
        return self._chip.transfer(data)

    def _get_clock_mode(self) -> int:
        return 0

    def _set_clock_mode(self, value: int) -> None:
        if value:
            raise SensorError(f"a virtual SPI bus speaks clock mode 0, not {value}")

    def _get_bits_per_word(self) -> int:
        return _BITS_PER_WORD


class VirtualFactory(MockFactory):  # type: ignore[misc] # gpiozero ships no type information
    """A mock factory with chips on its SPI bus, told apart by their select pin; edges have the times of `now_s`."""

    def __init__(self, now_s: Callable[[], float], revision: str = PI_5) -> None:
        super().__init__(revision=revision, pin_class=WiredPin)
        self._now_s = now_s
        self._chips: dict[int, Mcp3008] = {}

    def ticks(self) -> float:
        """Seconds since some moment."""
        return self._now_s()

    def chip(self, select: int | str) -> Mcp3008:
        """The chip that is selected by this pin; put there when it is first asked for."""
        return self._chips.setdefault(int(self.board_info.to_gpio(select).removeprefix("GPIO")), Mcp3008())

    def spi(self, **spi_args: Any) -> VirtualSpi:
        """The bus to one chip. gpiozero's devices call this with `port` and `device`, or with four pins."""
        pins, _ = self._extract_spi_args(**spi_args)
        return VirtualSpi(self.chip(pins["select_pin"]), self)
