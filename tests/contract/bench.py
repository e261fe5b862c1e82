"""Two pins that are wired together: a real Pi's, with a wire between them, or a virtual board's.

What is wired to a real pin must stand a mistake: the wire is a resistor of 1 kOhm, which bears two outputs against each
other (3.3 mA).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

from gpiozero import OutputDevice
from gpiozero.pins.mock import MockFactory

from bridge.agent.board import Board, PinsSettings, RealBoard
from bridge.agent.pins import FIXED_PULL_UP, HIGHEST, Pin
from bridge.agent.settings import AgentSettings
from bridge.clock import RealClock, VirtualClock
from bridge.virtual.board import VirtualBoard
from bridge.virtual.contact import Edge
from bridge.virtual.factory import WiredPin

_SOON_S = 60.0
_QUIET_S = 0.02
"""After this long without an edge none is on its way any more, from the kernel to us."""


@dataclass(frozen=True, slots=True)
class Wire:
    """From which pin, and to which."""

    output: Pin
    input: Pin

    @classmethod
    def read(cls, text: str) -> Self:
        """`17:27`. Raises ArgumentTypeError with what is wrong."""
        ends = text.split(":")
        if len(ends) != 2 or not all(end.isdecimal() and int(end) <= HIGHEST for end in ends):
            raise argparse.ArgumentTypeError(
                f"{text!r} is no pair of pins; write OUTPUT:INPUT as GPIO numbers, 17:27, at most {HIGHEST}"
            )
        output, input_ = map(int, ends)
        if output == input_:
            raise argparse.ArgumentTypeError(f"{text!r} is one pin; a wire has two ends")
        if input_ in FIXED_PULL_UP:
            raise argparse.ArgumentTypeError(
                f"GPIO{input_} has a pull-up resistor on the board, and the contract tries all pulls; "
                "take another input"
            )
        return cls(Pin(output), Pin(input_))


class _End(WiredPin):
    """The wire's end at the input: driven by the other end, or by nobody."""

    def release(self) -> None:
        """Nobody drives it: its own resistor says."""
        self._held = False
        self._set_pull(self._get_pull())


class _Start(WiredPin):
    """The wire's end at the output: while it is one, it drives the other end."""

    end: _End | None = None

    def _set_function(self, value: str) -> None:
        super()._set_function(value)
        if self.end is None:
            return
        if value == "output":
            self.end.hold(high=bool(self._get_state()))
        else:
            self.end.release()

    def _change_state(self, value: float) -> bool:
        changed = super()._change_state(value)
        if self.end is not None and self.function == "output":
            self.end.hold(high=bool(value))
        return changed


class Bench:
    """A board with such a wire. `drive` makes the output high or low, `let_go` makes it nothing.

    A virtual wire is as quick as a call, so that a burst on it takes no time but that of `clock`: a machine that is
    busy meanwhile makes no other burst of it.
    """

    def __init__(self, board: Board, wire: Wire, clock: RealClock | VirtualClock) -> None:
        self.board = board
        self.wire = wire
        self.clock = clock
        self._driver: Any = None

    @classmethod
    def virtual(cls) -> Bench:
        """Two pins of a virtual board."""
        wire = Wire(Pin(17), Pin(27))
        board = VirtualBoard(AgentSettings(node="bench"))
        factory: MockFactory = board.pin_factory
        start = factory.pin(wire.output.bcm, pin_class=_Start)
        start.end = factory.pin(wire.input.bcm, pin_class=_End)
        return cls(board, wire, VirtualClock())

    @classmethod
    def real(cls, wire: Wire) -> Bench:
        """Two pins of this machine. Raises SensorError when it has none."""
        return cls(RealBoard(PinsSettings()), wire, RealClock())

    def drive(self, *, high: bool) -> None:
        """Put a level on the wire."""
        if self._driver is None:
            self._driver = OutputDevice(self.wire.output.bcm, initial_value=high, pin_factory=self.board.pin_factory)
        self._driver.value = high

    def play(self, edges: Iterable[Edge]) -> None:
        """Put a burst of levels on the wire, in their time."""
        begun_s = self.clock.monotonic()
        for edge in edges:
            at_s = begun_s + edge.after_s
            if isinstance(self.clock, VirtualClock):
                self.clock.move(at_s)
            else:
                time.sleep(max(0.0, at_s - self.clock.monotonic()))
            self.drive(high=edge.active)

    def let_go(self) -> None:
        """Drive nothing any more."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def close(self) -> None:
        """Leave the pins as inputs."""
        self.let_go()
        self.board.close()


class Seen:
    """What an input's callback was told: levels, and when."""

    def __init__(self, bench: Bench) -> None:
        self.edges: list[tuple[float, bool]] = []
        self._clock = bench.clock

    def __call__(self, level: bool) -> None:
        self.edges.append((self._clock.monotonic(), level))

    @property
    def levels(self) -> list[bool]:
        """The levels alone."""
        return [level for _, level in self.edges]

    def quiet(self) -> list[bool]:
        """The levels, once no more is on its way."""
        deadline = time.monotonic() + _SOON_S
        while time.monotonic() < deadline:
            before = len(self.edges)
            time.sleep(_QUIET_S)
            if len(self.edges) == before:
                return self.levels
        raise AssertionError(f"edges never end: {len(self.edges)} so far")


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + _SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.002)
