"""Which part stands at a sensor's pins on a virtual Pi, and what its data sheet leaves to whoever buys it.

Only virtual Pis look at it. An agent on real pins checks the section like any other and does nothing with it, so that
one file serves both. Without a model a virtual sensor is ideal: it notices at once, tells exact numbers, and has no
noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.analog import Analog
from bridge.agent.sensors.distance import Distance
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.thermometer import Thermometer
from bridge.config import Choice, Seconds, Within

Noise = Annotated[int, Within(0, 16)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HcSr501:
    """`model: hc-sr501`, a `pir` with its trimmers: pulses at random while it warms up, a hold, and a blind time."""

    KIND: ClassVar[str] = "hc-sr501"

    warm_up_s: Annotated[float, Seconds(0, 600)] = 60.0
    """After power-on, until it can be believed: meanwhile it puts out up to three pulses, of nothing."""
    hold_s: Annotated[float, Seconds(0.1, 600)] = 2.5
    """How long its output stays high after a movement; one of the two trimmers."""
    blind_s: Annotated[float, Seconds(0, 60)] = 2.5
    """How long it sees nothing after its output has fallen."""
    retrigger: bool = True
    """The jumper: at H (true) further movement makes the pulse longer, at L (false) each pulse lasts `hold`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mcp3008:
    """`model: mcp3008`, for everything on a `channel`: a converter whose last bits are not quiet."""

    KIND: ClassVar[str] = "mcp3008"

    noise: Noise = 1
    """A conversion is so many steps of the converter too high or too low, at most; the same in every run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ldr:
    """`model: ldr`, for a `laser-tripwire` with `wiring: mcp3008` or `rc`: a light-dependent resistor in the light.

    It is told `break`, `restore`, or a number of `lux`. Its resistance is `r10_ohm` times (lux / 10) to the power of
    minus `gamma`.
    """

    KIND: ClassVar[str] = "ldr"

    r10_ohm: Annotated[float, Within(1, 1e9)] = 10_000.0
    """Its resistance at 10 lux, in ohm."""
    gamma: Annotated[float, Within(0.1, 2)] = 0.7
    """How much its resistance falls with the light."""
    bright_lux: Annotated[float, Within(0.001, 200_000)] = 1000.0
    """The light of the whole beam."""
    dark_lux: Annotated[float, Within(0.001, 200_000)] = 1.0
    """The light that is left when the beam is broken."""
    divider_ohm: Annotated[float, Within(1, 1e9)] = 10_000.0
    """With `wiring: mcp3008`: the other resistor of the divider, from the channel to ground, in ohm."""
    noise: Noise = 0
    """With `wiring: mcp3008`: as with `model: mcp3008`."""
    capacitor_uf: Annotated[float, Within(0.000_001, 10_000)] = 1.0
    """With `wiring: rc`: the capacitor, in microfarad."""
    high_v: Annotated[float, Within(0.1, 3.2)] = 2.0
    """With `wiring: rc`: the voltage that the pin takes for high."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if self.dark_lux >= self.bright_lux:
            yield "dark_lux", f"must be below bright_lux: {self.bright_lux:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HcSr04:
    """`model: hc-sr04`, a `distance`: sound as fast as the air is warm, and at most one ping in 60 ms."""

    KIND: ClassVar[str] = "hc-sr04"

    celsius: Annotated[float, Within(-40, 85)] = 20.0
    """The temperature of the air, in degrees Celsius."""
    no_echo: Literal["pulse", "nothing"] = "pulse"
    """What it puts out when nothing is in reach: a `pulse` of 38 ms, or, as some of its copies, `nothing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ds18b20:
    """`model: ds18b20`, a `thermometer` that takes its time: a reading lasts as long as its conversion."""

    KIND: ClassVar[str] = "ds18b20"

    resolution: Annotated[int, Within(9, 12)] = 12
    """In bits: 12 take 750 ms and tell sixteenths of a degree, 9 take 95 ms and tell halves."""


ModelSettings: TypeAlias = Annotated[HcSr501 | Mcp3008 | Ldr | HcSr04 | Ds18b20, Choice("model")]


def misfit(model: ModelSettings, sensor: SensorSettings) -> str | None:
    """Why this part cannot be this sensor, or None when it can."""
    match model, sensor:
        case (
            (HcSr501(), Pir())
            | (Mcp3008(), Analog() | Thermometer(sensor="tmp36") | LaserTripwire(wiring="mcp3008"))
            | (Ldr(), LaserTripwire(wiring="mcp3008" | "rc"))
            | (HcSr04(), Distance())
            | (Ds18b20(), Thermometer(sensor="ds18b20"))
        ):
            return None
    return f"{model.KIND} is for {_FITS[model.KIND]}"


def misfits(models: Mapping[str, ModelSettings], sensors: Mapping[str, SensorSettings]) -> Iterator[tuple[str, str]]:
    """What the section `virtual` of an agent's file and its sensors do not agree on."""
    for name, model in models.items():
        if name not in sensors:
            yield f"virtual.{name}", f"there is no such sensor; there are {', '.join(sensors) or 'none'}"
        elif (wrong := misfit(model, sensors[name])) is not None:
            yield f"virtual.{name}.model", wrong


_FITS = {
    HcSr501.KIND: "kind: pir",
    Mcp3008.KIND: "kind: analog, and what else is on a channel of the converter",
    Ldr.KIND: "kind: laser-tripwire with wiring: mcp3008 or rc",
    HcSr04.KIND: "kind: distance",
    Ds18b20.KIND: "kind: thermometer with sensor: ds18b20",
}
