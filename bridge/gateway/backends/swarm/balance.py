"""Which replica gets the next call. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.gateway.settings import Balance


@dataclass(frozen=True, slots=True)
class View:
    """What the choice needs to know of one replica that can be called. `turn` tells when it was chosen last."""

    key: str
    in_flight: int = 0
    turn: int = 0
    suspect: bool = False


def choose(views: Iterable[View], balance: Balance) -> str | None:
    """The key of the replica to call; None when there is none that is sound.

    Equals take turns: the one that was chosen longest ago comes next.
    """
    sound = [view for view in views if not view.suspect]
    if not sound:
        return None
    if balance == "round_robin":
        return min(sound, key=lambda view: view.turn).key
    return min(sound, key=lambda view: (view.in_flight, view.turn)).key
