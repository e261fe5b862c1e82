"""What is known of the swarm's functions, kept up to date: by the engine's events, and by looking at tasks.

The engine sends an event when a service or a cluster node changes, and none when a task does. So tasks are looked at
while something is expected to change with them (see `pace`), at once when an event hints at it, and now and then at
rest: an address that is free again may be given to another function's task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from bridge.clock import Clock
from bridge.errors import EngineError, EngineUnavailable
from bridge.gateway.backends.swarm import pace
from bridge.gateway.backends.swarm.function import SwarmFunction
from bridge.gateway.backends.swarm.translation import functions_of
from bridge.gateway.settings import SwarmSettings
from bridge.openfaas.deployment import Deployment
from bridge.swarm.engine import Engine
from bridge.swarm.membership import read_membership
from bridge.swarm.networks import Network, ensure_overlay
from bridge.swarm.services import Service, read_service
from bridge.swarm.stream import Stream
from bridge.swarm.tasks import Task, by_service, read_task

_log = logging.getLogger(__name__)

_AGAIN_FIRST_S, _AGAIN_LAST_S = 0.1, 5.0
_TOLD_TO_END = frozenset({"2", "3", "9", "15"})
"""Signals that stop a container: SIGINT, SIGQUIT, SIGKILL, SIGTERM, as its image wants it."""
_EVENTS = {
    "type": ["service", "node", "container"],
    # Health checks are commands run in containers, and would tell of themselves all the time.
    "event": ["create", "update", "remove", "start", "die", "kill", "health_status"],
}


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """A document that is not what it should be is a fault of the engine's, and no reason for the gateway to end."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise EngineError(f"what the Docker Engine tells cannot be understood: {error!r}") from error


Ended = Callable[[SwarmFunction, Task], None]


class Watch:
    """Follows one engine for as long as `run` and `look_at_tasks` run.

    `make` makes a function that is seen for the first time; `ended` is told of each task that ended by itself.
    """

    def __init__(
        self,
        engine: Engine,
        settings: SwarmSettings,
        clock: Clock,
        *,
        make: Callable[[str], SwarmFunction],
        ended: Ended,
    ) -> None:
        self.functions: dict[str, SwarmFunction] = {}
        self.problem: str | None = f"the Docker Engine at {settings.host} was not asked yet"
        self.node_id = ""
        self.network: Network | None = None
        self.ever = False
        """Whether it was ever known which functions there are."""
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._make = make
        self._ended = ended
        self._stream: Stream | None = None
        self._lock = asyncio.Lock()
        self._soon = asyncio.Event()
        self._stale = False
        self._all = False
        self._all_at = 0.0
        self._known_failures: set[str] = set()

    # --- for the backend

    def look(self) -> None:
        """Look at tasks soon."""
        self._soon.set()

    def lost(self, error: EngineUnavailable) -> None:
        """A call found the engine away: connect anew."""
        self._away(error)
        if self._stream is not None:
            self._stream.cut()

    def connected(self) -> Network:
        """The functions' network. Raises EngineUnavailable while the engine is away."""
        if self.problem is not None or self.network is None:
            raise EngineUnavailable(self.problem or "the Docker Engine is not connected")
        return self.network

    async def connect(self) -> None:
        """Agree with the engine, and see whether it can serve us.

        Raises EngineUnavailable while it cannot, and EngineError where somebody has to change something first.
        """
        await self._engine.connect()
        membership = read_membership(await self._engine.get("/info"), self._settings.host)
        if membership.complaint is not None:
            kind = EngineUnavailable if membership.passing else EngineError
            raise kind(membership.complaint)
        self.node_id = membership.node_id
        self.network = await ensure_overlay(self._engine, self._settings.network)
        await self.refresh()
        self.problem = None

    async def refresh(self) -> None:
        """Ask for all services and all their tasks, in two calls."""
        async with self._lock:
            self._stale = self._all = False
            self._all_at = self._clock.monotonic()
            with _understood():
                services = [read_service(each) for each in await self._engine.get("/services")]
                found = functions_of(services)
            self._take(found, await self._tasks(None))
            self.ever = True

    async def refresh_tasks(self, service_ids: Iterable[str] | None = None) -> None:
        """Ask for the tasks of some services, or of all, in one call."""
        async with self._lock:
            wanted = None if service_ids is None else set(service_ids)
            if wanted is None:
                self._all, self._all_at = False, self._clock.monotonic()
            tasks = await self._tasks(wanted)
            for function in self.functions.values():
                if wanted is None or function.service.id in wanted:
                    self._update(function, function.service, function.deployment, tasks)

    # --- loops

    async def run(self) -> None:
        """Connect, and follow the engine's events; begin again, with growing pauses, whenever it was away."""
        pause_s = _AGAIN_FIRST_S
        while True:
            try:
                if self.problem is not None:
                    await self.connect()
            except EngineError as error:
                self._away(error)
                pause_s = min(pause_s * 2, _AGAIN_LAST_S)
            else:
                pause_s = _AGAIN_FIRST_S
                try:
                    await self._follow()
                except EngineError as error:
                    # A call that found the engine away has cut the stream, and knows the reason.
                    if self.problem is None:
                        self._away(error)
            await self._clock.sleep(pause_s)

    def _away(self, error: EngineError) -> None:
        if self.problem != str(error):
            _log.warning("The engine is away", extra={"op": "engine", "reason": str(error)})
        self.problem = str(error)

    async def _follow(self) -> None:
        # First the stream, then the list: nothing may happen unseen between the two.
        async with self._engine.stream("/events", filters=_EVENTS) as stream:
            self._stream = stream
            try:
                await self.refresh()
                _log.info("Following the swarm", extra={"op": "engine", "functions": len(self.functions)})
                self.look()
                rest = b""
                async for piece in stream:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        self._heard(line)
            finally:
                self._stream = None
        raise EngineUnavailable(f"the Docker Engine at {self._settings.host} has ended its events")

    def _heard(self, line: bytes) -> None:
        try:
            event: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            return  # an empty line
        if event.get("Type") == "service":
            self._stale = True
        elif event.get("Type") == "container":
            self._heard_of_container(event)
        self._all = True
        self.look()

    def _heard_of_container(self, event: Mapping[str, Any]) -> None:
        labels = (event.get("Actor") or {}).get("Attributes") or {}
        service_id, task_id = labels.get("com.docker.swarm.service.id"), labels.get("com.docker.swarm.task.id")
        if not task_id:
            return
        action = event.get("Action")
        for function in self.functions.values():
            if function.service.id != service_id:
                continue
            if action in ("start", "die"):
                function.hear(task_id, started=action == "start")
            elif action == "health_status: unhealthy" or (action == "kill" and labels.get("signal") in _TOLD_TO_END):
                # Two seconds after the former the latter follows; and no task tells of either before it is over.
                function.hear_end(task_id)

    async def look_at_tasks(self) -> None:
        """Look at services and tasks whenever it is time to."""
        while True:
            await self._until_due()
            self._soon.clear()
            if self.problem is not None:
                continue
            try:
                await self._look()
            except EngineUnavailable as error:
                self.lost(error)
            except EngineError as error:
                if error.status == 404:
                    self._stale = True  # a service was removed just now, and its event is on the way
                    self.look()
                else:
                    _log.error("The engine refuses to tell", extra={"op": "engine", "reason": str(error)})
            # Many events come at once; one look serves them all.
            await self._clock.sleep(pace.LEAST_S)

    async def _until_due(self) -> None:
        pause_s = self._pause_s()
        timer = self._clock.call_at(self._clock.monotonic() + pause_s, self._soon.set)
        try:
            await self._soon.wait()
        finally:
            timer.cancel()

    def _pause_s(self) -> float:
        functions = self.functions.values()
        since = [each.unsettled_since for each in functions if each.unsettled_since is not None]
        # The one that changed last is the one that will change next.
        unsettled_for_s = self._clock.monotonic() - max(since) if since else None
        waiting = any(function.waiting for function in functions)
        return pace.pause_s(unsettled_for_s, waiting=waiting, at_rest_s=self._settings.look_s)

    async def _look(self) -> None:
        if self._stale:
            await self.refresh()
            return
        unsettled = [
            each.service.id for each in self.functions.values() if each.unsettled_since is not None or each.waiting
        ]
        all_due = self._all or self._clock.monotonic() - self._all_at >= self._settings.look_s
        await self.refresh_tasks(None if all_due or not unsettled else unsettled)

    # --- inside

    async def _tasks(self, service_ids: set[str] | None) -> dict[str, list[Task]]:
        filters = {} if service_ids is None else {"filters": {"service": sorted(service_ids)}}
        with _understood():
            return by_service(read_task(each) for each in await self._engine.get("/tasks", **filters))

    def _take(self, found: dict[str, tuple[Service, Deployment]], tasks: dict[str, list[Task]]) -> None:
        # The engine keeps a few tasks of each slot and forgets the others.
        self._known_failures.intersection_update(task.id for mine in tasks.values() for task in mine)
        for name in [name for name in self.functions if name not in found]:
            self.functions.pop(name).forget()
        for name, (service, deployment) in found.items():
            function = self.functions.get(name)
            if function is None:
                function = self.functions[name] = self._make(name)
            self._update(function, service, deployment, tasks)

    def _update(
        self, function: SwarmFunction, service: Service, deployment: Deployment, tasks: dict[str, list[Task]]
    ) -> None:
        assert self.network is not None
        mine = tasks.get(service.id, [])
        function.update(service, deployment, mine, self.network)
        for task in mine:
            if task.failed and task.id not in self._known_failures:
                self._known_failures.add(task.id)
                if self.ever:
                    self._ended(function, task)
