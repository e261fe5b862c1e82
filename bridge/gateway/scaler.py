"""The built-in scaler: looks at the calls of each function, and scales it where that is due, on any backend."""

from __future__ import annotations

import logging

from bridge.clock import Clock
from bridge.errors import EngineUnavailable, FunctionError, FunctionNotFound
from bridge.gateway.backends import Backend
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.scaling import Course, Look, follow
from bridge.gateway.settings import ScalingSettings

_log = logging.getLogger(__name__)


class Scaler:
    """Sees the calls of this gateway alone; several over one swarm do not add up theirs."""

    def __init__(self, backend: Backend, metrics: GatewayMetrics, settings: ScalingSettings, clock: Clock) -> None:
        self._backend = backend
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._courses: dict[str, Course] = {}
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Look at every function, again and again."""
        while True:
            await self._clock.sleep(self._settings.every_s)
            await self.look()

    async def look(self) -> None:
        """Look at every function once."""
        deployments, wanted = self._backend.deployments(), self._backend.wanted()
        for name in self._courses.keys() - deployments.keys():
            del self._courses[name]
            self._told.pop(name, None)
        for name, deployment in deployments.items():
            look = Look(
                self._clock.monotonic(),
                self._metrics.in_flight(name),
                self._metrics.invocations(name),
                wanted.get(name, 0),
            )
            course = self._courses[name] = follow(self._courses.get(name), look, deployment, self._settings)
            if course.replicas != look.replicas:
                await self._scale(name, look.replicas, course.replicas)

    async def _scale(self, name: str, before: int, replicas: int) -> None:
        extra = {"op": "scale", "function": name, "from": before, "to": replicas}
        try:
            await self._backend.scale(name, replicas)
        except FunctionNotFound:
            return  # removed since
        except (FunctionError, EngineUnavailable) as error:
            # Asked for again at the next look; what is told once need not be told every second.
            if self._told.get(name) != str(error):
                self._told[name] = str(error)
                _log.warning("Cannot scale", extra=extra | {"reason": str(error)})
            return
        self._told.pop(name, None)
        self._metrics.scaled(name, "up" if replicas > before else "down")
        _log.info("Scaled by load" if replicas else "Scaled to zero: nobody calls it", extra=extra)
