"""The sensors' retained states on their way to the broker: only the newest counts, and events go first.

A state tells what is so now, so one that has been overtaken need not be sent; and whoever waits for an edge waits for
its event. So a state that changes with an event leaves behind it, and at most one of a sensor is unanswered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from bridge.clock import Clock, Timer
from bridge.mqtt.transport import Done, Publication

LATEST_S: Final = 0.1
"""A state waits at most this long for events: the disk may be slow, or refuse."""


class States:
    """Publishes by `publish`; `busy` says whether an event is on its way to the disk. `changed` may be told often."""

    def __init__(self, clock: Clock, publish: Callable[[str, Done], None], busy: Callable[[], bool]) -> None:
        self._clock = clock
        self._publish = publish
        self._busy = busy
        self._due: dict[str, None] = {}  # a set that keeps its order
        self._unanswered: set[str] = set()
        self._timer: Timer | None = None
        self._last = False

    def changed(self, sensor: str) -> None:
        """The sensor's state is another one than before, or somebody has to hear it anew."""
        self._due[sensor] = None
        if self._last or not self._busy():
            self._show()
        elif self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + LATEST_S, self._show)

    def caught_up(self) -> None:
        """The events are out."""
        if self._due:
            self._show()

    def stop(self) -> None:
        """From now on every change is shown at once: nobody will come back for it."""
        self._last = True
        self._show()

    def abandon(self) -> None:
        """Show nothing more."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for sensor in [*self._due]:
            if self._last or sensor not in self._unanswered:
                del self._due[sensor]
                self._unanswered.add(sensor)
                self._publish(sensor, partial(self._answered, sensor))

    def _answered(self, sensor: str, _: Publication) -> None:
        self._unanswered.discard(sensor)
        if sensor in self._due and self._timer is None:
            self._show()
