"""What the engine door counts. Labels are bounded: two clients, and the kinds of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

Outcome = Literal["passed", "refused", "failed"]


class Metrics:
    """The engine door's metrics in the registry it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "gpio_bridge_engine_door_calls",
            "Calls of clients by what they were about: passed on, refused, or failed because the engine was away.",
            ["client", "kind", "outcome"],
            registry=registry,
        )
        self._connections = Gauge(
            "gpio_bridge_engine_door_connections", "Connections of clients.", ["client"], registry=registry
        )
        self._up = Gauge("gpio_bridge_engine_door_engine_up", "1 while the engine answers.", registry=registry)

    def begin(self, clients: Iterable[str]) -> None:
        """Show what has not happened yet."""
        for client in clients:
            for outcome in ("passed", "refused", "failed"):
                self._calls.labels(client, "look", outcome)

    def called(self, client: str, kind: str, outcome: Outcome) -> None:
        """Count one call."""
        self._calls.labels(client, kind, outcome).inc()

    def observe(self, client: str, connections: Callable[[], int]) -> None:
        """Ask a client's server whenever somebody looks."""
        self._connections.labels(client).set_function(connections)

    def observe_engine(self, up: Callable[[], bool]) -> None:
        """Ask how the engine was found last whenever somebody looks."""
        self._up.set_function(up)
