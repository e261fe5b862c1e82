"""What a kind of sensor is made of: where its readings come from, and what makes events of them.

A kind's settings build a `Plan`: a source (edges or polled) and an interpreter. The supervisor runs plans and knows no
kinds; the kinds know no loop, no clock and no MQTT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from bridge.agent.board import Board
from bridge.core.event import Value
from bridge.core.filters import Fault, WarmUp

T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)

Aspect: TypeAlias = Literal["level", "measure"]
"""A sensor says two things at most: a level (on, broken, high ...) and a measured number."""


@dataclass(slots=True)
class Finding:
    """What an interpreter says is so now, as an event's name, value and unit (UCUM)."""

    name: str
    value: Value
    unit: str | None = None
    aspect: Aspect = "level"
    tolerance: float = 0.0
    """Of a measure: how far from a known value is still the same."""

    def same_as(self, name: str, value: Value) -> bool:
        """Whether a level or number found at start is what was known before."""
        if self.aspect == "level":
            return self.name == name
        if isinstance(value, (bool, str)) or value is None or isinstance(self.value, (bool, str)) or self.value is None:
            return False
        return abs(self.value - value) <= self.tolerance


@dataclass(slots=True)
class Outlook:
    """The answer of an interpreter to one reading, or to the passing of time."""

    findings: tuple[Finding, ...] = ()
    wake_at: float | None = None
    faults: tuple[Fault, ...] = ()


class Interpreter(Protocol[T_contra]):
    """Makes findings of readings; pure, like the filters it is built from. `now` is monotonic seconds."""

    @property
    def warm_up(self) -> WarmUp[Any] | None:
        """The sensor's warm-up window, where it has one."""

    def read(self, value: T_contra, now: float) -> Outlook:
        """Take a reading."""

    def wake(self, now: float) -> Outlook:
        """Take the passing of time."""

    def known(self, name: str, value: Value) -> dict[Aspect, tuple[str, Value]]:
        """What the last event before the start tells of each aspect; an aspect it leaves open is not in the answer."""

    def reset(self) -> None:
        """Forget the history: after a fault nothing stale is compared with or repeated."""


class EdgeDevice(Protocol):
    """An opened input that calls back at every edge."""

    def level(self) -> bool:
        """The level now; quick, called on the loop."""

    def close(self) -> None:
        """Let go of the pin; no callback runs afterwards."""


class PolledDevice(Protocol[T_co]):
    """An opened input that is read now and then."""

    def read(self) -> T_co:
        """One reading. Blocks, so called on a worker thread. Raises SensorError or OSError when it fails."""

    def close(self) -> None:
        """Let go of the device."""


@dataclass(frozen=True, slots=True)
class Edges:
    """A source that the kernel wakes: `open(board, changed)`; `changed(level)` is called on the driver's thread."""

    open: Callable[[Board, Callable[[bool], None]], EdgeDevice]


@dataclass(frozen=True, slots=True)
class Polled:
    """A source that is read every `every_s` seconds, each reading given up after `timeout_s`.

    Readings with the same `queue` take turns on one thread, as the chips on one bus must; None: a thread of its own.
    """

    open: Callable[[Board], PolledDevice[float]]
    every_s: float
    timeout_s: float
    queue: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How one sensor works."""

    source: Edges | Polled
    interpreter: Interpreter[Any]
    unit: str | None
    events: tuple[str, ...]
    """The names of the events it can send, for the node's birth."""

    @property
    def measures(self) -> bool:
        """Whether it tells a number, and not only a level."""
        return any(name.endswith(".changed") for name in self.events)
