"""What is wired to the pins of a virtual Pi, one file for each sort of device, and the words that move it."""

from __future__ import annotations

from bridge.virtual.devices.device import STICKING, Change, Device, NotAccepted
from bridge.virtual.devices.level import Level

__all__ = ["STICKING", "Change", "Device", "Level", "NotAccepted"]
