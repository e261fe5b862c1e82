"""Digital inputs by kernel edges: opened through gpiozero, called back on the driver's thread.

gpiozero's `DigitalInputDevice` is the one input class that does not poll (its `MotionSensor` and `LineSensor` read at
10 Hz in a background thread, and miss pulses between two readings).
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
        from gpiozero import DigitalInputDevice  # noqa: PLC0415 - only where pins are

        # gpiozero derives the active state from the pull, and takes another one only for floating inputs.
        self._inverted = {"none": False, "up": not active_low, "down": active_low}[pull]
        with explained(f"opening {pin.name} as an input"):
            self._device = DigitalInputDevice(
                pin.bcm,
                pull_up=_PULL_UP[pull],
                active_state=not active_low if pull == "none" else None,
                pin_factory=pin_factory,
            )
            on, off = not self._inverted, self._inverted
            self._device.when_activated = lambda: changed(on)
            self._device.when_deactivated = lambda: changed(off)

    def level(self) -> bool:
        return bool(self._device.is_active) is not self._inverted

    def close(self) -> None:
        self._device.close()
