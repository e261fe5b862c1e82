"""The names of our sensors' events: all that there are, and what each of them says by itself.

What may not live here: which names end each other (judgement.py), and when a sensor says which (the agent's filters).
"""

from __future__ import annotations

from typing import Final

from bridge.core.judgement import FAULT, OPPOSITES

EVENTS: Final = (*OPPOSITES, "temperature.changed", "distance.changed", "analog.changed", FAULT, "sensor.recovered")
"""Every event that a sensor can send (DESIGN.md, "Public contract")."""

_KINDS: Final = {
    "motion": "pir",
    "beam": "laser-tripwire",
    "temperature": "thermometer",
    "distance": "distance",
    "button": "button",
    "analog": "analog",
}
_UNITS: Final = {"temperature": "Cel", "distance": "cm"}
_LEVELS: Final = {
    "motion.detected": True,
    "motion.ended": False,
    "beam.broken": True,
    "beam.restored": False,
    "button.pressed": True,
    "button.released": False,
    "digital.on": True,
    "digital.off": False,
}


def kind_of(name: str) -> str:
    """The kind of sensor that sends events of this name; `digital` where any may."""
    return _KINDS.get(name.partition(".")[0], "digital")


def unit_of(name: str) -> str | None:
    """The unit of the value in an event of this name, where it always has the same one."""
    return _UNITS.get(name.partition(".")[0])


def level_of(name: str) -> bool | None:
    """The value of an event whose name tells it; None where the value is a number."""
    return _LEVELS.get(name)
