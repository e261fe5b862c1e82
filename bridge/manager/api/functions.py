"""`/api/v1/functions`: what the gateway runs, how much of each, and what it writes; passed on to the gateway."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from bridge.clock import Clock
from bridge.errors import ConfigError, FunctionError
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT, places
from bridge.manager.api.bodies import read_object, read_yaml
from bridge.manager.api.caller import Desk, caller_of
from bridge.manager.api.entity import answer, document
from bridge.manager.api.lines import Lines
from bridge.manager.api.schemas import BODY, EVERYWHERE, EXAMPLE_FUNCTIONS, gives, takes, takes_yaml
from bridge.manager.functions import Functions
from bridge.manager.problems import Place, Refusal
from bridge.openfaas.deployment import Deployment, parse_deployment
from bridge.openfaas.stack_file import received_stack_file

MAX_REPLICAS: Final = 10_000
_PASSED_ON: Final = ("content-type", "accept")

FunctionPath = Annotated[
    str, Path(pattern=r"^[a-zA-Z0-9]([-a-zA-Z_0-9]{0,61}[a-zA-Z0-9])?$", description="The function's name.")
]


class FunctionsApi:
    """The handlers; `routes` puts them in place."""

    def __init__(self, functions: Functions, clock: Clock) -> None:
        self._functions = functions
        self._clock = clock

    def routes(self, desk: Desk) -> APIRouter:
        """The paths of this file."""
        router = APIRouter(prefix=f"{ROOT}/functions", tags=["functions"])
        viewer, operator, admin = ([desk.of(role)] for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN))
        add = router.add_api_route
        add(
            "",
            self.listed,
            methods=["GET"],
            dependencies=viewer,
            summary="The functions that the gateway knows, by name.",
            responses=gives("Functions", *EVERYWHERE, 304, 404, 409, 503),
        )
        add(
            "",
            self.deploy_file,
            methods=["POST"],
            dependencies=admin,
            summary="Deploy the functions of a stack.yml, or replace those that are there.",
            responses=gives("DeployedFunctions", *EVERYWHERE, *BODY, 404, 409, 503),
            openapi_extra=takes_yaml(EXAMPLE_FUNCTIONS),
        )
        add(
            "/{name}",
            self.deploy,
            methods=["PUT"],
            dependencies=admin,
            summary="Deploy one function, or replace it: a deployment as OpenFaaS' gateway takes it.",
            responses={
                **gives("DeployedFunction", *EVERYWHERE, *BODY, 409, 503),
                201: gives("DeployedFunction", success=201)[201],
            },
            openapi_extra=takes(("application/json", "FunctionDeployment")),
        )
        add(
            "/{name}",
            self.remove,
            methods=["DELETE"],
            dependencies=admin,
            summary="Remove a function.",
            status_code=204,
            response_class=Response,
            responses=gives(None, *EVERYWHERE, 404, 409, 422, 503, success=204),
        )
        add(
            "/{name}",
            self.read,
            methods=["GET"],
            dependencies=viewer,
            summary="One function.",
            responses=gives("Function", *EVERYWHERE, 304, 404, 409, 422, 503),
        )
        add(
            "/{name}/scale",
            self.scale,
            methods=["POST"],
            dependencies=operator,
            summary="Set how many replicas a function has.",
            responses=gives("Function", *EVERYWHERE, *BODY, 404, 409, 503),
            openapi_extra=takes(("application/json", "Scale")),
        )
        add(
            "/{name}/invoke",
            self.invoke,
            methods=["POST"],
            dependencies=operator,
            summary="Invoke a function with the body as it is, and say what it answered.",
            responses=gives("Invoked", *EVERYWHERE, 404, 409, 413, 422, 503),
        )
        add(
            "/{name}/logs",
            self.logs,
            methods=["GET"],
            dependencies=viewer,
            summary="What a function's replicas wrote, one JSON object a line.",
            responses=gives(None, *EVERYWHERE, 404, 409, 422, 503),
            response_class=StreamingResponse,
        )
        return router

    async def listed(self, request: Request) -> Response:
        """All of them."""
        found = (await self._functions.ask("GET", "/system/functions")).json()
        return document(request, {"functions": sorted(map(shown, found), key=lambda one: str(one["name"]))})

    async def read(self, request: Request, name: FunctionPath) -> Response:
        """One of them."""
        return document(request, await self._read(name))

    async def deploy_file(self, request: Request) -> Response:
        """All functions of a file; those that can be deployed are, whatever becomes of the others."""
        text = await read_yaml(request)
        try:
            stack = await asyncio.to_thread(received_stack_file, text, "the stack file that was sent")
        except ConfigError as error:
            raise places.of_file(error, "the stack file has mistakes") from error
        done: dict[str, str] = {}
        failed: list[tuple[Refusal, Place]] = []
        for function in stack.functions:
            name = function.deployment.service
            try:
                done[name] = await self._deploy(request, function.deployment)
            except Refusal as refusal:
                failed.append((refusal, Place(f"{name} ({function.place}): {refusal}")))
        if failed:
            told = "; ".join(place.detail for _, place in failed)
            detail = f"{told}; deployed: {', '.join(done) or 'none'}"
            raise Refusal(failed[0][0].status, detail, errors=[place for _, place in failed])
        return answer({"functions": [{"name": name, "outcome": outcome} for name, outcome in done.items()]})

    async def deploy(self, request: Request, name: FunctionPath) -> Response:
        """One function; the same again changes nothing."""
        body = await read_object(request)
        try:
            wanted = parse_deployment({"service": name, **body})
        except FunctionError as error:
            raise Refusal(422, str(error), errors=[Place(str(error), pointer="")]) from error
        if wanted.service != name:
            detail = f"service: must be {name}, as the path says, or left out"
            raise Refusal(422, detail, errors=[Place(detail, pointer="/service")])
        outcome = await self._deploy(request, wanted)
        return answer({"name": name, "outcome": outcome}, 201 if outcome == "deployed" else 200)

    async def remove(self, request: Request, name: FunctionPath) -> Response:
        """One less."""
        await self._functions.ask("DELETE", "/system/functions", json={"functionName": name})
        caller_of(request).note("function removed", name)
        return Response(status_code=204)

    async def _deploy(self, request: Request, wanted: Deployment) -> str:
        new = await self._functions.put("/system/functions", wanted.document())
        outcome = "deployed" if new else "updated"
        caller_of(request).note(f"function {outcome}", f"{wanted.service}: {wanted.image}")
        return outcome

    async def scale(self, request: Request, name: FunctionPath) -> Response:
        """One of them with other replicas."""
        body = await read_object(request)
        replicas = body.get("replicas")
        if type(replicas) is not int or not 0 <= replicas <= MAX_REPLICAS or len(body) > 1:
            detail = f"send replicas alone, a whole number from 0 to {MAX_REPLICAS}"
            raise Refusal(422, detail, errors=[Place(detail, pointer="/replicas")])
        wanted = {"serviceName": name, "replicas": replicas}
        await self._functions.ask("POST", f"/system/scale-function/{name}", json=wanted)
        caller_of(request).note("function scaled", f"{name}: {replicas}")
        return answer(await self._read(name))

    async def invoke(
        self, request: Request, name: FunctionPath, timeout_s: Annotated[float, Query(ge=0.1, le=600)] = 60.0
    ) -> Response:
        """What one of them answers; its own errors are part of that, and no problem."""
        headers = {key: value for key in _PASSED_ON if (value := request.headers.get(key)) is not None}
        begun_s = self._clock.monotonic()
        found = await self._functions.invoke(name, await request.body(), headers, timeout_s)
        caller_of(request).note("function invoked", f"{name}: {found.status_code}")
        try:
            body = {"body": found.content.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(found.content).decode()}
        told = {"status": found.status_code, "content_type": found.headers.get("content-type", "")}
        return answer({**told, "duration_s": self._clock.monotonic() - begun_s, **body})

    async def logs(
        self,
        request: Request,
        name: FunctionPath,
        *,
        tail: Annotated[int, Query(ge=0, le=10_000, description="The newest lines of each replica.")] = 100,
        follow: Annotated[bool, Query(description="Go on until the client leaves.")] = False,
    ) -> Response:
        """The lines as they come."""
        params = {"name": name, "tail": str(tail), "follow": "true" if follow else "false"}
        async with AsyncExitStack() as stack:
            # Opened before the answer begins, so that what the gateway refuses is a problem.
            lines = await stack.enter_async_context(self._functions.lines("/system/logs", params))
            return Lines(_until_closed(lines, stack.pop_all()), caller_of(request).stands, self._clock)

    async def _read(self, name: str) -> dict[str, Any]:
        return shown((await self._functions.ask("GET", f"/system/function/{name}")).json())


def shown(status: dict[str, Any]) -> dict[str, Any]:
    """A function as the API shows it, of what any OpenFaaS gateway says; its variables may be secrets."""
    return {
        "name": status["name"],
        "image": status.get("image") or "",
        "replicas": int(status.get("replicas") or 0),
        "available": int(status.get("availableReplicas") or 0),
        "invocations": int(status.get("invocationCount") or 0),
        "created_at": status.get("createdAt") or "",
        "labels": status.get("labels") or {},
        "annotations": status.get("annotations") or {},
        "problem": status.get("problem") or "",
    }


async def _until_closed(lines: AsyncGenerator[bytes, None], opened: AsyncExitStack) -> AsyncGenerator[bytes, None]:
    async with opened:
        async for line in lines:
            yield line
