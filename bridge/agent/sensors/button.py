"""A push button or any other contact between a pin and ground (or 3.3 V)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bridge.agent.pins import Pull
from bridge.agent.sensors.edges import open_edges
from bridge.agent.sensors.interpreters import Levels
from bridge.agent.sensors.plan import Edges, Plan
from bridge.agent.sensors.settings import InputPin
from bridge.config import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Button(InputPin):
    """`kind: button`. By default it connects the pin to ground, and the pin's own resistor pulls it up."""

    KIND: ClassVar[str] = "button"
    STUCK_S: ClassVar[float] = 600.0

    pull: Pull = "up"
    active_low: bool = True
    debounce_s: Annotated[float, Seconds(0, 60)] = 0.03

    def plan(self) -> Plan:
        names = ("button.pressed", "button.released")
        return Plan(
            Edges(
                lambda board, changed: open_edges(
                    board, changed, pin=self.pin, pull=self.pull, active_low=self.active_low
                )
            ),
            Levels(names, self.debounce()),
            None,
            names,
        )
