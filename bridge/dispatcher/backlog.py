"""What is backlog: events that happened while we, the broker or their node were away (PROTOCOL.md, rule 14).

After (re)subscribing a marker is sent through the same subscription; until it is back, what happened before has waited
in the broker. A node that comes back with a filled outbox is behind until it is empty. What happened after that moment
is live all the same, and both waits have an end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from bridge.clock import Clock, Timer
from bridge.core.event import Event
from bridge.core.work import place_of

Place = tuple[str, str]
"""A node, of a site."""

LONGEST_S = 60.0
"""A marker that does not come back, or a node whose outbox does not get empty, holds nothing for longer."""


class Backlog:
    """Who is behind, and since when. `ended` is called whenever somebody no longer is."""

    def __init__(self, clock: Clock, ended: Callable[[], None]) -> None:
        self._clock = clock
        self._ended = ended
        self._marker: tuple[str, datetime, Timer] | None = None
        self._behind: dict[Place, tuple[datetime, Timer]] = {}

    @property
    def over(self) -> bool:
        """Whether everything is live."""
        return self._marker is None and not self._behind

    def holds(self, event: Event) -> bool:
        """Whether an event that arrives now is backlog."""
        if self._marker is None and not self._behind:
            return False
        since = self._marker[1] if self._marker is not None else None
        place = place_of(event)
        if since is None and place in self._behind:
            since = self._behind[place][0]
        if since is None:
            return False
        return place is None or not event.timesynced or event.time < since

    def waits(self, place: Place | None) -> bool:
        """Whether backlog of this node (None: of devices that are not ours) may still come."""
        return self._marker is not None or place in self._behind

    def begin(self, marker: str) -> None:
        """A marker is on its way."""
        self._forget_marker()
        timer = self._clock.call_at(self._clock.monotonic() + LONGEST_S, self._marker_over)
        self._marker = (marker, self._clock.now(), timer)

    def returned(self, marker: str) -> None:
        """A marker came back; one of an earlier connection says nothing."""
        if self._marker is not None and marker == self._marker[0]:
            self._marker_over()

    def came(self, place: Place, waiting: int) -> None:
        """A node has come online, with so many events in its outbox."""
        if waiting > 0 and place not in self._behind:
            timer = self._clock.call_at(self._clock.monotonic() + LONGEST_S, lambda: self.caught_up(place))
            self._behind[place] = (self._clock.now(), timer)

    def caught_up(self, place: Place) -> None:
        """A node's outbox is empty."""
        found = self._behind.pop(place, None)
        if found is not None:
            found[1].cancel()
            self._ended()

    def stop(self) -> None:
        """Forget everything, without a word."""
        self._forget_marker()
        for _, timer in self._behind.values():
            timer.cancel()
        self._behind.clear()

    def _marker_over(self) -> None:
        self._forget_marker()
        self._ended()

    def _forget_marker(self) -> None:
        if self._marker is not None:
            self._marker[2].cancel()
            self._marker = None
