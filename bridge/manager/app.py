"""The application behind the door: FastAPI, with problem documents for whatever goes wrong in it.

Loaded in a thread when it is first needed; nothing of it is imported with the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.routing import Match

from bridge import __version__
from bridge.clock import Clock
from bridge.config import NAME
from bridge.errors import JournalError
from bridge.journal.engine import Journal
from bridge.manager.access.audit import Audit
from bridge.manager.access.guard import Guard
from bridge.manager.api import (
    audit,
    dead_letters,
    dispatchers,
    dry_run,
    events,
    history,
    nodes,
    secrets,
    targets,
    topic_annotations,
    traces,
)
from bridge.manager.api.caller import Desk
from bridge.manager.api.cluster import Cluster
from bridge.manager.api.file import MappingFileApi
from bridge.manager.api.functions import FunctionsApi
from bridge.manager.api.mappings import Mappings, Shelf
from bridge.manager.api.schemas import finished
from bridge.manager.api.stacks import Stacks
from bridge.manager.bus import Bus
from bridge.manager.dispatcher import DispatcherApi
from bridge.manager.door import REQUEST_ID
from bridge.manager.feed import Feed
from bridge.manager.functions import Functions
from bridge.manager.history.recorder import Recorder
from bridge.manager.mappings.in_force import InForce
from bridge.manager.mappings.store import MappingStore
from bridge.manager.nodes import Nodes
from bridge.manager.problems import MEDIA_TYPE, Place, Refusal, problem
from bridge.manager.settings import ManagerSettings
from bridge.manager.stack.deployments import Deployments
from bridge.manager.swarm import Swarm
from bridge.manager.targets import Targets
from bridge.manager.topic_annotations import TopicAnnotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the API is about."""

    settings: ManagerSettings
    store: MappingStore
    journal: Journal
    guard: Guard
    audit: Audit
    bus: Bus
    in_force: InForce
    annotations: TopicAnnotations
    functions: Functions
    swarm: Swarm
    deployments: Deployments
    nodes: Nodes
    recorder: Recorder
    targets: Targets
    feed: Feed
    dropped: Callable[[str], None]
    dispatcher_url: Callable[[], str]
    clock: Clock


DESCRIPTION: Final = (
    "The manager of gpio-bridge. Errors are problem documents (RFC 9457): `detail` says what is wrong, `errors` where,"
    " and `request_id` finds it in the log."
)
_METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
_DETAILS: Final = {404: "there is nothing at this path", 405: "this method means nothing here"}


def make(parts: Parts) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="gpio-bridge manager",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # its pages are made of scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _invalid_socket)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(JournalError, _no_disk)
    shelf, desk = Shelf(parts.store), Desk(parts.guard, parts.audit, parts.settings.http.origins)
    dispatcher = DispatcherApi(parts.dispatcher_url)
    for router in (
        # The whole file first: its paths stand where a mapping's name does.
        MappingFileApi(shelf, parts.journal).routes(desk),
        dry_run.routes(shelf, parts.in_force, parts.settings, dispatcher, parts.clock, desk),
        topic_annotations.routes(parts.annotations, parts.store, desk),
        Mappings(shelf).routes(desk),
        dispatchers.routes(parts.bus, desk),
        FunctionsApi(parts.functions, parts.clock).routes(desk),
        secrets.routes(parts.functions, desk),
        Cluster(parts.swarm).routes(desk),
        Stacks(parts.swarm, parts.deployments, parts.clock).routes(desk),
        history.routes(parts.recorder, parts.nodes, parts.clock, desk),
        nodes.routes(parts.nodes, parts.targets, parts.clock, desk),
        targets.routes(parts.targets, desk),
        dead_letters.routes(dispatcher, desk),
        events.routes(parts.feed, parts.dropped, desk),
        traces.routes(dispatcher, parts.feed, parts.dropped, desk),
        audit.routes(parts.audit, desk),
    ):
        # Not included, as FastAPI calls it: that makes each of them once more, which is half of what loading costs.
        app.router.routes.extend(router.routes)
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        return finished(plain())

    app.openapi = openapi  # type: ignore[method-assign] # the documented way to add to the document
    return app


def answer(request: HTTPConnection, refusal: Refusal) -> Response:
    """The problem document of a refusal."""
    body = problem(refusal.status, str(refusal), request.scope[REQUEST_ID], refusal.errors)
    return Response(body, refusal.status, {"Content-Type": MEDIA_TYPE, **refusal.headers})


async def _refused(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    response = answer(connection, error)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
    return response


def _no_disk(request: Request, error: Exception) -> Response:
    return answer(request, Refusal(503, str(error)))


def _http(request: Request, error: Exception) -> Response:
    """What FastAPI itself refuses: a path or a method that is not there."""
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The framework names those of one route, and a path has one for each method.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer(request, Refusal(error.status_code, detail, headers=headers))


def _methods(request: Request) -> set[str]:
    """What may be done at a path."""
    routes = request.app.routes
    found = {
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    }
    return found | ({"HEAD"} if "GET" in found else set())


def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong with parameters: each with its name."""
    assert isinstance(error, RequestValidationError)
    return answer(request, _places(error.errors()))


async def _invalid_socket(websocket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)
    await websocket.send_denial_response(answer(websocket, _places(error.errors())))


def _places(errors: Sequence[Any]) -> Refusal:
    places = [
        Place(f"{'/'.join(str(part) for part in one['loc'][1:])} ({one['loc'][0]}): {_said(one)}") for one in errors
    ]
    return Refusal(422, "; ".join(place.detail for place in places), errors=places)


def _said(error: Any) -> str:
    """What is wrong with one parameter; of names what the files' reader says too, and no regular expression."""
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == f"^{NAME.regex}$":
        return f"must be {NAME.text}"
    return str(error["msg"])
