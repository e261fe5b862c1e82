"""One sensor of a virtual Pi, and the verbs that make something happen in front of it.

A verb moves the mock pins and chips of the virtual board; the agent sees what a real one would see. It returns when the
sensor has had the time to notice: for a switch that is its debounce, for what is read now and then its next reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from bridge.agent.models import Ds18b20, HcSr501, Ldr, ModelSettings
from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.laser_tripwire import DISCHARGE_S, LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.settings import InputPin, Measured
from bridge.agent.sensors.thermometer import Thermometer
from bridge.core.event import Event
from bridge.testing.virtual_time import Span, span_s
from bridge.virtual.board import VirtualBoard
from bridge.virtual.devices import Level
from bridge.virtual.noise import deviations
from bridge.virtual.one_wire import CONVERSION_S

STEPS = 100
"""A ramp is driven in at most so many steps."""
BOUNCES_S = 0.005
"""How long a contact bounces that is not told."""


class Sensor:
    """A named input of a node, with the verbs of its kind; another kind's verb raises TypeError that names its own."""

    def __init__(
        self,
        name: str,
        settings: SensorSettings,
        model: ModelSettings | None,
        *,
        board: Callable[[], VirtualBoard],
        pass_: Callable[[float], None],
        events: Callable[[], list[Event]],
    ) -> None:
        self.name = name
        self.kind: str = settings.KIND
        self._settings = settings
        self._model = model
        self._wavered = 0
        self._board = board
        self._pass = pass_
        self._events = events

    @property
    def events(self) -> list[Event]:
        """Its events that the broker has got since the test began."""
        return [event for event in self._events() if event.sensor == self.name]

    @property
    def last_event(self) -> Event | None:
        """The newest of them."""
        return events[-1] if (events := self.events) else None

    def drive(self, value: str) -> Self:
        """Tell the device one of the words that `accepts` lists: also its faults, such as `crc` or `unplugged`.

        A `click` and bounces take real time, and no virtual time: for bounces there is `bounce()`. Raises
        bridge.virtual.devices.NotAccepted.
        """
        self._board().drive_now(self.name, value)
        self._pass(notices_s(self._settings, self._model))
        return self

    @property
    def accepts(self) -> tuple[str, ...]:
        """What `drive` takes, as a person reads it."""
        return self._board().accepts(self.name)

    def stuck(self) -> Self:
        """It keeps the level or the number that it has, whatever is done to it, also over a restart of the agent."""
        return self.drive("stuck")

    def unstuck(self) -> Self:
        """It is stuck no more, and sees what was done to it last meanwhile."""
        return self.drive("unstuck")

    # pir

    def motion(self, *, for_: Span | None = None) -> Self:
        """Somebody moves; with `for_`, so long, and is still afterwards."""
        return self._level("motion", ("pir",), "motion", "still", for_)

    def still(self) -> Self:
        """Nobody moves any more."""
        return self._level("still", ("pir",), "still")

    def power_on(self) -> Self:
        """It gets its power anew: an HC-SR501 warms up, and a DS18B20 tells 85 °C until the next number.

        Only these two parts do anything about it, the PIR with `model: hc-sr501`.
        """
        if "power_on" not in VERBS[self.kind]:
            raise self._no("power_on")
        one_wire = isinstance(self._settings, Thermometer) and self._settings.sensor == "ds18b20"
        if not one_wire and not isinstance(self._model, HcSr501):
            raise TypeError(f"{self.name} has no power_on(): only a ds18b20, or a pir with `model: hc-sr501`, has")
        return self.drive("power-on")

    # laser-tripwire

    def break_beam(self, *, for_: Span | None = None) -> Self:
        """Something stands in the beam; with `for_`, so long."""
        return self._level("break_beam", ("laser-tripwire",), "break", "restore", for_)

    def restore(self) -> Self:
        """The beam is whole again."""
        return self._level("restore", ("laser-tripwire",), "restore")

    def lux(self, light: float) -> Self:
        """So much light falls on the resistor: of a tripwire with `model: ldr`."""
        if "lux" not in VERBS[self.kind]:
            raise self._no("lux")
        if not isinstance(self._model, Ldr):
            raise TypeError(f"{self.name} has no lux(): only a laser-tripwire with `model: ldr` has")
        return self.drive(f"{light:.9g} lux")

    # button

    def press(self, *, for_: Span | None = None) -> Self:
        """A finger goes down; with `for_`, so long."""
        return self._level("press", ("button",), "press", "release", for_)

    def release(self) -> Self:
        """The finger goes up."""
        return self._level("release", ("button",), "release")

    # digital

    def on(self, *, for_: Span | None = None) -> Self:
        """The contact is active; with `for_`, so long."""
        return self._level("on", ("digital",), "on", "off", for_)

    def off(self) -> Self:
        """The contact is at rest."""
        return self._level("off", ("digital",), "off")

    # every switch

    def bounce(self, *, for_: Span = BOUNCES_S, active: bool = False) -> Self:
        """The contact bounces for so long, and is at rest afterwards; or, with `active=True`, active.

        The edges are uneven, and the same in every run: they are chosen by the sensor's name and by how often its level
        has changed before.
        """
        if "bounce" not in VERBS[self.kind]:
            raise self._no("bounce")
        device = self._board().devices[self.name]
        if not isinstance(device, Level):
            raise TypeError(f"{self.name} has no contact that bounces: it is read as a number, or its model has none")
        over_s = span_s(for_)
        if over_s <= 0:
            raise ValueError(f"a contact bounces for some time, not for {for_!r}")
        passed_s = 0.0
        for edge in device.contact.bounces(over_s, active=active):
            self._pass(edge.after_s - passed_s)
            passed_s = edge.after_s
            self._board().drive_now(self.name, "on" if edge.active else "off")
        self._pass(notices_s(self._settings, self._model))
        return self

    # thermometer, distance, analog

    def temperature(self, celsius: float) -> Self:
        """It is so warm."""
        return self._number("temperature", "thermometer", celsius)

    def distance(self, centimetres: float) -> Self:
        """The next thing is so far away."""
        return self._number("distance", "distance", centimetres)

    def value(self, number: float) -> Self:
        """The input tells this, in the sensor's own unit."""
        return self._number("value", "analog", number)

    def ramp(self, start: float, end: float, *, over: Span) -> Self:
        """The number goes from `start` to `end` in that time, in even steps, one for each reading at most."""
        kinds = {"thermometer": "temperature", "distance": "distance", "analog": "value"}
        if self.kind not in kinds:
            raise self._no("ramp")
        assert isinstance(self._settings, Measured)
        over_s = span_s(over)
        steps = max(1, min(STEPS, int(over_s / self._settings.every_s)))
        for step in range(steps + 1):
            self._board().drive_now(self.name, f"{start + (end - start) * step / steps:.6g}")
            self._pass(over_s / steps if step < steps else notices_s(self._settings, self._model))
        return self

    def noise(self, amplitude: float, *, for_: Span) -> Self:
        """The number wavers for so long around the last one, by at most `amplitude` up or down, once a reading at most.

        It is the same in every run: chosen by the sensor's name and by how often it has wavered before.
        """
        if "noise" not in VERBS[self.kind]:
            raise self._no("noise")
        assert isinstance(self._settings, Measured)
        over_s = span_s(for_)
        if over_s <= 0 or amplitude < 0:
            raise ValueError(f"noise is some amplitude for some time, not {amplitude!r} for {for_!r}")
        steps = max(1, min(STEPS, int(over_s / self._settings.every_s)))
        for off in deviations(self.name, self._wavered, amplitude, steps):
            self._board().drive_now(self.name, f"off by {off:.6g}")
            self._pass(over_s / steps)
        self._wavered += 1
        return self.drive("off by 0")

    def _level(
        self, verb: str, kinds: tuple[str, ...], word: str, after: str | None = None, for_: Span | None = None
    ) -> Self:
        if self.kind not in kinds:
            raise self._no(verb)
        if for_ is None or after is None:
            return self.drive(word)
        self._board().drive_now(self.name, word)
        self._pass(span_s(for_))
        return self.drive(after)

    def _number(self, verb: str, kind: str, number: float) -> Self:
        if self.kind != kind:
            raise self._no(verb)
        return self.drive(f"{number:.9g}")

    def _no(self, verb: str) -> TypeError:
        return TypeError(f"{self.name} is a {self.kind} and has no {verb}(); it has {', '.join(VERBS[self.kind])}")


VERBS: dict[str, tuple[str, ...]] = {
    "pir": ("motion", "still", "power_on", "bounce", "stuck", "unstuck", "drive"),
    "laser-tripwire": ("break_beam", "restore", "lux", "bounce", "stuck", "unstuck", "drive"),
    "button": ("press", "release", "bounce", "stuck", "unstuck", "drive"),
    "digital": ("on", "off", "bounce", "stuck", "unstuck", "drive"),
    "thermometer": ("temperature", "power_on", "ramp", "noise", "stuck", "unstuck", "drive"),
    "distance": ("distance", "ramp", "noise", "stuck", "unstuck", "drive"),
    "analog": ("value", "ramp", "noise", "stuck", "unstuck", "drive"),
}
"""The verbs of each kind."""

_MARGIN_S = 0.01


def notices_s(settings: SensorSettings, model: ModelSettings | None = None) -> float:
    """How long a sensor takes to believe a change: its debounce, or as many readings as its smoothing needs."""
    if isinstance(settings, Measured):
        # A reading that has begun tells what was so before, and the next one takes its time.
        conversion_s = CONVERSION_S if isinstance(model, Ds18b20) else 0.0
        readings = max(settings.median // 2 + 1, settings.average)
        return max(settings.every_s, conversion_s) * readings + conversion_s + _MARGIN_S
    assert isinstance(settings, InputPin | LaserTripwire | Pir | Button | Digital)
    polled_s = 0.0
    if isinstance(settings, LaserTripwire) and settings.wiring != "digital":
        reading_s = DISCHARGE_S + settings.charge_limit_s if settings.wiring == "rc" else 0.0
        polled_s = max(settings.every_s, reading_s) + reading_s
    return settings.debounce_s + polled_s + _MARGIN_S


def rest_s(settings: SensorSettings, model: ModelSettings | None = None) -> float:
    """How long a sensor takes after a start until it tells what is so."""
    warm_up_s = settings.warm_up_s if isinstance(settings, Pir) else 0.0
    if isinstance(settings, Pir) and isinstance(model, HcSr501):
        warm_up_s = max(warm_up_s, model.warm_up_s)
    return warm_up_s + settles_s(settings, model)


def settles_s(settings: SensorSettings, model: ModelSettings | None = None) -> float:
    """How long a sensor takes until it tells that it is at rest again."""
    held_s = settings.hold_s if isinstance(settings, Pir) else 0.0
    delayed_s = settings.delayed_off_s if isinstance(settings, Digital) else 0.0
    return held_s + delayed_s + notices_s(settings, model)
