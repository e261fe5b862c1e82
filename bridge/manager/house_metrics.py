"""What the manager shows Prometheus of the house: who is there, as far as the broker tells; asked when somebody looks.

These hold for nodes too whose own metrics Prometheus cannot ask for. Labels are bounded by what Nodes and Bus remember.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.manager.nodes import Node
from bridge.manager.targets import Whereabouts

_PREFIX = "gpio_bridge_manager"


class HouseMetrics(Collector):
    """Shows nodes and dispatchers. `connected` is whether the broker is there; else all the rest may be old."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        nodes: Mapping[str, Node],
        dispatchers: Callable[[], Mapping[str, str]],
        connected: Callable[[], bool],
        reach: Callable[[Whereabouts], tuple[str | None, str | None]],
    ) -> None:
        self._nodes = nodes
        self._dispatchers = dispatchers
        self._connected = connected
        self._reach = reach
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            f"{_PREFIX}_broker_connected", "1 while the broker is connected.", int(self._connected())
        )
        online = _by_node("node_online", "1 while the node is online, as the broker tells.")
        backlog = _by_node("node_backlog", "Events that the node had not got confirmed when it last told so.")
        watched = _by_node("node_watched", "1 where Prometheus is told where the agent's metrics are.")
        sensors = GaugeMetricFamily(
            f"{_PREFIX}_node_sensors", "Sensors of a node by their health.", labels=["node", "health"]
        )
        for name, node in self._nodes.items():
            online.add_metric([name], int(node.state == "online"))
            if node.status is not None and node.status.backlog is not None:
                backlog.add_metric([name], node.status.backlog)
            found = self._reach(node.birth.where)[0] if node.birth is not None else None
            watched.add_metric([name], int(found is not None))
            for health, count in Counter(state.facts["health"] or "" for state in node.states.values()).items():
                sensors.add_metric([name, health], count)
        yield from (online, backlog, watched, sensors)
        active = GaugeMetricFamily(
            f"{_PREFIX}_dispatcher_active", "1 for a dispatcher that says it is at work.", labels=["dispatcher"]
        )
        there = GaugeMetricFamily(
            f"{_PREFIX}_dispatcher_online", "1 for a dispatcher that is at work or stands by.", labels=["dispatcher"]
        )
        for name, state in self._dispatchers().items():
            active.add_metric([name], int(state == "active"))
            there.add_metric([name], int(state in ("active", "standby")))
        yield from (active, there)


def _by_node(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=["node"])
