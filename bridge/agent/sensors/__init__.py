"""The kinds of sensors, one file each: what a file says of a sensor, and the plan that comes of it."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from bridge.agent.sensors.analog import Analog
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.distance import Distance
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.thermometer import Thermometer
from bridge.config import Choice

SensorSettings: TypeAlias = Annotated[
    Pir | LaserTripwire | Thermometer | Button | Digital | Analog | Distance, Choice("kind")
]
