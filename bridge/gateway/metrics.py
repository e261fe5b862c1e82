"""The gateway's metrics, under the names that OpenFaaS' dashboards and alert rules expect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.openfaas.names import qualified

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""OpenFaaS' own, so that dashboards find the same."""


class _ServiceCount(Collector):
    """The wanted replicas, asked for at each scrape, so that they are never old."""

    def __init__(self, wanted: Callable[[], Mapping[str, int]]) -> None:
        self._wanted = wanted

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily("gateway_service_count", "Wanted replicas of a function", labels=["function_name"])]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("gateway_service_count", "Wanted replicas of a function", labels=["function_name"])
        for name, replicas in self._wanted().items():
            family.add_metric([qualified(name)], replicas)
        yield family


OUTCOMES: Final = ("succeeded", "failed", "callback-failed")
"""How an asynchronous call ends."""


class GatewayMetrics:
    """Counts calls; one registry per gateway."""

    def __init__(self, registry: CollectorRegistry, wanted: Callable[[], Mapping[str, int]]) -> None:
        self._total = Counter(
            "gateway_function_invocation", "Calls that were answered", ["function_name", "code"], registry=registry
        )
        # OpenFaaS' name has no _total, which this library adds to every counter: hence a gauge that only grows.
        self._started = Gauge(
            "gateway_function_invocation_started", "Calls that were begun", ["function_name"], registry=registry
        )
        self._seconds = Histogram(
            "gateway_functions_seconds",
            "Time that calls took",
            ["function_name", "code"],
            registry=registry,
            buckets=_BUCKETS_S,
        )
        self._restarts = Counter(
            "gpio_bridge_gateway_replica_restarts",
            "Replicas that ended by themselves",
            ["function_name"],
            registry=registry,
        )
        self._scalings = Counter(
            "gpio_bridge_gateway_scalings",
            "Times that the built-in scaler changed a function's replicas",
            ["function_name", "direction"],
            registry=registry,
        )
        self._async = Counter(
            "gpio_bridge_gateway_async_calls",
            "Asynchronous calls that ended, by how",
            ["function_name", "outcome"],
            registry=registry,
        )
        self.async_waiting = Gauge(
            "gpio_bridge_gateway_async_waiting", "Asynchronous calls accepted and not ended", registry=registry
        )
        registry.register(_ServiceCount(wanted))
        self._starts: dict[str, Gauge] = {}
        self._ends: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._invocations: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._asynchronous: set[str] = set()

    def started(self, name: str) -> None:
        """A call of a function has begun."""
        child = self._starts.get(name)
        if child is None:
            child = self._starts[name] = self._started.labels(qualified(name))
        child.inc()
        self._invocations[name] = self._invocations.get(name, 0) + 1
        self._in_flight[name] = self._in_flight.get(name, 0) + 1

    def ended(self, name: str, code: int, duration_s: float) -> None:
        """It was answered."""
        children = self._ends.get((name, code))
        if children is None:
            labels = (qualified(name), str(code))
            children = self._ends[name, code] = (self._total.labels(*labels), self._seconds.labels(*labels))
        children[0].inc()
        children[1].observe(duration_s)
        self._in_flight[name] -= 1

    def invocations(self, name: str) -> int:
        """Calls of a function since the gateway's start."""
        return self._invocations.get(name, 0)

    def in_flight(self, name: str) -> int:
        """Calls of a function that have begun and not ended."""
        return self._in_flight.get(name, 0)

    def scaled(self, name: str, direction: str) -> None:
        """The built-in scaler changed the replicas: up or down."""
        self._scalings.labels(qualified(name), direction).inc()

    def restarted(self, name: str) -> None:
        """A replica ended by itself."""
        self._restarts.labels(qualified(name)).inc()

    def async_accepted(self, name: str) -> None:
        """An asynchronous call was accepted: count from zero on how it ends, or nobody sees the first one grow."""
        if name not in self._asynchronous:
            self._asynchronous.add(name)
            for outcome in OUTCOMES:
                self._async.labels(qualified(name), outcome)

    def async_ended(self, name: str, outcome: str) -> None:
        """An asynchronous call ended, by one of OUTCOMES."""
        self._async.labels(qualified(name), outcome).inc()
