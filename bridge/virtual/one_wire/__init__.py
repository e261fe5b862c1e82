"""A virtual 1-Wire bus: the folder tree that the kernel's w1 driver shows, with thermometers that can misbehave.

Source: Linux, Documentation/w1/slaves/w1_therm.rst, Documentation/ABI/testing/sysfs-driver-w1_therm and
drivers/w1/slaves/w1_therm.c. What a file cannot do is told where it differs: where the kernel answers an error, a file
is empty or keeps its value, and who writes `trigger` does not wait for the conversion.
"""

from __future__ import annotations

from bridge.virtual.one_wire.bus import OneWireBus
from bridge.virtual.one_wire.files import replace_text
from bridge.virtual.one_wire.scratchpad import CONVERSION_S, POWER_ON_C
from bridge.virtual.one_wire.thermometer import Ds18b20, Fault

__all__ = ["CONVERSION_S", "POWER_ON_C", "Ds18b20", "Fault", "OneWireBus", "replace_text"]
