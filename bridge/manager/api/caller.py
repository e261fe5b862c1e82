"""Who calls: the role that a path asks for, and the note in the audit that a change leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query, Request, params
from fastapi.security import HTTPBearer

from bridge.manager.access.audit import Audit
from bridge.manager.access.guard import Bearer, Guard
from bridge.manager.access.roles import Role
from bridge.manager.door import REQUEST_ID
from bridge.manager.mappings.store import Author
from bridge.manager.problems import Refusal

SCHEME: Final = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `gpio-bridge tokens create`.")
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

    def __init__(self, guard: Guard, audit: Audit) -> None:
        self._guard = guard
        self._audit = audit

    def of(self, role: Role) -> params.Depends:
        """A dependency that lets callers of this role pass."""

        async def let_in(request: Request, _: Annotated[object, Depends(SCHEME)]) -> None:
            address = request.client.host if request.client is not None else ""
            bearer = self._guard.known(request.headers.get("authorization"), address)
            found = Caller(bearer, address, request.scope[REQUEST_ID], self._audit)
            if not bearer.role.includes(role):
                if request.method != "GET":
                    found.note(f"refused {request.method}", request.url.path[:200], status=403)
                raise Refusal(403, f"this needs the role {role.value}; {bearer.name} is {bearer.role.value}")
            request.state.caller = found

        asked: params.Depends = Depends(let_in)
        return asked


def caller_of(request: Request) -> Caller:
    """Who was let in to make this request."""
    caller: Caller = request.state.caller
    return caller
