"""When to look at tasks: the engine tells of no change of theirs, and asking all the time is not cheap. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.swarm.services import Service
from bridge.swarm.tasks import Phase, Task

LEAST_S = 0.02
"""Between two looks, whatever happens."""
_WAITED_FOR_S, _QUICK_S, _SLOW_S, _SLOWEST_S = 0.1, 0.25, 1.0, 5.0
_QUICK_FOR_S, _SLOW_FOR_S = 15.0, 120.0


def settled(service: Service, tasks: Sequence[Task]) -> bool:
    """Whether a service has what it wants, so that nothing is expected to change."""
    if service.updating:
        return False
    live = [task for task in tasks if task.phase is not Phase.OVER]
    serving = [task for task in live if task.serving]
    if not service.scalable:
        return bool(serving) and len(serving) == len(live)
    return len(serving) == len(live) == service.replicas


def pause_s(unsettled_for_s: float | None, *, waiting: bool, at_rest_s: float) -> float:
    """How long to wait until the next look. `unsettled_for_s` is None where all is settled and nothing is suspect.

    What does not settle, such as an image that nobody has, is looked at less and less.
    """
    if waiting:
        return _WAITED_FOR_S
    if unsettled_for_s is None:
        return at_rest_s
    if unsettled_for_s < _QUICK_FOR_S:
        return _QUICK_S
    return min(at_rest_s, _SLOW_S if unsettled_for_s < _SLOW_FOR_S else _SLOWEST_S)
