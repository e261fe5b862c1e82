"""How many replicas a function gets: after an alert, by its load, and none when nobody calls it. Pure.

What may not live here: clocks, backends, anything that is asked or told. Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from dataclasses import dataclass

from bridge.gateway.settings import ScalingSettings
from bridge.openfaas.deployment import TYPE_LABEL, ZERO_AFTER_LABEL, Deployment
from bridge.runtime.settings import duration_s


def after_alert(current: int, deployment: Deployment, *, firing: bool) -> int:
    """The wanted replicas after an alert of Prometheus, as OpenFaaS' classic autoscaling has it.

    Firing adds the factor's share of the maximum, rounded up; resolved goes straight to the minimum. A minimum that is
    the maximum, or a factor of 0, switches it off; and a function at zero is woken by a call, not by an alert.
    """
    low, high, factor = deployment.scale_min, deployment.scale_max, deployment.scale_factor
    if not deployment.scales or current == 0:
        return current
    if not firing:
        return low
    step = -(-high * min(factor, 100) // 100)
    return max(current, min(current + step, high))


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of a function at one time: calls in flight, calls begun so far, and the replicas that are wanted."""

    at: float
    in_flight: int
    begun: int
    replicas: int


@dataclass(frozen=True, slots=True)
class Course:
    """What is remembered of a function between two looks; `replicas` is what the newest look led to."""

    looks: tuple[Look, ...]
    active_at: float
    needs: tuple[tuple[float, int], ...]
    """What each look of the last `down_after` said the load needs, and when."""
    replicas: int


def follow(course: Course | None, look: Look, deployment: Deployment, settings: ScalingSettings) -> Course:
    """The course after one more look.

    By load it goes up at once and down only after the load has needed less for `down_after`; to zero when there was no
    call for the idle time and the labels allow it. From zero only a call leads up.
    """
    if course is not None and look.begun < course.looks[-1].begun:
        course = None  # the counts began anew
    if course is None:
        return Course((look,), look.at, (), _unless_idle(look, look.at, deployment, settings))
    before = course.looks[-1]
    # Whoever scaled it up wants it to stay up for a while, and the replicas of a woken function have yet to be called.
    used = look.in_flight > 0 or look.begun > before.begun or look.replicas > before.replicas
    active_at = look.at if used else course.active_at
    looks = (*(each for each in course.looks if each.at >= look.at - settings.window_s), look)
    course = Course(looks, active_at, course.needs, look.replicas)
    if settings.enabled and look.replicas and deployment.scales:
        course = _by_load(course, look, deployment, settings)
    if look.replicas:
        seen = dataclasses.replace(look, replicas=course.replicas)
        course = dataclasses.replace(course, replicas=_unless_idle(seen, active_at, deployment, settings))
    return course


def _by_load(course: Course, look: Look, deployment: Deployment, settings: ScalingSettings) -> Course:
    low, high = max(1, deployment.scale_min), deployment.scale_max
    need = min(max(_need(course.looks, deployment, settings), low), high)
    needs = (*(each for each in course.needs if each[0] > look.at - settings.down_after_s), (look.at, need))
    # Watched for long enough? The first looks after a start know nothing of what was before.
    long_enough = look.at - needs[0][0] >= 0.9 * settings.down_after_s
    replicas = look.replicas
    if need > replicas:
        replicas = need
    elif long_enough:
        replicas = min(replicas, max(need for _, need in needs))
    return dataclasses.replace(course, needs=needs, replicas=replicas)


def _need(looks: tuple[Look, ...], deployment: Deployment, settings: ScalingSettings) -> int:
    """The replicas that the load of the last looks needs."""
    first, last = looks[0], looks[-1]
    in_flight = sum(look.in_flight for look in looks) / len(looks)
    rate = (last.begun - first.begun) / (last.at - first.at) if last.at > first.at else 0.0
    kind, target = deployment.labels.get(TYPE_LABEL), deployment.scale_target
    shares = {
        "capacity": in_flight / (target or settings.in_flight),
        "rps": rate / (target or settings.rate),
    }
    if kind in shares:
        return math.ceil(shares[kind])
    # OpenFaaS reads a target without a type as one for the rate.
    return math.ceil(shares["rps"] if target else max(shares.values()))


def _unless_idle(look: Look, active_at: float, deployment: Deployment, settings: ScalingSettings) -> int:
    if not deployment.scales_to_zero or look.in_flight:
        return look.replicas
    limit_s = settings.idle_s
    with contextlib.suppress(ValueError):  # a service that was made by hand may say anything
        limit_s = duration_s(deployment.labels.get(ZERO_AFTER_LABEL, ""))
    return 0 if look.at - active_at >= limit_s else look.replicas
