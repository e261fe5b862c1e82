"""How a number wavers around what is so: a series of deviations, the same in every run. Pure."""

from __future__ import annotations

import re
from random import Random
from typing import Final

from bridge.config import seconds

_NOISE: Final = re.compile(r"noise ([0-9]+(?:\.[0-9]+)?) for (\S+)")


def deviations(name: str, number: int, amplitude: float, steps: int) -> tuple[float, ...]:
    """So many of them, each as likely, by at most `amplitude` up or down.

    They are chosen by the sensor's name and by how often that has wavered before.
    """
    chance = Random(f"{name} wavers {number}")  # noqa: S311 - noise that is the same in every run
    return tuple(chance.uniform(-amplitude, amplitude) for _ in range(steps))


def read_noise(text: str) -> tuple[float, float] | None:
    """What `noise 0.5 for 30s` says: how far at most, and the time in seconds; None when it says nothing of noise.

    Raises ValueError when its time is none.
    """
    found = _NOISE.fullmatch(text)
    if found is None:
        return None
    over_s = seconds(found[2])
    if over_s <= 0:
        raise ValueError(f"{found[2]} is no time at all")
    return float(found[1]), over_s
