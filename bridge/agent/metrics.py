"""What an agent counts. Labels are bounded by the configuration: names of sensors and outputs, and few fixed words."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.agent.outbox import Outbox

HEALTHS = ("warming_up", "ok", "suspect", "fault", "stale")


class Metrics:
    """The agent's metrics in a registry of its own, because several agents may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.edges = Counter(
            "gpio_bridge_agent_edges", "Edges seen on digital inputs.", ["sensor"], registry=self.registry
        )
        self.edges_dropped = Counter(
            "gpio_bridge_agent_edges_dropped",
            "Edges that came faster than they could be handled.",
            ["sensor"],
            registry=self.registry,
        )
        self.readings = Counter(
            "gpio_bridge_agent_readings",
            "Readings of polled sensors: taken, refused as implausible, or failed.",
            ["sensor", "result"],
            registry=self.registry,
        )
        self.events = Counter(
            "gpio_bridge_agent_events", "Events handed to the outbox.", ["sensor", "event"], registry=self.registry
        )
        self.unaccepted = Counter(
            "gpio_bridge_agent_events_not_accepted",
            "Events that the outbox could not commit; they are lost.",
            ["sensor"],
            registry=self.registry,
        )
        self.faults = Counter(
            "gpio_bridge_agent_sensor_faults", "Times a sensor went into fault.", ["sensor"], registry=self.registry
        )
        self.health = Gauge(
            "gpio_bridge_agent_sensor_health", "1 for the sensor's health, else 0.", ["sensor", "health"],
            registry=self.registry,
        )  # fmt: skip
        self.commands = Counter(
            "gpio_bridge_agent_commands", "Commands to outputs, by what became of them.", ["output", "result"],
            registry=self.registry,
        )  # fmt: skip
        self.connected = Gauge(
            "gpio_bridge_agent_connected", "1 while the broker is connected.", registry=self.registry
        )
        self.connections = Counter(
            "gpio_bridge_agent_connections", "Connections to the broker since the start.", registry=self.registry
        )

        self._healths: dict[str, str] = {}

    def watch(self, outbox: Outbox) -> None:
        """Show what the outbox counts, at the moment it is asked for."""
        self.registry.register(_OutboxCollector(outbox))

    def set_health(self, sensor: str, health: str) -> None:
        """Show a sensor's health; looking up labels is slow, and most often nothing has changed."""
        if self._healths.get(sensor) != health:
            self._healths[sensor] = health
            for each in HEALTHS:
                self.health.labels(sensor, each).set(each == health)


class _OutboxCollector(Collector):
    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def collect(self) -> Iterator[Metric]:
        outbox, counters = self._outbox, self._outbox.counters
        for name, text, value in (
            ("backlog", "Events in the outbox that are not confirmed.", outbox.backlog),
            ("outbox_bytes", "Size of the events in the outbox.", outbox.size_bytes),
            (
                "outbox_oldest_seconds",
                "How long the oldest event has waited for its confirmation.",
                outbox.oldest_age_s,
            ),
            ("outbox_in_flight", "Events sent and not confirmed.", outbox.in_flight),
        ):
            yield GaugeMetricFamily(f"gpio_bridge_agent_{name}", text, value)
        for name, text, count in (
            ("accepted", "Events committed to the disk.", counters.accepted),
            ("published", "Publications of events, repeated ones included.", counters.published),
            ("resent", "Publications of events that had been sent before.", counters.resent),
            ("refused", "Publications that the broker refused.", counters.refused),
            ("confirmed", "Events that were confirmed.", counters.confirmed),
            ("lost", "Events that could not be committed, or were lost with a damaged outbox.", counters.lost),
            ("quarantined", "Damaged outbox files that were set aside.", counters.quarantined),
        ):
            yield CounterMetricFamily(f"gpio_bridge_agent_outbox_{name}", text, count)
        dropped = CounterMetricFamily(
            "gpio_bridge_agent_outbox_dropped", "Events dropped by a bound of the outbox.", labels=["reason"]
        )
        for reason in ("events", "bytes", "age"):
            dropped.add_metric([reason], counters.dropped.get(reason, 0))
        yield dropped
