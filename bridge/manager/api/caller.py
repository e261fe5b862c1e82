"""Who calls: the role that a path asks for, and the note in the audit that a change leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query, Request, WebSocket, params
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from bridge.manager.access.audit import Audit
from bridge.manager.access.guard import Bearer, Guard
from bridge.manager.access.roles import Role
from bridge.manager.door import REQUEST_ID
from bridge.manager.mappings.store import Author
from bridge.manager.problems import Refusal

SCHEME: Final = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `gpio-bridge tokens create`.")
SUBPROTOCOL: Final = "gpio-bridge"
BEARER: Final = "bearer."
"""What a page offers as subprotocols: ours, and its token behind this word, which then stands in no address."""
Why = Annotated[
    str,
    Query(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$", description="Why, in one line; it stands in the history."),
]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes this request, and from where."""

    bearer: Bearer
    address: str
    request_id: str
    audit: Audit
    guard: Guard

    def stands(self) -> bool:
        """Whether the token was not revoked meanwhile."""
        return self.guard.stands(self.bearer)

    def author(self, why: str) -> Author:
        """As the history has it."""
        return Author(self.bearer.name, why)

    def note(self, what: str, target: str, *, status: int = 200, revision: int | None = None) -> None:
        """Write a change into the audit."""
        self.audit.note(
            self.bearer.name,
            what,
            target,
            status=status,
            revision=revision,
            address=self.address,
            request_id=self.request_id,
        )


class Desk:
    """Makes what the paths of the API depend on: each asks for a token with a role."""

    def __init__(self, guard: Guard, audit: Audit, origins: Sequence[str] = ()) -> None:
        self._guard = guard
        self._audit = audit
        self._origins = origins

    def of(self, role: Role) -> params.Depends:
        """A dependency that lets callers of this role pass."""

        async def let_in(request: Request, _: Annotated[object, Depends(SCHEME)]) -> None:
            address = request.client.host if request.client is not None else ""
            bearer = self._guard.known(request.headers.get("authorization"), address)
            found = Caller(bearer, address, request.scope[REQUEST_ID], self._audit, self._guard)
            if not bearer.role.includes(role):
                if request.method != "GET":
                    found.note(f"refused {request.method}", request.url.path[:200], status=403)
                raise Refusal(403, f"this needs the role {role.value}; {bearer.name} is {bearer.role.value}")
            request.state.caller = found

        asked: params.Depends = Depends(let_in)
        return asked

    def of_socket(self, role: Role) -> params.Depends:
        """The same for a WebSocket: a browser's pages show the token as a subprotocol, since they can set no header."""

        async def let_in(websocket: WebSocket) -> None:
            refuse_origin(websocket.headers.get("origin"), websocket.headers.get("host"), self._origins)
            offered = [one for one in websocket.scope["subprotocols"] if one]
            shown = next((one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), None)
            authorization = websocket.headers.get("authorization") or (f"Bearer {shown}" if shown is not None else None)
            address = websocket.client.host if websocket.client is not None else ""
            bearer = self._guard.known(authorization, address)
            if not bearer.role.includes(role):
                raise Refusal(403, f"this needs the role {role.value}; {bearer.name} is {bearer.role.value}")
            websocket.state.caller = Caller(bearer, address, websocket.scope[REQUEST_ID], self._audit, self._guard)
            # The token itself is never sent back.
            websocket.state.subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None

        asked: params.Depends = Depends(let_in)
        return asked


def refuse_origin(origin: str | None, host: str | None, allowed: Sequence[str]) -> None:
    """Refuses pages of other origins, which a browser lets open a WebSocket to anywhere (RFC 6455, 10.2)."""
    if origin is None or origin in allowed:
        return  # who is no browser says none
    if host is None or origin.partition("://")[2].lower() != host.lower():
        raise Refusal(403, f"a page of {origin[:200]} may not open this; http.origins of the manager says which may")


def caller_of(connection: HTTPConnection) -> Caller:
    """Who was let in to make this request."""
    caller: Caller = connection.state.caller
    return caller
