"""`/api/v1/secrets`: what functions may know; values go in, to the gateway, and are never shown or kept here."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.bodies import read_object
from bridge.manager.api.caller import Desk, caller_of
from bridge.manager.api.entity import answer, document
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes
from bridge.manager.functions import Functions
from bridge.manager.problems import Place, Refusal

_PATH = "/system/secrets"

SecretPath = Annotated[
    str,
    Path(pattern=r"^[a-zA-Z0-9]([-a-zA-Z_0-9.]{0,251}[a-zA-Z0-9])?$", description="The secret's name."),
]


def routes(functions: Functions, desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=f"{ROOT}/secrets", tags=["functions"])

    @router.get(
        "",
        dependencies=[desk.of(Role.VIEWER)],
        summary="The names of the secrets that functions may use.",
        responses=gives("Secrets", *EVERYWHERE, 304, 404, 409, 503),
    )
    async def listed(request: Request) -> Response:
        found = (await functions.ask("GET", _PATH)).json()
        return document(request, {"secrets": sorted(str(one["name"]) for one in found)})

    @router.put(
        "/{name}",
        dependencies=[desk.of(Role.ADMIN)],
        summary="Give a secret its value, new (201) or in place of the one it has.",
        responses={**gives("Secret", *EVERYWHERE, *BODY, 404, 409, 503), 201: gives("Secret", success=201)[201]},
        openapi_extra=takes(("application/json", "SecretValue")),
    )
    async def put(request: Request, name: SecretPath) -> Response:
        raw = base64.b64encode(_value(await read_object(request))).decode()
        new = await functions.put(_PATH, {"name": name, "rawValue": raw})
        caller_of(request).note("secret created" if new else "secret changed", name)
        return answer({"name": name}, 201 if new else 200)

    @router.delete(
        "/{name}",
        dependencies=[desk.of(Role.ADMIN)],
        summary="Forget a secret that no function needs any more.",
        status_code=204,
        response_class=Response,
        responses=gives(None, *EVERYWHERE, 404, 409, 422, 503, success=204),
    )
    async def remove(request: Request, name: SecretPath) -> Response:
        await functions.ask("DELETE", _PATH, json={"name": name})
        caller_of(request).note("secret removed", name)
        return Response(status_code=204)

    return router


def _value(body: dict[str, Any]) -> bytes:
    """The value that was sent; what is said of a mistake never repeats it."""
    if len(body) != 1 or not body.keys() <= {"value", "value_base64"}:
        raise Refusal(422, "send value, or value_base64, alone", errors=[Place("must be alone", pointer="/value")])
    ((key, given),) = body.items()
    if not isinstance(given, str) or not given:
        raise Refusal(422, f"{key}: must be text, and not empty", errors=[Place("must be text", pointer=f"/{key}")])
    try:
        return given.encode() if key == "value" else base64.b64decode(given, validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        why = "is no Unicode text" if key == "value" else "is not base64"
        raise Refusal(422, f"{key}: {why}", errors=[Place(why, pointer=f"/{key}")]) from None
