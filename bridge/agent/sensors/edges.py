"""Digital inputs by kernel edges: opened through gpiozero, called back on the driver's thread.

The pin itself calls back, because gpiozero's classes come between: `MotionSensor` and `LineSensor` read at 10 Hz in a
background thread and miss pulses between two readings, and `DigitalInputDevice` sets two events for who waits for them,
which takes 21 Python calls of each edge.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.agent.board import Board, explained
from bridge.agent.pins import Pin, Pull
from bridge.agent.sensors.plan import EdgeDevice

_PULL_UP = {"none": None, "up": True, "down": False}


def open_edges(board: Board, changed: Callable[[bool], None], *, pin: Pin, pull: Pull, active_low: bool) -> EdgeDevice:
    """Open the pin; `changed` gets each new active state, and the caller reads the level again after the opening.

    Raises SensorError when the pin is held by another program or the driver refuses it.
    """
    return _EdgeInput(board.pin_factory, changed, pin, pull, active_low=active_low)


class _EdgeInput:
    def __init__(
        self, pin_factory: Any, changed: Callable[[bool], None], pin: Pin, pull: Pull, *, active_low: bool
    ) -> None:
        from gpiozero import InputDevice  # noqa: PLC0415 - only where pins are

        self._tell = changed
        self._active_low = active_low
        with explained(f"opening {pin.name} as an input"):
            # gpiozero derives the active state from the pull, and takes another one only for floating inputs.
            self._device = InputDevice(
                pin.bcm,
                pull_up=_PULL_UP[pull],
                active_state=True if pull == "none" else None,
                pin_factory=pin_factory,
            )
            try:
                self._pin = self._device.pin
                self._pin.edges = "both"
                self._pin.when_changed = self._changed
            except BaseException:
                self._device.close()
                raise

    def level(self) -> bool:
        return bool(self._pin.state) is not self._active_low

    def close(self) -> None:
        self._device.close()

    def _changed(self, ticks: float, state: object) -> None:
        self._tell(bool(state) is not self._active_low)
