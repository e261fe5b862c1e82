"""The packet ids of one connection: one source for what we send ourselves and for what paho does."""

from __future__ import annotations

from typing import Final

from bridge.errors import TransportError

HIGHEST: Final = 0xFFFF


class PacketIds:
    """Gives ids that nothing unanswered has (MQTT 5.0, 2.2.1): publications and subscriptions share one space.

    In turn, not the lowest free one: an answer that comes twice then meets nobody.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._last = 0

    def take(self) -> int:
        """The next id. Raises TransportError when the broker owes an answer to every one."""
        if len(self._taken) >= HIGHEST:
            raise TransportError(f"the broker has not answered {HIGHEST} packets; nothing more can be asked of it")
        while True:
            self._last = self._last % HIGHEST + 1
            if self._last not in self._taken:
                self._taken.add(self._last)
                return self._last

    def release(self, packet_id: int) -> None:
        """The broker has answered; an id that was not taken changes nothing."""
        self._taken.discard(packet_id)
