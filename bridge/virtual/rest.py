"""A sensor at rest: what a virtual Pi's device shows when the board is new, and the word that brings it back there."""

from __future__ import annotations

from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.analog import Analog
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.distance import Distance
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.thermometer import Thermometer


def rest_word(sensor: SensorSettings) -> str:
    """The word for the sensor's device."""
    match sensor:
        case Pir():
            return "still"
        case Digital():
            return "off"
        case Button():
            return "release"
        case LaserTripwire():
            return "restore"
        case Thermometer():
            return "45" if sensor.sensor == "cpu" else "21"
        case Analog():
            return f"{sensor.offset:g}"
        case Distance():
            return f"{min(100.0, sensor.reach):g}"
