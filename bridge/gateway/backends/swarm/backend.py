"""The swarm backend: each function is a service of a Docker Swarm, called task by task over an overlay network."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Self

from bridge.clock import Clock
from bridge.errors import EngineError, EngineUnavailable, FunctionError, FunctionNotFound, FunctionUnavailable
from bridge.gateway.backends import BackendInfo, Lease, LogQuery
from bridge.gateway.backends.swarm.function import SwarmFunction
from bridge.gateway.backends.swarm.logs import FunctionLog
from bridge.gateway.backends.swarm.secrets import DockerSecrets
from bridge.gateway.backends.swarm.translation import STACK_LABEL, function_name, service_spec
from bridge.gateway.backends.swarm.upkeep import Upkeep
from bridge.gateway.backends.swarm.usage import UsageMeter
from bridge.gateway.backends.swarm.watch import Watch
from bridge.gateway.background import Background
from bridge.gateway.settings import GatewaySettings
from bridge.openfaas.deployment import Deployment, FunctionStatus, LogLine
from bridge.openfaas.stack_file import load_stack
from bridge.swarm import registry, revision
from bridge.swarm.engine import Engine
from bridge.swarm.last_words import last_words
from bridge.swarm.services import Service, read_service
from bridge.swarm.settings import told_address
from bridge.swarm.tasks import Task

_log = logging.getLogger(__name__)


class SwarmBackend:
    """Runs each function as a service of `replicas` tasks.

    The swarm keeps everything, so that a gateway has no state here and several may work at a time; functions go on
    when it stops. While the engine is away, calls still reach the tasks that were known before.
    """

    info = BackendInfo("gpio-bridge", "swarm")

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        clock: Clock,
        background: Background,
        restarted: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        swarm = self._swarm = settings.swarm
        self._settings = settings
        self._clock = clock
        self._background = background
        self._restarted = restarted
        self._environ = environ
        self._engine = Engine(told_address(swarm.host, swarm.tls), timeout_s=swarm.timeout_s)
        self._watch = Watch(self._engine, swarm, clock, make=self._function, ended=self._ended)
        self._usage = UsageMeter(self._engine)
        self.secrets = DockerSecrets(self._engine, self._watch.connected, self._watch.refresh)
        self._upkeep = Upkeep(self._watch, self.secrets, clock, deploy=self._deploy, remove=self.remove)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._settings.functions is not None:
            entries = load_stack(self._settings.functions, self._environ)
            self._upkeep.entries = {entry.service: entry for entry in entries}
        await self._stack.enter_async_context(self._engine)
        try:
            await self._watch.connect()
        except EngineUnavailable as error:
            # It may come up later than we do; until then we are not ready.
            _log.warning("The engine is away", extra={"op": "engine", "reason": str(error)})
            self._watch.problem = str(error)
        except EngineError as error:
            await self._stack.aclose()
            raise FunctionError(f"the gateway cannot use the swarm: {error}") from error
        loops = (
            self._background.spawn(self._watch.run(), "events of the swarm"),
            self._background.spawn(self._watch.look_at_tasks(), "tasks of the swarm"),
            self._background.spawn(self._upkeep.run(), "upkeep of the swarm"),
        )
        self._stack.push_async_callback(_end, loops)
        return self

    async def __aexit__(self, *exc: object) -> None:
        # First those who ask the engine, then the engine.
        await self._stack.aclose()

    # --- deployments

    async def deploy(self, deployment: Deployment) -> None:
        await self._deploy(deployment)

    async def update(self, deployment: Deployment) -> None:
        await self._deploy(deployment, only_update=True)

    async def remove(self, name: str) -> None:
        function = await self._find_now(name)
        try:
            await self._engine.delete(f"/services/{function.service.id}")
        except EngineError as error:
            raise self._told(name, error) from error
        await self._refresh()
        _log.info("Removed", extra={"op": "remove", "function": name})

    async def scale(self, name: str, replicas: int) -> None:
        if replicas > self._swarm.max_replicas:
            raise FunctionError(
                f"{replicas} replicas of {name} are more than this gateway is set to run"
                f" (swarm.max_replicas: {self._swarm.max_replicas})"
            )
        function = await self._find_now(name)
        if not function.service.scalable:
            raise FunctionError(f"the function {name} is a global service, which has one replica on each machine")
        await self._scale(function, lambda service: revision.with_replicas(service, replicas))

    # --- questions

    async def list(self) -> list[FunctionStatus]:
        await self._refresh()
        return [self._status(self._watch.functions[name]) for name in sorted(self._watch.functions)]

    async def describe(self, name: str, *, usage: bool = False) -> FunctionStatus:
        function = await self._find_now(name)
        try:
            await self._watch.refresh_tasks([function.service.id])
            status = self._status(function)
            if usage:
                used = await self._usage.usage(function.tasks, self._watch.node_id)
                status = replace(status, usage=used)
        except EngineError as error:
            raise self._told(name, error) from error
        return status

    def known(self, name: str) -> bool:
        if name in self._watch.functions:
            return True
        if not self._watch.ever or self._watch.problem is not None:
            raise EngineUnavailable(f"whether {name} is deployed cannot be told: {self._watch.problem}")
        return False

    def deployments(self) -> Mapping[str, Deployment]:
        return {name: function.deployment for name, function in self._watch.functions.items()}

    def wanted(self) -> Mapping[str, int]:
        return {name: function.wanted for name, function in self._watch.functions.items()}

    def logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        self._watch.connected()
        function = self._find(query.name)
        return FunctionLog(self._engine, function, query, self._clock, self._swarm.log_lines).read()

    def not_ready(self) -> str | None:
        if self._watch.problem is not None:
            return self._watch.problem
        reasons = [f"{name}: {problem}" for name, problem in sorted(self._upkeep.problems.items())]
        for name, function in sorted(self._watch.functions.items()):
            if function.wanted > 0 and function.available == 0:
                reasons.append(f"{name}: {function.problem or 'its replicas are starting'}")
        return "; ".join(reasons) or None

    async def acquire(self, name: str) -> Lease:
        try:
            self.known(name)
        except EngineUnavailable as error:
            # Not "not found": a call that was accepted before is made once the engine is back.
            raise FunctionUnavailable(str(error)) from error
        return await self._find(name).acquire()

    # --- inside

    def _find(self, name: str) -> SwarmFunction:
        function = self._watch.functions.get(name)
        if function is None:
            raise FunctionNotFound(f"the function {name} is not deployed")
        return function

    async def _find_now(self, name: str) -> SwarmFunction:
        """A function, asked for once more where it is not known: it may have been deployed a moment ago elsewhere."""
        self._watch.connected()
        if name not in self._watch.functions:
            await self._refresh()
        return self._find(name)

    def _function(self, name: str) -> SwarmFunction:
        return SwarmFunction(
            name,
            settings=self._swarm,
            clock=self._clock,
            background=self._background,
            wake=self._wake,
            look=self._watch.look,
            engine_node=lambda: self._watch.node_id,
        )

    def _ended(self, function: SwarmFunction, task: Task) -> None:
        _log.warning(
            "A task ended",
            extra={
                "op": "replica",
                "function": function.name,
                "instance": task.instance(function.service.name),
                "reason": task.complaint(),
            },
        )
        self._restarted(function.name)
        for tell in list(function.listeners):
            tell(task)
        if task.container_id and task.state != "rejected":
            self._background.spawn(self._note_last_words(function, task), f"last words of {function.name}")

    async def _note_last_words(self, function: SwarmFunction, task: Task) -> None:
        words = await last_words(self._engine, task)
        if words and function.remembers(task.id):
            function.last_words[task.id] = words

    async def _refresh(self) -> None:
        self._watch.connected()
        try:
            await self._watch.refresh()
        except EngineError as error:
            raise self._told("", error) from error

    async def _deploy(self, deployment: Deployment, stack: str | None = None, *, only_update: bool = False) -> None:
        name = deployment.service
        network = self._watch.connected()
        try:
            secrets = await self.secrets.newest() if deployment.secrets else {}
            headers = await self._credentials(deployment)

            def document(service: Service | None, replicas: int, revised: int) -> dict[str, Any]:
                spec = service_spec(
                    deployment,
                    service_name=name if service is None else service.name,
                    replicas=replicas,
                    network_id=network.id,
                    secrets=secrets,
                    settings=self._swarm,
                    revision=revised,
                    # What a client changes of a stack file's function is not undone until the file changes.
                    stack=stack or (None if service is None else service.labels.get(STACK_LABEL)),
                )
                return spec.document(self._engine.version)

            def renewed(service: Service) -> dict[str, Any]:
                # Also where nothing has changed: the image's name may stand for a newer image now.
                force = int((service.spec.get("TaskTemplate") or {}).get("ForceUpdate") or 0) + 1
                return document(service, max(service.replicas, deployment.scale_min), force)

            service_id = await self._service_id(name)
            if service_id is None:
                if only_update:
                    raise FunctionNotFound(f"the function {name} is not deployed")
                await self._engine.post("/services/create", document(None, deployment.scale_min, 0), headers=headers)
            else:
                await revision.change(self._engine, service_id, renewed, headers)
        except EngineError as error:
            raise self._told(name, error) from error
        self._upkeep.problems.pop(name, None)
        await self._refresh()
        _log.info("Deployed", extra={"op": "deploy", "function": name})

    async def _service_id(self, name: str) -> str | None:
        """The service that is the function; None when there is none. Raises FunctionError for another's name."""
        if name not in self._watch.functions:
            await self._watch.refresh()
        function = self._watch.functions.get(name)
        if function is not None:
            return function.service.id
        for each in await self._engine.get("/services", filters={"name": [name]}):
            service = read_service(each)
            if service.name == name and function_name(service) is None:
                raise FunctionError(f"{name}: the swarm has a service of this name that is no function")
        return None

    async def _credentials(self, deployment: Deployment) -> dict[str, str]:
        try:
            if deployment.registry_auth:
                return registry.given_header(deployment.image, deployment.registry_auth)
            if not deployment.image:
                return {}
            async with asyncio.timeout(self._swarm.timeout_s):
                return await asyncio.to_thread(registry.kept_header, deployment.image, self._swarm.registry_config)
        except TimeoutError:
            raise FunctionError(f"{deployment.service}: Docker's credential helper does not answer") from None
        except ValueError as error:
            raise FunctionError(f"{deployment.service}: {error}") from None

    async def _wake(self, function: SwarmFunction) -> None:
        self._watch.connected()
        replicas = max(1, function.deployment.scale_min)
        await self._scale(function, lambda service: revision.with_replicas(service, max(replicas, service.replicas)))

    async def _scale(self, function: SwarmFunction, alter: revision.Alter) -> None:
        before = function.wanted
        try:
            await revision.change(self._engine, function.service.id, alter)
            await self._watch.refresh()
        except EngineError as error:
            raise self._told(function.name, error) from error
        self._watch.look()
        _log.info("Scaling", extra={"op": "scale", "function": function.name, "from": before, "to": function.wanted})

    def _told(self, name: str, error: EngineError) -> Exception:
        """What a refusal of the engine means to a client; who finds the engine away lets it be connected anew."""
        if isinstance(error, EngineUnavailable):
            self._watch.lost(error)
            return error
        if error.status >= 500 or not name:
            return EngineUnavailable(str(error), error.status)
        if error.status == 404:
            return FunctionNotFound(f"the function {name} is not deployed: {error}")
        return FunctionError(f"{name}: {error}")

    def _status(self, function: SwarmFunction) -> FunctionStatus:
        service = function.service
        return FunctionStatus(
            function.deployment, function.wanted, function.available, service.created_at, None, function.problem
        )


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
