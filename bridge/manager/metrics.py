"""What the manager counts. Labels are bounded: few methods, and the statuses of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

DROPPED: Final = ("node", "sensor", "listener", "history")
"""What bounds drop: messages of a node, or of a sensor, that is one too many; what a client of the feed was too slow
for; events that the sensor history has no room for."""


class Metrics:
    """The manager's metrics in the registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "gpio_bridge_manager_requests", "Requests that were answered.", ["method", "status"], registry=registry
        )
        self._durations = Histogram(
            "gpio_bridge_manager_request_seconds",
            "How long a request took, until the end of its answer.",
            ["method"],
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )

        self._mappings = Gauge("gpio_bridge_manager_mappings", "Mappings in force.", registry=registry)
        self._refused = Gauge(
            "gpio_bridge_manager_mapping_file_refused",
            "1 while the mapping file has mistakes and an earlier state of it is in force.",
            registry=registry,
        )
        self._annotated = Gauge(
            "gpio_bridge_manager_annotated_functions",
            "Functions with a topic annotation that is in force, or that cannot be read.",
            ["state"],
            registry=registry,
        )
        self._dropped = Counter(
            "gpio_bridge_manager_dropped",
            "What was more than the manager keeps, or came faster than somebody took it.",
            ["what"],
            registry=registry,
        )
        for what in DROPPED:
            self._dropped.labels(what)

    def dropped(self, what: str, count: int = 1) -> None:
        """Count what a bound has dropped; `what` is one of DROPPED."""
        self._dropped.labels(what).inc(count)

    def observe(
        self, mappings: Callable[[], int], refused: Callable[[], bool], annotated: Callable[[], tuple[int, int]]
    ) -> None:
        """Ask whenever somebody looks; `annotated` are the functions whose topic annotation counts, and is refused."""
        self._mappings.set_function(mappings)
        self._refused.set_function(refused)
        self._annotated.labels("in force").set_function(lambda: annotated()[0])
        self._annotated.labels("refused").set_function(lambda: annotated()[1])

    def answered(self, method: str, status: int, duration_s: float) -> None:
        """Count one answer; methods that HTTP does not know are one."""
        shown = method if method in METHODS else "other"
        self._requests.labels(shown, str(status)).inc()
        self._durations.labels(shown).observe(duration_s)
