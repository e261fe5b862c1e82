"""Whether anything comes through the subscriptions of a connection.

A broker may grant a subscription of which its access list lets nothing through (Mosquitto does), and a site without
events looks the same. Our own marker goes the way of every event: when nothing has come back, not even that, somebody
is told. What may not live here: what comes, and what it means.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from bridge.clock import Clock, Timer

_log = logging.getLogger(__name__)

DEAF_AFTER_S: Final = 60.0
"""So long nothing may come before that is a problem; then the marker is sent again as often, until it comes."""


class Hearing:
    """Of one dispatcher. `ask` sends the marker. The loop owns it."""

    def __init__(self, clock: Clock, marker_topic: str, ask: Callable[[], None]) -> None:
        self.heard = False
        """Whether something has come in this connection."""
        self._clock = clock
        self._marker_topic = marker_topic
        self._ask = ask
        self._deaf = False
        self._timer: Timer | None = None

    @property
    def problem(self) -> str | None:
        """For health: why events are not to be expected; None when something comes, or soon may."""
        if not self._deaf:
            return None
        return (
            f"nothing comes from the broker, not even what is sent to {self._marker_topic}: its access list must let"
            " the dispatcher write and read that, and read the topics of events"
        )

    def connected(self) -> None:
        """A new connection, in which nothing has come yet."""
        self.heard = False
        self.stop()

    def subscribed(self) -> None:
        """The broker has agreed, and the marker is on its way."""
        if not self.heard:
            self._wait()

    def came(self) -> None:
        """Something has come: to be told of the first at least."""
        self.heard = True
        if self._deaf:
            _log.info("something comes from the broker again", extra={"op": "dispatcher.hear"})
        self._deaf = False
        self.stop()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self.stop()
        self._timer = self._clock.call_at(self._clock.monotonic() + DEAF_AFTER_S, self._over)

    def _over(self) -> None:
        if not self._deaf:
            self._deaf = True
            _log.warning("nothing is heard", extra={"op": "dispatcher.hear", "why": self.problem})
        self._ask()
        self._wait()
