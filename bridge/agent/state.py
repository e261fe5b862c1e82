"""What is known of a sensor now, and the retained document that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

import orjson

from bridge.core.event import Value, rfc3339

HealthWord: TypeAlias = Literal["warming_up", "ok", "suspect", "fault", "stale"]

NOT_READ_YET = "no reading yet"


@dataclass(slots=True)
class SensorState:
    """A sensor's last value and how far it can be believed.

    `ok`: it is so now. `suspect`: the last readings were implausible, the value is older. `fault`: it cannot be read.
    `warming_up` and `stale`: nothing is known yet, or any more. Without `ok` or `suspect` there is no value.
    """

    value: Value = None
    event: str | None = None
    level: str | None = None
    """The event of the level or band it is in, where `event` may be a measure's."""
    since: datetime | None = None
    health: HealthWord = "stale"
    reason: str | None = NOT_READ_YET

    def document(self, at: datetime) -> bytes:
        """The retained state as it is told at `at`."""
        return orjson.dumps(
            {
                "version": 1,
                "value": self.value,
                "event": self.event,
                "level": self.level,
                "since": None if self.since is None else rfc3339(self.since),
                "health": self.health,
                "reason": self.reason,
                "time": rfc3339(at),
            }
        )
