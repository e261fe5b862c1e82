"""One function of the swarm: its service, its tasks, and the replicas among them that calls are sent to."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bridge.clock import Clock
from bridge.errors import EngineError, FunctionError, FunctionNotFound, FunctionUnavailable
from bridge.gateway.backends import health
from bridge.gateway.backends.swarm import balance, pace
from bridge.gateway.backends.swarm.translation import PORT
from bridge.gateway.background import Background
from bridge.gateway.settings import SwarmSettings
from bridge.openfaas.deployment import Deployment
from bridge.swarm.networks import Network
from bridge.swarm.services import Service
from bridge.swarm.tasks import Task, newest_complaint

_log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LAST_PAUSE_S, _EAGER_S = 0.04, 2.0, 5.0
"""Between two questions for a replica's health: the first while it starts, growing to the last after `_EAGER_S`."""
_TOO_EARLY_S, _NOT_HEARD_S = 0.4, 5.0
"""A task has its address before its container has its network. Who asks too early waits for a second, which is how long
the kernel pauses between two questions for a neighbour (arp(7), retrans_time_ms). Of a container on the engine's own
machine we hear when it has started.
"""
_HEARD_OF = 1000
_END_FOLLOWS_S = 10.0
"""From the word that a container will end until it was told to."""
_TASK_ID = re.compile(r"\btask (\w+)")
_BUSY_S = 5.0
"""A new replica that answers its health with an error for this long is called all the same: Swarm says that it runs."""
_SILENT_S = 10.0
_HOPELESS_FAILURES, _HOPELESS_PENDING_S = 2, 5.0


@dataclass(slots=True, eq=False)
class Replica:
    """A task that may be called. It is `ready` once it has answered us."""

    task: Task
    host: str
    seen_at: float
    in_flight: int = 0
    turn: int = 0
    ready: bool = False
    suspect: bool = False
    """It took no connection or broke one, and was not looked at since."""
    examined: bool = False
    """Somebody asks for its health now."""


class TaskLease:
    """One call's hold on a replica. Swarm itself ends tasks; the replica finishes its calls before it does."""

    __slots__ = ("_function", "_replica", "host", "instance", "port")

    def __init__(self, function: SwarmFunction, replica: Replica, host: str) -> None:
        self._function = function
        self._replica = replica
        self.instance = replica.task.instance(function.service.name)
        self.host = host
        self.port = PORT

    def release(self) -> None:
        self._replica.in_flight -= 1

    def suspect(self) -> None:
        self._function.doubt(self._replica)


class SwarmFunction:
    """Follows what the engine tells of one function, and lends its replicas out.

    `wake` scales it up from zero; `look` asks for its tasks to be looked at soon; `engine_node` names the cluster node
    of the engine that we ask.
    """

    def __init__(
        self,
        name: str,
        *,
        settings: SwarmSettings,
        clock: Clock,
        background: Background,
        wake: Callable[[SwarmFunction], Awaitable[None]],
        look: Callable[[], None],
        engine_node: Callable[[], str],
    ) -> None:
        self.name = name
        self.service: Service
        self.deployment: Deployment
        self.tasks: Sequence[Task] = ()
        self.replicas: dict[str, Replica] = {}
        self.listeners: set[Callable[[Task | None], None]] = set()
        """Who is told of tasks that ended by themselves, and with None that the function is gone."""
        self.last_words: dict[str, str] = {}
        """What tasks that ended by themselves wrote last, by their ids."""
        self.undone: Task | None = None
        """The task that made the last update fail: the swarm forgets it while the version before comes back."""
        self._update_state = ""
        self.waiting = 0
        self.gone = False
        self.unsettled_since: float | None = None
        self._settings = settings
        self._clock = clock
        self._background = background
        self._wake = wake
        self._look = look
        self._engine_node = engine_node
        self._waking: asyncio.Task[None] | None = None
        self._changed: set[asyncio.Future[None]] = set()
        self._turns = itertools.count(1)
        self._heard: dict[str, bool] = {}
        """Tasks whose container was heard to start (True) or to end (False), before the engine tells it of the task."""
        self._ending: dict[str, float] = {}
        """Tasks that will be over soon, and until when that is believed."""
        self._network: Network | None = None

    # --- what the engine tells

    def update(self, service: Service, deployment: Deployment, tasks: Sequence[Task], network: Network) -> None:
        """Take over what is so now; `tasks` are all of the service's, oldest first."""
        self.service, self.deployment, self.tasks, self._network = service, deployment, tasks, network
        self._note_failure()
        for task_id in [each for each in self.last_words if not self.remembers(each)]:
            del self.last_words[task_id]
        serving = {
            task.id: task for task in tasks if task.serving and task.addresses.get(network.id) and self._alive(task.id)
        }
        for task_id in [each for each in self.replicas if each not in serving]:
            del self.replicas[task_id]
        for task_id, task in serving.items():
            replica = self.replicas.get(task_id)
            if replica is None:
                replica = Replica(task, task.addresses[network.id], self._clock.monotonic())
                self.replicas[task_id] = replica
            replica.task = task
            self._examine(replica)
        # The engine may not have told yet what we have heard.
        doubted = any(task.serving and not self._alive(task.id) for task in tasks) or any(
            replica.suspect for replica in self.replicas.values()
        )
        if pace.settled(service, tasks) and not doubted:
            self.unsettled_since = None
        elif self.unsettled_since is None:
            self.unsettled_since = self._clock.monotonic()
        self.stir()

    def remembers(self, task_id: str) -> bool:
        """Whether a task is still of interest."""
        return (self.undone is not None and self.undone.id == task_id) or any(task.id == task_id for task in self.tasks)

    def _note_failure(self) -> None:
        """Remember what fails while an update goes on: nothing may tell it once the version before is back.

        Tasks are asked for more often than services, so that they may tell of an update which the service does not yet.
        """
        before, state = self._update_state, self.service.update_state
        self._update_state = state
        if state != before and (state == "completed" or _rollback(before)) and not _rollback(state):
            self.undone = None
        self.undone = self._complaint() or self.undone

    def _complaint(self) -> Task | None:
        """The task that says best what is wrong now."""
        service, rolled_back = self.service, _rollback(self.service.update_state)
        newest = newest_complaint(self.tasks, replacing=service.updating or rolled_back)
        if not rolled_back:
            return newest
        # The task that failed is named; another one has taken its place since.
        blamed = _TASK_ID.search(service.update_message)
        named = blamed[1] if blamed else ""
        return next((task for task in self.tasks if task.id == named), newest)

    def hear(self, task_id: str, *, started: bool) -> None:
        """The container of a task has started or ended, on the machine of the engine that we ask."""
        if len(self._heard) >= _HEARD_OF:
            self._heard.clear()
        self._heard[task_id] = started
        if not started and self.replicas.pop(task_id, None) is not None:
            self.unsettled_since = self._clock.monotonic()
            self.stir()

    def hear_end(self, task_id: str) -> None:
        """A container there is unhealthy, for which Swarm will end it, or was told to end: no new call is for it."""
        if task_id not in self.replicas:
            return
        now = self._clock.monotonic()
        self._ending = {each: until for each, until in self._ending.items() if until > now}
        # Somebody may have sent a signal that the container does not heed.
        self._ending[task_id] = now + self._settings.stop_grace_s + _END_FOLLOWS_S
        del self.replicas[task_id]
        self.unsettled_since = now
        self.stir()

    def _alive(self, task_id: str) -> bool:
        return self._heard.get(task_id) is not False and self._ending.get(task_id, 0.0) <= self._clock.monotonic()

    def forget(self) -> None:
        """The service is gone."""
        self.gone = True
        self.replicas.clear()
        for tell in list(self.listeners):
            tell(None)
        self.stir()

    def stir(self) -> None:
        """Something has changed: whoever waits looks again."""
        for future in self._changed:
            if not future.done():
                future.set_result(None)

    @property
    def wanted(self) -> int:
        """Wanted replicas."""
        return self.service.replicas

    @property
    def available(self) -> int:
        """Replicas that take calls."""
        return sum(replica.ready and not replica.suspect for replica in self.replicas.values())

    @property
    def problem(self) -> str | None:
        """What keeps it from its replicas, or from its newest version, in words."""
        service = self.service
        rolled_back = _rollback(service.update_state)
        complaint = self._complaint() or (self.undone if rolled_back else None)
        said = self._said(complaint) if complaint is not None and service.replicas else ""
        if rolled_back:
            return f"the last update failed, the version before it serves: {said or service.update_message}"
        if service.update_state == "paused":
            return f"its update stopped half-way: {said or service.update_message}"
        if said:
            return f"{said}: unhealthy? {_SHELL}" if "unhealthy" in said else said
        return self._unreachable()

    def _said(self, task: Task) -> str:
        words = self.last_words.get(task.id)
        return f"{task.complaint()}; its last lines: {words}" if words else task.complaint()

    def _unreachable(self) -> str | None:
        assert self._network is not None
        serving = [task for task in self.tasks if task.serving]
        if serving and not any(task.addresses.get(self._network.id) for task in serving):
            return f"its tasks are not on the network {self._network.name}, so that nothing reaches them from here"
        now = self._clock.monotonic()
        silent = [each for each in self.replicas.values() if not each.ready and now - each.seen_at > _SILENT_S]
        if silent and not self.available:
            return (
                f"its tasks run and do not answer at {silent[0].host}:{PORT}: is the gateway on the network"
                f" {self._network.name}, and does the function listen on port {PORT}?"
            )
        return None

    # --- calls

    async def acquire(self) -> TaskLease:
        """The replica for one call; waits for one that starts. Raises FunctionUnavailable."""
        replica = self._choose()
        if replica is None:
            self.waiting += 1
            try:
                replica = await self._next()
            finally:
                self.waiting -= 1
        replica.in_flight += 1
        replica.turn = next(self._turns)
        host = replica.host
        if self._settings.endpoint_mode == "vip" and self._network is not None:
            host = self.service.addresses.get(self._network.id, host)
        return TaskLease(self, replica, host)

    def _choose(self) -> Replica | None:
        views = (
            balance.View(key, each.in_flight, each.turn, each.suspect)
            for key, each in self.replicas.items()
            if each.ready
        )
        key = balance.choose(views, self._settings.balance)
        return None if key is None else self.replicas[key]

    async def _next(self) -> Replica:
        limit_s = self._settings.start_s
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    if self.gone:
                        raise FunctionUnavailable(f"the function {self.name} was removed")
                    replica = self._choose()
                    if replica is not None:
                        return replica
                    if self.service.replicas == 0 and self.service.scalable:
                        await self._woken()
                        continue
                    hopeless = self._hopeless()
                    if hopeless is not None:
                        raise FunctionUnavailable(f"no replica of {self.name} runs: {hopeless}")
                    await self._change()
        except TimeoutError:
            why = self.problem or "it is still starting"
            raise FunctionUnavailable(f"no replica of {self.name} was ready within {limit_s:g} s: {why}") from None

    async def _change(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(future)
        self._look()
        try:
            await future
        finally:
            self._changed.discard(future)

    async def _woken(self) -> None:
        """Scaled up from zero, once for all who wait; one of them leaving does not stop it."""
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._scale_up(), name=f"wake {self.name}")
            # Everybody who waited may have left when it fails.
            self._waking.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._waking)

    async def _scale_up(self) -> None:
        try:
            await self._wake(self)
        except FunctionNotFound:
            raise
        except (EngineError, FunctionError) as error:
            raise FunctionUnavailable(f"the function {self.name} cannot be scaled up from zero: {error}") from error

    def _hopeless(self) -> str | None:
        """Why waiting is in vain: what was started since the last change failed again and again, or nobody takes it."""
        if any(task.serving for task in self.tasks):
            return None
        since = self.service.updated_at
        failed = [task for task in self.tasks if task.failed and task.created_at >= since]
        complaint = newest_complaint(self.tasks, replacing=False)
        if complaint is None:
            return None
        age_s = (self._clock.now() - complaint.created_at).total_seconds()
        pending = complaint.state == "pending" and age_s > _HOPELESS_PENDING_S
        return self._said(complaint) if pending or len(failed) >= _HOPELESS_FAILURES else None

    # --- looking at replicas

    def doubt(self, replica: Replica) -> None:
        """A call found it unreachable: nobody else gets it until it was looked at."""
        replica.suspect = True
        if self.unsettled_since is None:
            self.unsettled_since = self._clock.monotonic()
        self._look()
        self._examine(replica)

    def _examine(self, replica: Replica) -> None:
        if replica.examined or (replica.ready and not replica.suspect):
            return
        replica.examined = True
        self._background.spawn(self._ask_until_sound(replica), f"health of {self.name}")

    async def _ask_until_sound(self, replica: Replica) -> None:
        pause_s, began = _FIRST_PAUSE_S, self._clock.monotonic()
        try:
            while self._too_early(replica):
                await self._clock.sleep(_FIRST_PAUSE_S)
            while self.replicas.get(replica.task.id) is replica and not await self._sound(replica):
                await self._clock.sleep(pause_s)
                if self._clock.monotonic() - began > _EAGER_S:
                    pause_s = min(pause_s * 1.3, _LAST_PAUSE_S)
            replica.ready, replica.suspect = True, False
        finally:
            replica.examined = False
        self._look()
        self.stir()

    def _too_early(self, replica: Replica) -> bool:
        if replica.task.state != "starting" or self._heard.get(replica.task.id):
            return False
        limit_s = _NOT_HEARD_S if replica.task.node_id == self._engine_node() else _TOO_EARLY_S
        return self._clock.monotonic() - replica.seen_at < limit_s

    async def _sound(self, replica: Replica) -> bool:
        try:
            said = await health.ask(replica.host, PORT)
        except TimeoutError:
            # It takes connections. One that served before may be busy with a call.
            return replica.ready
        except OSError:
            return False
        if said.status in range(1, 500) or replica.ready:
            return True
        return replica.task.state == "running" and self._clock.monotonic() - replica.seen_at > _BUSY_S


_SHELL = (
    "where the image has no shell, or its function serves no HTTP, set the annotation io.gpio-bridge.health to none"
)


def _rollback(update_state: str) -> bool:
    return update_state.startswith("rollback")
