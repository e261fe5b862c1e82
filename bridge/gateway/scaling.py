"""How many replicas an alert of Prometheus leads to, as OpenFaaS' classic autoscaling has it. Pure."""

from __future__ import annotations

from bridge.gateway.deployment import Deployment


def after_alert(current: int, deployment: Deployment, *, firing: bool) -> int:
    """The wanted replicas after an alert.

    Firing adds the factor's share of the maximum, rounded up; resolved goes straight to the minimum. A minimum that is
    the maximum, or a factor of 0, switches it off; and a function at zero is woken by a call, not by an alert.
    """
    low, high, factor = deployment.scale_min, deployment.scale_max, deployment.scale_factor
    if low == high or factor == 0 or current == 0:
        return current
    if not firing:
        return low
    step = -(-high * min(factor, 100) // 100)
    return max(current, min(current + step, high))
