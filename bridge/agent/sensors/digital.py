"""Any other digital input: a reed switch, a float switch, a relay's contact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from bridge.agent.sensors.edges import open_edges
from bridge.agent.sensors.interpreters import Levels
from bridge.agent.sensors.plan import Edges, Plan
from bridge.agent.sensors.settings import InputPin
from bridge.config import Seconds
from bridge.core.filters import Chain, DelayedOff, DelayedOn, Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Digital(InputPin):
    """`kind: digital`."""

    KIND: ClassVar[str] = "digital"

    delayed_on_s: Annotated[float, Seconds(0, 86400)] = 0.0
    """On passes once it has held for so long."""
    delayed_off_s: Annotated[float, Seconds(0, 86400)] = 0.0
    """Off passes once it has held for so long."""

    def plan(self) -> Plan:
        names = ("digital.on", "digital.off")
        settled: Filter[bool, bool] = self.debounce()
        # A delay of 0 passes every change as it is; an edge is not to wait for filters that do nothing.
        if self.delayed_on_s:
            settled = Chain(settled, DelayedOn(self.delayed_on_s))
        if self.delayed_off_s:
            settled = Chain(settled, DelayedOff(self.delayed_off_s))
        return Plan(
            Edges(
                lambda board, changed: open_edges(
                    board, changed, pin=self.pin, pull=self.pull, active_low=self.active_low
                )
            ),
            Levels(names, settled),
            None,
            names,
        )
