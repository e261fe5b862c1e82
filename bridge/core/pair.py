"""Two dispatchers, one at work: who that is (PROTOCOL.md, rule 17).

Each says on its retained status whether it is at work, and its last will says when it has gone. What may not live here:
MQTT, timers; `now` is monotonic time in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Role(Enum):
    """What a dispatcher of a pair is."""

    STANDBY = "standby"
    ACTIVE = "active"


OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Peer:
    """What another dispatcher last said. The higher `term` is the later claim to be at work."""

    state: str
    term: int


class Pair:
    """One dispatcher's view of its pair; `role` is what it has to be now, and changes in any of the calls."""

    def __init__(self, id: str, takeover_after_s: float) -> None:  # noqa: A002 - the setting's own name
        self.id = id
        self.role = Role.STANDBY
        self.term = 0
        self._takeover_after_s = takeover_after_s
        self._peers: dict[str, Peer] = {}
        self._connected = False
        self._due: float | None = None

    @property
    def wake_at(self) -> float | None:
        """When `wake` has something to decide."""
        return self._due

    @property
    def active_peer(self) -> str | None:
        """The other one that says it is at work."""
        return next((id_ for id_, peer in self._peers.items() if peer.state == Role.ACTIVE.value), None)

    def connected(self, now: float) -> None:
        """A connection stands: who is there will be heard in a moment, so nothing is decided before that."""
        self._connected = True
        self._wait(now)

    def disconnected(self) -> None:
        """Nobody can say any more who is at work: not we (the fence)."""
        self._connected = False
        self._due = None
        self.role = Role.STANDBY

    def heard(self, id: str, peer: Peer, now: float) -> None:  # noqa: A002 - the setting's own name
        """Another one has spoken, or its last will."""
        if id == self.id:
            return
        self._peers[id] = peer
        self.term = max(self.term, peer.term) if self.role is Role.STANDBY else self.term
        if self.role is Role.ACTIVE:
            if peer.state == Role.ACTIVE.value and (peer.term, id) > (self.term, self.id):
                self.role = Role.STANDBY
                self.term = peer.term
        elif self.active_peer is not None:
            self._due = None
        elif self._due is None:
            self._wait(now)

    def wake(self, now: float) -> None:
        """Take over, if the time has come and nobody is at work."""
        if self._due is not None and now >= self._due:
            self._due = None
            self.term += 1
            self.role = Role.ACTIVE

    def _wait(self, now: float) -> None:
        if not self._connected or self.active_peer is not None:
            return
        rivals = sorted([self.id, *(id_ for id_, peer in self._peers.items() if peer.state == Role.STANDBY.value)])
        self._due = now + self._takeover_after_s * (1 + rivals.index(self.id))
