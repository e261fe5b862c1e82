"""`/api/v1/mappings/...` about the mapping file as a whole: text, plan, validation, history, rollback.

The tag of the whole is that of the file's text; `/api/v1/mappings` carries the same.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from bridge.errors import ConfigError
from bridge.journal.engine import Journal
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT, places
from bridge.manager.api.bodies import read_object, read_yaml, sends_yaml
from bridge.manager.api.caller import Desk, Why, caller_of
from bridge.manager.api.entity import YAML, answer, document, entity, require_match
from bridge.manager.api.mappings import MAX_OFFSET, Shelf, refuse_name
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes, takes_yaml
from bridge.manager.mappings import history
from bridge.manager.mappings.edit import NotEdited
from bridge.manager.mappings.history import compared, unified
from bridge.manager.mappings.store import Loaded, with_entries
from bridge.manager.problems import Place, Refusal

MAX_NUMBER: Final = 2**53


class MappingFileApi:
    """The handlers; `routes` puts them in place."""

    def __init__(self, shelf: Shelf, journal: Journal) -> None:
        self._shelf = shelf
        self._store = shelf.store
        self._journal = journal

    def routes(self, desk: Desk) -> APIRouter:
        """The paths of this file; they go before those with a mapping's name in them."""
        router = APIRouter(prefix=f"{ROOT}/mappings", tags=["mapping file"])
        viewer, operator = [desk.of(Role.VIEWER)], [desk.of(Role.OPERATOR)]
        whole: dict[int | str, dict[str, Any]] = {
            # To a reader of the document, what is in a YAML body is what it means, and not text.
            200: {"description": "The file.", "content": {YAML: {"schema": {}}}}
        }
        one, all_ = takes(("application/json", "Mapping")), takes_yaml()
        either = {**one["requestBody"]["content"], **all_["requestBody"]["content"]}
        add = router.add_api_route
        add(
            "/file",
            self.text,
            methods=["GET"],
            dependencies=viewer,
            summary="The mapping file, as it is.",
            responses={**gives(None, *EVERYWHERE, 304), **whole},
        )
        add(
            "/file",
            self.apply,
            methods=["PUT"],
            dependencies=operator,
            summary="The mapping file as a whole; the way to mend one that has mistakes.",
            responses=gives("Applied", *EVERYWHERE, *BODY, 409, 412, 428, 503),
            openapi_extra=takes_yaml(),
        )
        add(
            "/plan",
            self.plan,
            methods=["POST"],
            dependencies=viewer,
            summary="What would change with another file. Nothing is saved.",
            responses=gives("Planned", *EVERYWHERE, *BODY),
            openapi_extra=takes_yaml(),
        )
        add(
            "/validate",
            self.validate,
            methods=["POST"],
            dependencies=viewer,
            summary="Whether a mapping, or a whole file, is good. Nothing is saved.",
            responses=gives("Valid", *EVERYWHERE, *BODY, 409),
            openapi_extra={"requestBody": {"required": True, "content": either}},
        )
        add(
            "/history",
            self.revisions,
            methods=["GET"],
            dependencies=viewer,
            summary="What the file was, newest first.",
            responses=gives("History", *EVERYWHERE, 304, 422, 503),
        )
        add(
            "/history/{number}",
            self.revision,
            methods=["GET"],
            dependencies=viewer,
            summary="The whole file as it was in one revision.",
            responses={**gives(None, *EVERYWHERE, 304, 404, 422, 503), **whole},
        )
        add(
            "/rollback",
            self.rollback,
            methods=["POST"],
            dependencies=operator,
            summary="The file as it was in an earlier revision; itself a new one.",
            responses=gives("Applied", *EVERYWHERE, *BODY, 404, 409, 412, 428, 503),
            openapi_extra=takes(("application/json", "Rollback")),
        )
        return router

    async def text(self, request: Request) -> Response:
        """The file."""
        loaded = self._store.loaded
        return entity(request, loaded.text.encode(), etag=loaded.etag, content_type=YAML)

    async def apply(self, request: Request, why: Why = "") -> Response:
        """Another file in place of the one there is."""
        return await self._replace(request, await read_yaml(request), "applied", why)

    async def rollback(self, request: Request, why: Why = "") -> Response:
        """An earlier file in place of the one there is."""
        body = await read_object(request)
        number = body.get("revision")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_NUMBER or len(body) > 1:
            detail = "give the number of a revision, as /history shows it, and nothing else"
            raise Refusal(422, f"revision: {detail}", errors=[Place(detail, pointer="/revision")])
        return await self._replace(request, await self._text_of(number), f"rolled back to {number}", why)

    async def plan(self, request: Request) -> Response:
        """What would change."""
        after = await self._understood(await read_yaml(request))
        before = self._store.loaded
        return answer(
            {
                "changes": compared(before.mappings, after.mappings).document(),
                "diff": await asyncio.to_thread(unified, before.text, after.text, self._store.path.name),
                "version": after.mappings.version,
                "etag": before.etag,
            }
        )

    async def validate(self, request: Request) -> Response:
        """Whether it is good."""
        after = await self._sent(request)
        return answer(
            {
                "valid": True,
                "mappings": len(after.mappings.mappings),
                "version": after.mappings.version,
                "changes": compared(self._store.loaded.mappings, after.mappings).document(),
            }
        )

    async def revisions(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
        name: Annotated[str | None, Query(max_length=63, description="Only what touched this mapping.")] = None,
    ) -> Response:
        """A page of the history."""
        total, found = await self._journal.read(history.listed(limit, offset, name))
        return document(request, {"revisions": [one.document() for one in found], "total": total})

    async def revision(self, request: Request, number: Annotated[int, Path(ge=1, le=MAX_NUMBER)]) -> Response:
        """The file as it was."""
        return entity(request, (await self._text_of(number)).encode(), content_type=YAML)

    async def _replace(self, request: Request, wanted: str, what: str, why: str) -> Response:
        before = self._store.loaded

        def make(loaded: Loaded) -> str:
            require_match(request, loaded.etag, "the mapping file")
            return wanted

        loaded = await self._shelf.change(make, caller_of(request), what, why, mend=True)
        body = {
            "revision": loaded.number,
            "version": loaded.mappings.version,
            "changes": compared(before.mappings, loaded.mappings).document(),
            "mappings": len(loaded.mappings.mappings),
        }
        return entity(request, orjson.dumps(body), etag=loaded.etag, headers={"X-Revision": str(loaded.number)})

    async def _sent(self, request: Request) -> Loaded:
        """What the file would be with what was sent: a whole file as YAML, or as JSON one mapping with its name."""
        if sends_yaml(request):
            return await self._understood(await read_yaml(request))
        body = await read_object(request)
        if "mappings" in body:
            return await self._understood(orjson.dumps(body).decode())
        name = body.pop("name", None)
        if not isinstance(name, str):
            detail = "is missing; send a mapping with its name, or a whole file"
            raise Refusal(422, f"name: {detail}", errors=[Place(detail, pointer="/name")])
        refuse_name(name)
        loaded = self._store.loaded
        try:
            text = await asyncio.to_thread(with_entries, loaded, {**loaded.entries, name: body})
            return await asyncio.to_thread(self._store.understand, text, str(self._store.path))
        except ConfigError as error:
            raise places.of_mapping(error, name) from error
        except NotEdited as error:
            raise Refusal(409, str(error)) from error

    async def _understood(self, text: str) -> Loaded:
        try:
            return await asyncio.to_thread(self._store.understand, text, "the file that was sent")
        except ConfigError as error:
            raise places.of_file(error) from error

    async def _text_of(self, number: int) -> str:
        found = await self._journal.read(history.text_of(number))
        if found is None:
            raise Refusal(404, f"there is no revision {number} (any more)")
        return found
