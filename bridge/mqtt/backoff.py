"""How long to wait before the next attempt to connect. Pure: chance is passed in."""

from __future__ import annotations

from random import Random
from typing import Final

from bridge.mqtt.ending import Cause

FIRST_S: Final = 0.25
STEADY_S: Final = 5.0
"""A connection that lived this long was a good one: the next attempt starts again at the first pause."""
TAKEN_OVER_FACTOR: Final = 4.0
"""After a take-over we wait this many times the longest pause, or two clients of one id would throw each other out."""


SHORT_S: Final = 10.0
"""Mosquitto 2.0.11 closes a connection that was taken over without a word, as every broker does in MQTT 3.1.1. Two
such endings in a row, with the broker well in between and the last connection younger than this, look like a fight."""


class Backoff:
    """Pauses that double from 0.25 s to a longest one, each shortened by chance by up to a half."""

    def __init__(self, longest_s: float, random: Random) -> None:
        self._longest_s = longest_s
        self._random = random
        self._next_s = min(FIRST_S, longest_s)
        self._unexplained = 0

    @property
    def fighting(self) -> bool:
        """Whether the last ending looked like another client of our id taking over the session."""
        return self._unexplained > 1

    def pause(self, cause: Cause, lived_s: float) -> float:
        """Seconds to wait after a connection that ended for this cause and stood for `lived_s`."""
        if cause is not Cause.UNEXPLAINED:
            self._unexplained = 0
        else:
            self._unexplained = self._unexplained + 1 if lived_s < SHORT_S else 1
        if lived_s >= STEADY_S:
            self._next_s = min(FIRST_S, self._longest_s)
        if cause is Cause.UNSUPPORTED:
            return 0.0  # the broker is well, and the next attempt speaks another version
        if cause is Cause.TAKEN_OVER or self.fighting:
            wanted_s = TAKEN_OVER_FACTOR * self._longest_s
        elif cause is Cause.NOT_ALLOWED:
            wanted_s = self._longest_s  # somebody must change something first
        else:
            wanted_s = self._next_s
            self._next_s = min(2 * wanted_s, self._longest_s)
        return wanted_s * self._random.uniform(0.5, 1.0)
