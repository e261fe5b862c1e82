"""`/api/v1/stacks`: the stacks of the swarm, what they write, and how they are deployed, rolled back and removed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import StreamingResponse

from bridge.clock import Clock
from bridge.errors import ConfigError, EngineError, StackError
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT, places
from bridge.manager.api.bodies import read_yaml
from bridge.manager.api.caller import Caller, Desk, caller_of
from bridge.manager.api.entity import answer, document
from bridge.manager.api.lines import Lines
from bridge.manager.api.schemas import BODY, EVERYWHERE, EXAMPLE_STACK, gives, takes_yaml
from bridge.manager.problems import Refusal
from bridge.manager.stack.condition import stack_condition, stack_names
from bridge.manager.stack.deployment import DeployOptions, StackDeployment
from bridge.manager.stack.deployments import Deployment, Deployments, Tell, UnderWay, What
from bridge.manager.stack.output import output
from bridge.manager.stack.received import received_compose_file
from bridge.manager.stack.removal import remove_stack
from bridge.manager.stack.rollback import roll_back
from bridge.manager.stack.service import STACK_NAME
from bridge.manager.stack.swarm_parts import documents_of
from bridge.manager.swarm import Swarm
from bridge.swarm.engine import Engine

MAX_FOLLOWERS: Final = 16

StackPath = Annotated[str, Path(pattern=f"^{STACK_NAME}$", description="The stack's name.")]
Services = Annotated[
    list[str] | None, Query(alias="service", max_length=100, description="Which services; without any, all.")
]


class How(BaseModel):
    """How to deploy, as the query says."""

    prune: bool = Field(True, description="Remove services that the file no longer has.")
    resolve: bool = Field(True, description="Ask registries for the images' digests.")
    force: bool = Field(False, description="Deploy in spite of what was found beforehand.")
    timeout_s: float = Field(300.0, ge=1, le=3600, description="How long all of it may take to run.")
    settle_s: float = Field(5.0, ge=0, le=600, description="So long all must have run without a break.")


class Stacks:
    """The handlers; `routes` puts them in place."""

    def __init__(self, swarm: Swarm, deployments: Deployments, clock: Clock) -> None:
        self._swarm = swarm
        self._deployments = deployments
        self._clock = clock
        self._followers = 0

    def routes(self, desk: Desk) -> APIRouter:
        """The paths of this file."""
        router = APIRouter(prefix=f"{ROOT}/stacks", tags=["stacks"])
        viewer, admin = [desk.of(Role.VIEWER)], [desk.of(Role.ADMIN)]
        add = router.add_api_route
        add(
            "",
            self.listed,
            methods=["GET"],
            dependencies=viewer,
            summary="The stacks of the swarm, those of the Docker CLI included.",
            responses=gives("Stacks", *EVERYWHERE, 304, 503),
        )
        add(
            "/{stack}",
            self.read,
            methods=["GET"],
            dependencies=viewer,
            summary="A stack's services, where their tasks run, and why one does not.",
            responses=gives("Stack", *EVERYWHERE, 304, 404, 422, 503),
        )
        add(
            "/{stack}/logs",
            self.logs,
            methods=["GET"],
            dependencies=viewer,
            summary="What a stack's services wrote, one JSON object a line.",
            responses=gives(None, *EVERYWHERE, 404, 422, 503),
            response_class=StreamingResponse,
        )
        add(
            "/{stack}",
            self.deploy,
            methods=["PUT"],
            dependencies=admin,
            summary="Deploy a compose file, which names no files; how it goes is told by the deployment.",
            responses=gives("Deployment", *EVERYWHERE, *BODY, 409, 503, success=202),
            openapi_extra=takes_yaml(EXAMPLE_STACK),
        )
        add(
            "/{stack}",
            self.remove,
            methods=["DELETE"],
            dependencies=admin,
            summary="Remove a stack: services, configs, secrets and networks, and no volumes.",
            responses=gives("Deployment", *EVERYWHERE, 404, 409, 422, 503, success=202),
        )
        add(
            "/{stack}/deployment",
            self.deployment,
            methods=["GET"],
            dependencies=viewer,
            summary="The deployment or removal that goes on, or went on last.",
            responses=gives("Deployment", *EVERYWHERE, 304, 404, 422),
        )
        add(
            "/{stack}/rollback",
            self.roll_back,
            methods=["POST"],
            dependencies=admin,
            summary="Put services back to what they were before their last update.",
            responses=gives("RolledBack", *EVERYWHERE, 404, 409, 422, 503),
        )
        return router

    async def listed(self, request: Request) -> Response:
        """All of them by name."""
        found = []
        async with self._swarm.asked() as engine:
            for name in await stack_names(engine):
                with contextlib.suppress(StackError):  # it was removed meanwhile
                    services = await stack_condition(engine, name)
                    well = all(each.well for each in services)
                    found.append({"name": name, "services": len(services), "well": well})
        return document(request, {"stacks": found})

    async def read(self, request: Request, stack: StackPath) -> Response:
        """One of them."""
        async with self._swarm.asked() as engine:
            try:
                services = await stack_condition(engine, stack)
            except StackError as error:
                raise Refusal(404, str(error)) from error
        shown = [each.document() for each in services]
        return document(request, {"name": stack, "well": all(each.well for each in services), "services": shown})

    async def logs(
        self,
        request: Request,
        stack: StackPath,
        *,
        services: Services = None,
        tail: Annotated[int, Query(ge=0, le=10_000, description="The newest lines of each service.")] = 100,
        follow: Annotated[bool, Query(description="Go on until the client leaves.")] = False,
    ) -> Response:
        """The lines as they are gathered."""
        if follow and self._followers >= MAX_FOLLOWERS:
            raise Refusal(503, f"{MAX_FOLLOWERS} clients follow logs already, and that is the limit")
        async with self._swarm.asked() as engine:
            await _services_of(engine, stack, services)
        lines = self._lines(stack, services or [], tail, follow=follow)
        return Lines(lines, caller_of(request).stands, self._clock)

    async def deploy(self, request: Request, stack: StackPath, how: Annotated[How, Query()]) -> Response:
        """Begin a deployment."""
        self._refuse_own(stack, "deployed", "deploy")
        try:
            file = received_compose_file(await read_yaml(request))
        except ConfigError as error:
            raise places.of_file(error, "the compose file has mistakes") from error
        options = DeployOptions(
            prune=how.prune,
            resolve_images=how.resolve,
            timeout_s=how.timeout_s,
            settle_s=how.settle_s,
            force=how.force,
        )

        async def work(engine: Engine, tell: Tell) -> None:
            await StackDeployment(engine, stack, file, options, tell, self._clock).run()

        async with self._swarm.asked():
            return self._begin(caller_of(request), stack, "deploy", work)

    async def remove(self, request: Request, stack: StackPath) -> Response:
        """Begin a removal."""
        self._refuse_own(stack, "removed", "rm")
        self._refuse_under_way(stack)  # what is being deployed may have nothing yet that could be found

        async def work(engine: Engine, tell: Tell) -> None:
            await remove_stack(engine, stack, tell, self._clock)

        async with self._swarm.asked() as engine:
            # What a removal that failed has left may have no service any more.
            kinds = [await documents_of(engine, kind, stack) for kind in ("services", "networks", "secrets", "configs")]
            if not any(kinds):
                raise Refusal(404, f"there is no stack {stack}")
            return self._begin(caller_of(request), stack, "remove", work)

    async def deployment(self, request: Request, stack: StackPath) -> Response:
        """How it goes."""
        found = self._deployments.last(stack)
        if found is None:
            raise Refusal(404, f"nothing was done with the stack {stack} since the manager was started")
        return document(request, found.document())

    async def roll_back(self, request: Request, stack: StackPath, services: Services = None) -> Response:
        """Begin to go back; Swarm does the rest."""
        told: list[str] = []
        async with self._swarm.asked() as engine:
            await _services_of(engine, stack, services)
            try:
                self._deployments.refuse_under_way(stack)
                await roll_back(engine, stack, services or (), lambda name, _: told.append(name))
            except (StackError, UnderWay) as error:
                raise Refusal(409, str(error)) from error
            finally:
                if told:
                    caller_of(request).note("stack rolled back", f"{stack}: {', '.join(told)}")
        return answer({"services": told})

    def _refuse_own(self, stack: str, done: str, command: str) -> None:
        if stack == self._swarm.own_stack:
            raise Refusal(
                409,
                f"this manager is a part of {stack}, and would end before it is {done}; on a manager of the swarm,"
                f" type: gpio-bridge stack {command}",
            )

    def _refuse_under_way(self, stack: str) -> None:
        try:
            self._deployments.refuse_under_way(stack)
        except UnderWay as error:
            raise Refusal(409, str(error)) from error

    def _begin(self, caller: Caller, stack: str, what: What, work: Any) -> Response:
        done = "deployed" if what == "deploy" else "removed"

        async def undertaken(tell: Tell) -> None:
            async with self._swarm.connected() as engine:
                await work(engine, tell)

        def ended(one: Deployment) -> None:
            well = one.state == "succeeded"
            caller.note(f"stack {done}" if well else f"stack not {done}", stack, status=200 if well else 409)

        try:
            begun = self._deployments.begin(stack, what, caller.bearer.name, undertaken, ended)
        except UnderWay as error:
            raise Refusal(409, str(error)) from error
        caller.note(f"stack to be {done}", stack, status=202)
        location = {"Location": f"/api/v1/stacks/{stack}/deployment"}
        return Response(orjson.dumps(begun.document()), 202, {"Content-Type": "application/json", **location})

    async def _lines(self, stack: str, services: list[str], tail: int, *, follow: bool) -> AsyncGenerator[bytes, None]:
        self._followers += follow
        try:
            async with (
                self._swarm.connected() as engine,
                contextlib.aclosing(output(engine, stack, services, tail=tail, follow=follow)) as lines,
            ):
                async for line in lines:
                    shown = {"at": line.at.isoformat(), "instance": line.instance, "text": line.text}
                    yield orjson.dumps(shown) + b"\n"
        except (StackError, EngineError, Refusal) as error:
            # The answer has begun: a line is all that can say so.
            yield orjson.dumps({"error": str(error)}) + b"\n"
        finally:
            self._followers -= follow


async def _services_of(engine: Engine, stack: str, wanted: list[str] | None) -> None:
    """Refuses a stack that is not there, and services that it does not have: 404."""
    there = {
        str(each["Spec"]["Name"]).removeprefix(f"{stack}_") for each in await documents_of(engine, "services", stack)
    }
    if not there:
        raise Refusal(404, f"there is no stack {stack}")
    unknown = [name for name in wanted or () if name not in there]
    if unknown:
        raise Refusal(404, f"the stack {stack} has no service {', '.join(unknown)}; it has {', '.join(sorted(there))}")
