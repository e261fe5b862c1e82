"""Any voltage on an MCP3008: a potentiometer, a soil probe, a light-dependent resistor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from bridge.agent.pins import Pin, Use
from bridge.agent.sensors.adc import QUEUE, AdcChannel, Channel, ChipSelect, adc_uses
from bridge.agent.sensors.interpreters import Numbers
from bridge.agent.sensors.plan import Plan, Polled
from bridge.agent.sensors.settings import Measured
from bridge.config import Seconds, Within

NAMES = ("analog.changed",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Analog(Measured):
    """`kind: analog`. The value is the part of the reference voltage, 0.0 to 1.0, times `factor`, plus `offset`.

    `factor: 3.3` with `unit: V` gives volts; without either the value has no unit.
    """

    KIND: ClassVar[str] = "analog"

    channel: Channel
    chip_select: ChipSelect = 0
    unit: str | None = None
    """What the value is measured in, by its UCUM code (`V`, `%`, `Cel`, `cm`)."""
    every_s: Annotated[float, Seconds(0.01, 86400)] = 1.0
    delta: Annotated[float, Within(0)] = 0.01
    precision: Annotated[int, Within(0, 9)] = 3

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        return adc_uses(self.channel, self.chip_select)

    def plan(self) -> Plan:
        ends = sorted((self.offset, self.offset + self.factor))
        return Plan(
            Polled(
                lambda board: AdcChannel(board, self.channel, self.chip_select), self.every_s, self.timeout_s, QUEUE
            ),
            # Half a step of room, lest rounding refuse the last value of the scale.
            Numbers(NAMES[0], self.unit, self.clean(ends[0] - 0.001, ends[1] + 0.001), self.report()),
            self.unit,
            NAMES,
        )
