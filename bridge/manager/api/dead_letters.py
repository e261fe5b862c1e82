"""`/api/v1/deadletters`: what was given up, as the dispatcher keeps it; tried again, or forgotten."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.bodies import read_object
from bridge.manager.api.caller import Caller, Desk, caller_of
from bridge.manager.api.entity import answer, document, next_page
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes
from bridge.manager.dispatcher import DispatcherApi
from bridge.manager.problems import Place, Refusal

PLACE: Final = "/v1/deadletters"
MAX_NUMBER: Final = 2**53
"""The largest whole number that JSON carries unharmed everywhere (RFC 8259, 6)."""
MAX_NUMBERS: Final = 1000

Number = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
Text = Annotated[str | None, Query(max_length=200)]
OlderThan = Annotated[str | None, Query(max_length=40, description="Such as 2d.")]
Numbers = Annotated[str | None, Query(pattern="^[0-9]{1,15}(,[0-9]{1,15}){0,999}$", description="Such as 1,2.")]


def routes(dispatcher: DispatcherApi, desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=f"{ROOT}/deadletters", tags=["dead letters"])
    viewer, operator = [desk.of(Role.VIEWER)], [desk.of(Role.OPERATOR)]

    @router.get(
        "",
        dependencies=viewer,
        summary="The dead letters, newest first.",
        responses=gives("DeadLetters", *EVERYWHERE, 304, 422, 502, 503),
    )
    async def listed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
        mapping: Text = None,
        function: Text = None,
        older_than: OlderThan = None,
        numbers: Numbers = None,
    ) -> Response:
        chosen = _chosen(mapping, function, older_than, numbers)
        found = await dispatcher.ask("GET", PLACE, params={**chosen, "limit": str(limit), "offset": str(offset)})
        page = {
            "dead_letters": found["dead_letters"],
            "total": found["total"],
            "limit": limit,
            "offset": offset,
        }
        return document(request, page, headers=next_page(request, limit, offset, page["total"]))

    @router.get(
        "/{number}",
        dependencies=viewer,
        summary="One dead letter whole, with its event.",
        responses=gives("DeadLetter", *EVERYWHERE, 304, 404, 422, 502, 503),
    )
    async def read(request: Request, number: Number) -> Response:
        return document(request, await dispatcher.ask("GET", f"{PLACE}/{number}"))

    @router.post(
        "/replay",
        dependencies=operator,
        summary="Try some of them again, with the same ids: at most 1000 at once.",
        responses=gives("Replayed", *EVERYWHERE, *BODY, 502, 503),
        openapi_extra=takes(("application/json", "Replay")),
    )
    async def replay(request: Request) -> Response:
        body = await read_object(request)
        chosen = _said(body)
        found = await _noted(caller_of(request), "replayed dead letters", chosen, dispatcher, "POST", f"{PLACE}/replay")
        return answer(found)

    @router.post(
        "/{number}/replay",
        dependencies=operator,
        summary="Try one of them again, with the same ids.",
        responses=gives("Replayed", *EVERYWHERE, 404, 409, 422, 502, 503),
    )
    async def replay_one(request: Request, number: Number) -> Response:
        letter = await dispatcher.ask("GET", f"{PLACE}/{number}")
        if letter.get("replayable") is not True:
            raise Refusal(409, f"the dead letter {number} cannot be replayed: no invocation was planned for it")
        chosen = {"numbers": [number]}
        found = await _noted(caller_of(request), "replayed dead letters", chosen, dispatcher, "POST", f"{PLACE}/replay")
        if found["refused"]:
            raise Refusal(409, f"the dispatcher: {found['refused'][0]['reason']}")
        if not found["replayed"]:
            raise Refusal(404, f"there is no dead letter {number} any more; it was replayed or purged meanwhile")
        return answer(found)

    @router.delete(
        "",
        dependencies=operator,
        summary="Forget some of them, or with `all` all.",
        responses=gives("Purged", *EVERYWHERE, 422, 502, 503),
    )
    async def purge(
        request: Request,
        mapping: Text = None,
        function: Text = None,
        older_than: OlderThan = None,
        numbers: Numbers = None,
        everything: Annotated[bool, Query(alias="all")] = False,  # noqa: FBT002 - FastAPI passes it by name
    ) -> Response:
        chosen = _chosen(mapping, function, older_than, numbers)
        if not chosen and not everything:
            raise Refusal(422, "say which dead letters (mapping, function, older_than, numbers), or all=true")
        query = chosen or {"all": "1"}
        return answer(await _noted(caller_of(request), "purged dead letters", query, dispatcher, "DELETE", PLACE))

    return router


async def _noted(
    caller: Caller, what: str, chosen: dict[str, Any], dispatcher: DispatcherApi, method: str, path: str
) -> Any:
    """What the dispatcher answers to a change, which the audit has whatever became of it."""
    told = ", ".join(f"{key} {value}" for key, value in sorted(chosen.items()))[:200]
    query = {key: str(value) for key, value in chosen.items()} if method == "DELETE" else None
    try:
        found = await dispatcher.ask(method, path, params=query, body=chosen if query is None else None)
    except Refusal as refusal:
        # An answer that did not arrive does not say that nothing was done.
        caller.note(what, told, status=refusal.status)
        raise
    caller.note(what, told)
    return found


def _chosen(mapping: str | None, function: str | None, older_than: str | None, numbers: str | None) -> dict[str, str]:
    given = {"mapping": mapping, "function": function, "older_than": older_than, "numbers": numbers}
    return {key: value for key, value in given.items() if value is not None}


def _said(body: dict[str, Any]) -> dict[str, Any]:
    """Which dead letters a body means, as the dispatcher reads it; none chosen is not all of them."""
    errors = [
        Place("is not known here", pointer=f"/{key}")
        for key in sorted(body.keys() - {"mapping", "function", "older_than", "numbers", "all"})
    ]
    texts = ("mapping", "function", "older_than")
    errors += [Place("must be text", pointer=f"/{key}") for key in texts if not isinstance(body.get(key, ""), str)]
    numbers = body.get("numbers", [])
    if not isinstance(numbers, list) or len(numbers) > MAX_NUMBERS or not all(_is_number(one) for one in numbers):
        errors.append(Place(f"must be a list of at most {MAX_NUMBERS} whole numbers", pointer="/numbers"))
    if not isinstance(body.get("all", False), bool):
        errors.append(Place("must be true or false", pointer="/all"))
    if errors:
        raise Refusal(422, "; ".join(f"{one.pointer}: {one.detail}" for one in errors), errors=errors)
    chosen = {key: value for key, value in body.items() if key != "all"}
    if not chosen and body.get("all") is not True:
        raise Refusal(422, 'say which dead letters (mapping, function, older_than, numbers), or {"all": true}')
    return chosen


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_NUMBER
