"""The keys that kinds share: delivery for all, pins and debouncing for levels, smoothing and reporting for numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from bridge.agent.pins import Pin, Pull, Use, pull_problem
from bridge.config import Seconds, Within
from bridge.core.filters import (
    Average,
    Calibrate,
    Chain,
    Debounce,
    DebounceMode,
    Filter,
    Median,
    Range,
    RateOfChange,
    Report,
    Round,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectSettings:
    """What is expected of a sensor, for the alerts `SensorSilent`, `SensorStuck` and `SensorFlapping`."""

    silent_s: Annotated[float, Seconds()] | None = None
    """No event for longer than this is worth an alert; 0 never is. By default twice `maximum_silence`, where that is
    given, and else never."""
    stuck_s: Annotated[float, Seconds()] | None = None
    """An active level, or a number that is the same to its last digit, for longer than this is worth an alert; 0 never
    is. By default 1 h for `pir` and `laser-tripwire`, 10 m for `button`, and else never."""
    flapping: Annotated[float, Within(0)] | None = None
    """More changes of level a minute than this, on average over some minutes, are worth an alert; 0 never are. By
    default 60."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold for one sensor, as its settings and its kind say; 0 is none."""

    silent_s: float
    stuck_s: float
    flapping: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every sensor can say about the delivery of its events, and what is expected of it."""

    STUCK_S: ClassVar[float] = 0.0
    FLAPPING: ClassVar[float] = 60.0
    """The kind's own limits, where the settings have none."""

    priority: Literal["normal", "alarm"] = "normal"
    """When the outbox is full, alarms are dropped last."""
    durability: Literal["process", "power"] | None = None
    """`power` commits each event to the disk itself, `process` survives a kill; by default power for alarms."""
    expect: ExpectSettings = field(default_factory=ExpectSettings)

    @property
    def committed_to(self) -> Literal["process", "power"]:
        """The durability that holds."""
        return self.durability or ("power" if self.priority == "alarm" else "process")

    @property
    def limits(self) -> Limits:
        """What is expected of it."""
        expect = self.expect
        return Limits(
            silent_s=self._silent_s if expect.silent_s is None else expect.silent_s,
            stuck_s=self.STUCK_S if expect.stuck_s is None else expect.stuck_s,
            flapping=self.FLAPPING if expect.flapping is None else expect.flapping,
        )

    @property
    def _silent_s(self) -> float:
        """For how long its kind is silent at most, 0 where nobody can tell."""
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPin(Common):
    """A digital input."""

    pin: Pin
    pull: Pull = "none"
    """`none` for outputs that drive both levels, as sensor modules do; never feed more than 3.3 V into a pin."""
    active_low: bool = False
    """Whether 0 V means active."""
    debounce_s: Annotated[float, Seconds(0, 60)] = 0.05
    debounce_mode: DebounceMode = "settle"
    """`settle` reports at once and ignores what follows; `stable` waits until the level has held."""

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        yield Use("pin", self.pin.name)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        wrong = pull_problem(self.pin, self.pull)
        if wrong is not None:
            yield "pull", wrong

    def debounce(self) -> Debounce:
        """The debounce filter; gpiozero's own is not used: mock pins ignore it, and it can swallow the last edge."""
        return Debounce(self.debounce_s, self.debounce_mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Common):
    """A number that is read now and then; limits and changes are in the sensor's unit."""

    every_s: Annotated[float, Seconds(0.01, 86400)] = 10.0
    timeout_s: Annotated[float, Seconds(0.01, 300)] = 5.0
    """A reading that takes longer is given up, and the sensor is at fault."""
    offset: float = 0.0
    factor: float = 1.0
    minimum: float | None = None
    maximum: float | None = None
    """Readings outside are refused; by default the limits of the device."""
    maximum_rate: Annotated[float, Within(0)] | None = None
    """The fastest believable change, in units per second."""
    median: Annotated[int, Within(1, 1000)] = 1
    average: Annotated[int, Within(1, 1000)] = 1
    precision: Annotated[int, Within(0, 9)] = 2
    """Digits after the point."""
    delta: Annotated[float, Within(0)] = 0.0
    """The least change that is an event."""
    minimum_interval_s: Annotated[float, Seconds()] = 0.0
    maximum_silence_s: Annotated[float, Seconds()] | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            yield "minimum", f"is above maximum: {self.maximum:g}"
        if self.maximum_rate == 0:
            yield "maximum_rate", "must be above 0; leave it out for no limit"
        if self.factor == 0:
            yield "factor", "must not be 0"
        if self.maximum_silence_s is not None and self.maximum_silence_s < max(self.minimum_interval_s, self.every_s):
            yield "maximum_silence", "must not be shorter than minimum_interval and every"

    @property
    def _silent_s(self) -> float:
        # One report that is late is no silence.
        return 2 * (self.maximum_silence_s or 0.0)

    def clean(self, minimum: float, maximum: float) -> Filter[float, float]:
        """Refuse what cannot be true, take the noise out, round; the limits of the device where none are given."""
        plausible: list[Filter[float, float]] = [
            Calibrate(self.offset, self.factor),
            Range(minimum if self.minimum is None else self.minimum, maximum if self.maximum is None else self.maximum),
        ]
        if self.maximum_rate is not None:
            plausible.append(RateOfChange(self.maximum_rate))
        if self.median > 1:
            plausible.append(Median(self.median))
        if self.average > 1:
            plausible.append(Average(self.average))
        return Chain(*plausible, Round(self.precision))

    def report(self) -> Report:
        """When a change is an event."""
        return Report(self.delta, self.minimum_interval_s, self.maximum_silence_s)
