"""What an agent counts. Labels are bounded by the configuration: names of sensors and outputs, and few fixed words."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.agent.outbox import Outbox
from bridge.agent.sensors.settings import Limits

HEALTHS = ("warming_up", "ok", "suspect", "fault", "stale")


class Watched(Protocol):
    """What is asked of a sensor when somebody looks."""

    name: str
    limits: Limits

    @property
    def silent_s(self) -> float:
        """How long its last event is ago."""

    @property
    def unchanged_s(self) -> float:
        """How long it has shown the same, which is not its rest."""


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

    def watch_sensors(self, sensors: Collection[Watched]) -> None:
        """Show what is expected of each sensor and what it does, at the moment it is asked for."""
        self.registry.register(_SensorCollector(sensors))

    def set_health(self, sensor: str, health: str) -> None:
        """Show a sensor's health; looking up labels is slow, and most often nothing has changed."""
        if self._healths.get(sensor) != health:
            self._healths[sensor] = health
            for each in HEALTHS:
                self.health.labels(sensor, each).set(each == health)


class _SensorCollector(Collector):
    """Asks only when somebody looks: an event costs nothing more than the time that its sensor notes."""

    def __init__(self, sensors: Collection[Watched]) -> None:
        self._sensors = sensors

    def collect(self) -> Iterator[Metric]:
        silent = GaugeMetricFamily(
            "gpio_bridge_agent_sensor_silent_seconds", "How long the sensor's last event is ago.", labels=["sensor"]
        )
        unchanged = GaugeMetricFamily(
            "gpio_bridge_agent_sensor_unchanged_seconds",
            "How long its level has been active, or its number the same to the last digit; 0 at rest.",
            labels=["sensor"],
        )
        limits = GaugeMetricFamily(
            "gpio_bridge_agent_sensor_limit",
            "What is expected of it: silent and stuck in seconds, flapping in changes a minute. None is no limit.",
            labels=["sensor", "limit"],
        )
        for sensor in self._sensors:
            silent.add_metric([sensor.name], sensor.silent_s)
            unchanged.add_metric([sensor.name], sensor.unchanged_s)
            given = sensor.limits
            for name, value in (("silent", given.silent_s), ("stuck", given.stuck_s), ("flapping", given.flapping)):
                if value > 0:
                    limits.add_metric([sensor.name, name], value)
        yield from (silent, unchanged, limits)


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
