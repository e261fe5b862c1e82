"""Deploys a stack file: looks first, makes what is missing, changes what differs, and waits until all of it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.clock import Clock
from bridge.errors import EngineError, StackError
from bridge.manager.stack.contents import KINDS, Wanted, superseded, wanted
from bridge.manager.stack.convergence import Course, Progress, made_of_the_same, progress
from bridge.manager.stack.document import ComposeFile
from bridge.manager.stack.images import Unresolved, registry_header, resolve
from bridge.manager.stack.preflight import Finding, findings
from bridge.manager.stack.service import Image, Parts, scoped, service_document
from bridge.manager.stack.swarm_parts import Contents, Networks, documents_of, missing
from bridge.manager.stack.turns import turns
from bridge.swarm.cluster_nodes import ClusterNode, read_cluster_node
from bridge.swarm.engine import Engine
from bridge.swarm.last_words import last_words
from bridge.swarm.membership import read_membership
from bridge.swarm.services import container_of, moment, read_service, without_digest
from bridge.swarm.tasks import read_task

_log = logging.getLogger(__name__)

_LOOK_S = 0.5
_LEFT = "is left: something still needs it"

Tell = Callable[[str, str], None]
"""Called with a part's name and what became of it, in the order in which it happens."""


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """How to deploy. `timeout_s` bounds the wait until everything runs; None waits for nothing."""

    prune: bool = True
    """Remove services of the stack that the file no longer has."""
    resolve_images: bool = True
    """Ask the registries for digests, so that every cluster node runs the same image."""
    registry_config: Path | None = None
    timeout_s: float | None = 300.0
    settle_s: float = 5.0
    """So long everything must have run without a break."""
    force: bool = False
    """Deploy in spite of what was found beforehand."""


@dataclass(slots=True)
class _Before:
    """What was there before anything was changed, and what the file wants."""

    cluster_nodes: list[ClusterNode]
    services: dict[str, dict[str, Any]]
    """The stack's own, by Docker's name."""
    images: dict[str, Image]
    contents: list[Wanted]
    findings: list[Finding] = field(default_factory=list)


class StackDeployment:
    """One deployment of one stack file."""

    def __init__(
        self, engine: Engine, stack: str, file: ComposeFile, options: DeployOptions, tell: Tell, clock: Clock
    ) -> None:
        self._engine, self._stack, self._file = engine, stack, file
        self._options, self._tell, self._clock = options, tell, clock
        self._networks = Networks(engine, stack, file)
        self._courses: dict[str, str] = {}
        """What was told last of how far each service is."""

    async def run(self) -> None:
        """Deploy, and wait. Raises StackError when it cannot be or does not become well, EngineError.

        What is updated in one turn runs before the next one begins, so that what works together is not away together.
        """
        before = await self._look()
        since = await self._engine_time()
        parts = await self._make_parts(before)
        timeout_s = self._options.timeout_s
        deadline_s = None if timeout_s is None else self._clock.monotonic() + timeout_s
        *earlier, last = turns({name: service.deploy.labels for name, service in self._file.services.items()})
        for turn in earlier:
            updated = [name for name in turn if await self._deploy_service(name, parts, before)]
            if updated and deadline_s is not None:
                await self._converge(updated, since, deadline_s, settle_s=0)
        for name in last:
            await self._deploy_service(name, parts, before)
        if self._options.prune:
            await self._prune(before)
        if deadline_s is not None:
            await self._converge(self._file.services, since, deadline_s, settle_s=self._options.settle_s)
            await self._clean(parts)

    async def findings(self) -> list[Finding]:
        """What would keep it from running; changes nothing."""
        return (await self._look(refuse=False)).findings

    # --- before

    async def _look(self, *, refuse: bool = True) -> _Before:
        complaint = read_membership(await self._engine.get("/info"), self._engine.address.host).complaint
        if complaint is not None:
            raise StackError(complaint)
        contents, problems = self._contents()
        cluster_nodes = [read_cluster_node(document) for document in await self._engine.get("/nodes")]
        services = await self._engine.get("/services") or []
        own = {str(each["Spec"]["Name"]): each for each in await documents_of(self._engine, "services", self._stack)}
        images, warnings = await self._images(own)
        problems += await self._missing(contents)
        problems += findings(self._stack, self._file, cluster_nodes, images, services)
        found = [*warnings, *problems]
        serious = [each for each in found if not each.warning]
        if refuse:
            for each in found:
                if each.warning or self._options.force:
                    self._tell(each.where, f"warning: {each.message}")
            if serious and not self._options.force:
                raise StackError("\n".join(map(str, serious)))
        return _Before(cluster_nodes, own, images, contents, found)

    def _contents(self) -> tuple[list[Wanted], list[Finding]]:
        found, problems = [], []
        for kind in KINDS:
            contents = self._file.secrets if kind == "secret" else self._file.configs
            for name, content in contents.items():
                try:
                    found.append(wanted(self._stack, kind, name, content))
                except (OSError, ValueError) as error:
                    problems.append(Finding(f"{kind}s.{name}", str(error)))
        return found, problems

    async def _images(self, own: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Image], list[Finding]]:
        names = list(dict.fromkeys(str(service.image) for service in self._file.services.values()))
        if not self._options.resolve_images:
            return {name: Image(name) for name in names}, []
        running = {
            without_digest(image): image
            for document in own.values()
            if (image := str(container_of(document["Spec"]).get("Image") or ""))
        }
        images, warnings = {}, []
        for name, resolved in zip(
            names, await resolve(self._engine, names, self._options.registry_config), strict=True
        ):
            if isinstance(resolved, Unresolved):
                # What runs already goes on with the image that it has.
                images[name] = Image(running.get(name, name))
                message = f"{name}: no registry tells its digest: {resolved.reason}"
                warnings.append(Finding("images", message, warning=True))
            else:
                images[name] = resolved
        return images, warnings

    async def _missing(self, contents: list[Wanted]) -> list[Finding]:
        found = [
            Finding(f"networks.{name}", f"there is no network {self._networks.docker_name(name)} in the swarm")
            for name in await self._networks.missing()
        ]
        for kind in KINDS:
            external = [each for each in contents if each.kind == kind and each.data is None]
            there = await Contents(self._engine, kind).all() if external else {}
            for each in external:
                if each.docker_name not in there:
                    where, _, message = missing(each).partition(": ")
                    found.append(Finding(where, message))
        return found

    async def _engine_time(self) -> Any:
        """Now, as the engine's machine has it: tasks are told by that clock."""
        return moment(str((await self._engine.get("/info"))["SystemTime"]))

    # --- changes

    async def _make_parts(self, before: _Before) -> Parts:
        networks, made = await self._networks.ensure()
        for name in made:
            self._tell(name, "network made")
        kept: dict[str, dict[str, tuple[str, str]]] = {"config": {}, "secret": {}}
        there = {kind: Contents(self._engine, kind) for kind in KINDS}
        for each in before.contents:
            content_id, new = await there[each.kind].ensure(each)
            kept[each.kind][each.name] = (content_id, each.docker_name)
            if new:
                self._tell(each.docker_name, f"{each.kind} made")
        return Parts(networks, kept["config"], kept["secret"])

    async def _deploy_service(self, name: str, parts: Parts, before: _Before) -> bool:
        """Make a service, or change it; whether it was there and was changed."""
        image = before.images[self._file.services[name].image]
        document = service_document(self._stack, name, self._file, parts, image)
        header = await registry_header(self._file.services[name].image, self._options.registry_config)
        there = before.services.get(scoped(self._stack, name))
        try:
            if there is None:
                await self._engine.post("/services/create", document, headers=header)
                self._tell(name, "service made")
                return False
            service = read_service(await self._engine.get(f"/services/{there['ID']}"))
            # A number that only grows: the tasks would be made anew if it went back.
            document["TaskTemplate"]["ForceUpdate"] = service.spec["TaskTemplate"].get("ForceUpdate") or 0
            path = f"/services/{service.id}/update"
            await self._engine.post(path, document, headers=header, version=service.version)
        except EngineError as error:
            raise type(error)(f"services.{name}: {error}", error.status) from error
        after = read_service(await self._engine.get(f"/services/{there['ID']}"))
        same = after.spec == service.spec
        self._tell(name, "service unchanged" if same else "service updated")
        return not same

    async def _prune(self, before: _Before) -> None:
        kept = {scoped(self._stack, name) for name in self._file.services}
        for docker_name, document in before.services.items():
            if docker_name not in kept:
                await self._engine.delete(f"/services/{document['ID']}")
                self._tell(docker_name.removeprefix(f"{self._stack}_"), "service removed: the file no longer has it")

    async def _clean(self, parts: Parts) -> None:
        """Remove configs and secrets of earlier deployments."""
        services = await self._engine.get("/services") or []
        specs = [spec for each in services for spec in (each["Spec"], each.get("PreviousSpec")) if spec]
        for kind in KINDS:
            current = [found for found, _ in (parts.secrets if kind == "secret" else parts.configs).values()]
            contents = Contents(self._engine, kind)
            kept = (await contents.all()).values()
            for content_id, docker_name in superseded(self._stack, kind, kept, current, specs):
                removed = await contents.remove(content_id)
                self._tell(docker_name, f"{kind} removed: no service needs it" if removed else f"{kind} {_LEFT}")

    # --- convergence

    async def _converge(self, names: Collection[str], since: Any, deadline_s: float, *, settle_s: float) -> None:
        """Wait until these services have all run for so long."""
        well_since_s: float | None = None
        while True:
            courses = await self._progress(names, since)
            for name, one in courses.items():
                if self._courses.get(name) != str(one):
                    self._courses[name] = str(one)
                    self._tell(name, str(one))
            failed = {name: one for name, one in courses.items() if one.course is Course.FAILED}
            if failed:
                raise StackError(await self._told("did not become well", failed))
            now_s = self._clock.monotonic()
            if all(one.course is Course.CONVERGED for one in courses.values()):
                well_since_s = now_s if well_since_s is None else well_since_s
                if now_s - well_since_s >= settle_s:
                    return
            else:
                well_since_s = None
            if now_s >= deadline_s:
                late = {name: one for name, one in courses.items() if one.course is not Course.CONVERGED}
                raise StackError(await self._told(f"does not run after {self._options.timeout_s:g} s", late))
            await self._clock.sleep(_LOOK_S)

    async def _told(self, became: str, courses: Mapping[str, Progress]) -> str:
        """A line for each, with the last words of the task that is to blame."""
        lines = []
        for name, one in courses.items():
            words = "" if one.blamed is None else await last_words(self._engine, one.blamed)
            lines.append(f"{name} {became}: {one}{f'; its last words: {words}' if words else ''}")
        return "\n".join(lines)

    async def _progress(self, names: Collection[str], since: Any) -> dict[str, Progress]:
        cluster_nodes = [read_cluster_node(document) for document in await self._engine.get("/nodes")]
        ready = [machine.id for machine in cluster_nodes if machine.ready]
        services = {
            str(each["Spec"]["Name"]): each for each in await documents_of(self._engine, "services", self._stack)
        }
        found = {}
        for name in names:
            document = services.get(scoped(self._stack, name))
            if document is None:
                raise StackError(f"the service {name} was removed while it was being deployed")
            raw = await self._engine.get("/tasks", filters={"service": [document["ID"]]}) or []
            current = {each["ID"] for each in raw if made_of_the_same(each, document)}
            tasks = sorted(map(read_task, raw), key=lambda task: (task.created_at, task.id))
            found[name] = progress(read_service(document), tasks, since=since, current=current, cluster_nodes=ready)
        return found
