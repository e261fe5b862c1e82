"""Which replicas to start and which to let go, so that a function gets the number and version that are wanted. Pure.

What may not live here: processes, clocks, I/O. `decide` is asked again after every change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    """How far a replica is."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """It gets no new call and ends after its last one."""


@dataclass(frozen=True, slots=True)
class View:
    """What the decision needs to know of one replica. Higher keys are younger."""

    key: int
    version: int
    phase: Phase
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Steps:
    """How many replicas of the newest version to start, and which to drain."""

    start: int = 0
    drain: tuple[int, ...] = ()


def decide(wanted: int, version: int, views: Sequence[View], *, may_start: bool) -> Steps:
    """The next steps towards `wanted` replicas of `version`.

    An older replica goes only once a newer one serves in its place, and while there are older ones the newer start one
    at a time: a small machine never carries more than one replica too many, and a version that does not start leaves
    the one before it serving. `may_start` is false during the pause after a failed start.
    """
    live = [view for view in views if view.phase is not Phase.DRAINING]
    current = [view for view in live if view.version == version]
    starting = [view for view in current if view.phase is Phase.STARTING]
    ready = [view for view in current if view.phase is Phase.READY]
    old = [view for view in live if view.version != version and view.phase is Phase.READY]
    # What is still starting on an older version serves nobody and never will.
    drain = [view.key for view in live if view.version != version and view.phase is Phase.STARTING]

    surplus = len(current) - wanted
    if surplus > 0:
        # First what is still starting (the youngest first), then whoever has the least to finish.
        order = sorted(starting, key=lambda view: -view.key) + sorted(
            ready, key=lambda view: (view.in_flight, view.key)
        )
        drain += [view.key for view in order[:surplus]]
        ready = [view for view in ready if view.key not in drain]
    old_surplus = len(ready) + len(old) - wanted
    if old_surplus > 0:
        by_load = sorted(old, key=lambda view: (view.in_flight, view.key))
        drain += [view.key for view in by_load[:old_surplus]]

    start = 0
    if may_start and surplus < 0:
        start = -surplus
        if old:
            start = min(start, max(0, 1 - len(starting)))
    return Steps(start, tuple(drain))
