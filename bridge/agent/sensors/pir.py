"""Motion by a passive infrared sensor such as HC-SR501 or AM312.

An HC-SR501 puts out random levels for 30 to 60 s after power-on, is blind for about 2.5 s after each pulse, and holds
its output for 2.5 s to 5 min (trimmer, jumper); an AM312 holds and blocks for about 2 s (their datasheets). So: kernel
edges, a warm-up window, and a hold of our own, which makes one motion of many pulses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bridge.agent.sensors.edges import open_edges
from bridge.agent.sensors.interpreters import Levels
from bridge.agent.sensors.plan import Edges, Plan
from bridge.agent.sensors.settings import InputPin
from bridge.config import Seconds
from bridge.core.filters import Chain, Hold, WarmUp


@dataclass(frozen=True, slots=True, kw_only=True)
class Pir(InputPin):
    """`kind: pir`."""

    KIND: ClassVar[str] = "pir"
    STUCK_S: ClassVar[float] = 3600.0

    warm_up_s: Annotated[float, Seconds(0, 600)] = 60.0
    hold_s: Annotated[float, Seconds(0, 86400)] = 0.0
    """How long motion lasts after the level has ended; 0 takes the sensor's own pulse."""
    retrigger: bool = True
    """Whether new activity extends the hold."""

    def plan(self) -> Plan:
        debounce = self.debounce()
        settled = Chain(debounce, Hold(self.hold_s, self.retrigger)) if self.hold_s else debounce
        names = ("motion.detected", "motion.ended")
        return Plan(
            Edges(
                lambda board, changed: open_edges(
                    board, changed, pin=self.pin, pull=self.pull, active_low=self.active_low
                )
            ),
            Levels(names, settled, WarmUp(self.warm_up_s)),
            None,
            names,
        )
