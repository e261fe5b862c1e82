"""`/api/v1/mappings`: the mappings one by one, each as it stands in the file, with its name.

Changes of what exists need `If-Match`; a PUT may be repeated. `file.py` has the file as a whole.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Query, Request, Response

from bridge.config import NAME
from bridge.core.mapping import Mapping
from bridge.errors import ConfigError, JournalError
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT, places
from bridge.manager.api.bodies import merged, read_object
from bridge.manager.api.caller import Caller, Desk, Why, caller_of
from bridge.manager.api.entity import entity, next_page, refuse_existing, require_match, require_new
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes
from bridge.manager.api.words import Glob
from bridge.manager.mappings.edit import NotEdited, same
from bridge.manager.mappings.file import FileNotWritten
from bridge.manager.mappings.store import FileBusy, FileRefused, Loaded, MappingStore, etag_of, with_entries
from bridge.manager.problems import Place, Refusal

RESERVED: Final = frozenset({"history", "file"})
"""What a path says at a mapping's place: a mapping of this name can only be written by hand."""
MAX_OFFSET: Final = 10_000_000

NamePath = Annotated[str, Path(pattern=f"^{NAME.regex}$", description="The mapping's name.")]
Entry = dict[str, Any]


class Shown:
    """The mappings as the API shows them, made once for each set."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.bodies = {name: body_of(loaded, name) for name in loaded.entries}
        self.tags = {name: etag_of(body) for name, body in self.bodies.items()}

    def chosen(self, name: str | None, function: str | None, *, enabled: bool | None) -> list[str]:
        """The names of those that are meant, in the order of the file."""
        mappings = self.loaded.mappings.mappings

        def meant(mapping: Mapping) -> bool:
            return (
                (name is None or fnmatch.fnmatchcase(mapping.name, name))
                and (function is None or mapping.function == function)
                and (enabled is None or mapping.enabled == enabled)
            )

        return [one.name for one in mappings.values() if meant(one)]


class Shelf:
    """The store as the API has it: what refuses a change there becomes a problem here."""

    def __init__(self, store: MappingStore) -> None:
        self.store = store
        self._shown: Shown | None = None

    def shown(self) -> Shown:
        """What is in force now."""
        if self._shown is None or self._shown.loaded is not self.store.loaded:
            self._shown = Shown(self.store.loaded)
        return self._shown

    async def change(
        self, make: Callable[[Loaded], str], caller: Caller, what: str, why: str, *, name: str = "", mend: bool = False
    ) -> Loaded:
        """Change the file, and note it; raises Refusal."""
        before = self.store.loaded
        try:
            loaded = await self.store.change(make, caller.author(why), what, mend=mend)
        except ConfigError as error:
            raise (places.of_mapping(error, name) if name else places.of_file(error)) from error
        except FileRefused as error:
            raise places.of_disk(error) from error
        except (NotEdited, FileBusy) as error:
            raise Refusal(409, str(error)) from error
        except (FileNotWritten, JournalError) as error:
            raise Refusal(503, str(error)) from error
        if loaded is not before:
            caller.note(what, name or "the mapping file", revision=loaded.number)
        return loaded


class Mappings:
    """The handlers; `routes` puts them in place."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def routes(self, desk: Desk) -> APIRouter:
        """The paths of this file."""
        router = APIRouter(prefix=f"{ROOT}/mappings", tags=["mappings"])
        viewer, operator = [desk.of(Role.VIEWER)], [desk.of(Role.OPERATOR)]
        changes = (*EVERYWHERE, 404, 409, 412, 422, 428, 503)
        add = router.add_api_route
        add(
            "",
            self.listed,
            methods=["GET"],
            dependencies=viewer,
            summary="The mappings, in the order of the file.",
            responses=gives("Mappings", *EVERYWHERE, 304, 422),
        )
        add(
            "/{name}",
            self.read,
            methods=["GET"],
            dependencies=viewer,
            summary="One mapping.",
            responses=gives("Mapping", *EVERYWHERE, 304, 404, 422),
        )
        add(
            "",
            self.create,
            methods=["POST"],
            dependencies=operator,
            status_code=201,
            summary="A new mapping, at the end of the file.",
            responses=gives("Mapping", *EVERYWHERE, *BODY, 409, 503, success=201),
            openapi_extra=takes(("application/json", "Mapping")),
        )
        add(
            "/{name}",
            self.replace,
            methods=["PUT"],
            dependencies=operator,
            summary="A mapping as a whole, new or in place of the one there is.",
            responses={
                **gives("Mapping", *EVERYWHERE, *BODY, 409, 412, 428, 503),
                201: gives("Mapping", success=201)[201],
            },
            openapi_extra=takes(("application/json", "MappingBody")),
        )
        add(
            "/{name}",
            self.patch,
            methods=["PATCH"],
            dependencies=operator,
            summary="Some keys of a mapping (RFC 7396).",
            responses=gives("Mapping", *changes, *BODY),
            openapi_extra=takes(("application/merge-patch+json", "MappingPatch"), ("application/json", "MappingPatch")),
        )
        add(
            "/{name}",
            self.delete,
            methods=["DELETE"],
            dependencies=operator,
            status_code=204,
            summary="A mapping less.",
            responses=gives(None, *changes, success=204),
        )
        for verb, handle in (("enable", self.enable), ("disable", self.disable)):
            add(
                f"/{{name}}/{verb}",
                handle,
                methods=["POST"],
                dependencies=operator,
                summary=f"{verb.capitalize()} a mapping.",
                responses=gives("Mapping", *changes),
            )
        return router

    async def listed(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
        name: Glob = None,
        function: Annotated[str | None, Query(max_length=200)] = None,
        enabled: Annotated[bool | None, Query()] = None,
    ) -> Response:
        """Those that are meant, a page of them."""
        shown = self._shelf.shown()
        names = shown.chosen(name, function, enabled=enabled)
        page = names[offset : offset + limit]
        head = {"total": len(names), "limit": limit, "offset": offset, "version": shown.loaded.mappings.version}
        body = b'{"mappings":[%b],%b' % (b",".join(shown.bodies[one] for one in page), orjson.dumps(head)[1:])
        return entity(request, body, etag=shown.loaded.etag, headers=next_page(request, limit, offset, len(names)))

    async def read(self, request: Request, name: NamePath) -> Response:
        """One."""
        shown = self._shelf.shown()
        if name not in shown.bodies:
            raise _unknown(name)
        return entity(request, shown.bodies[name], etag=shown.tags[name])

    async def create(self, request: Request, why: Why = "") -> Response:
        """A new one; refused where there is one of this name."""
        body = await read_object(request)
        name = body.pop("name", None)
        if not isinstance(name, str):
            detail = "is missing" if name is None else "must be text"
            raise Refusal(422, f"name: {detail}", errors=[Place(detail, pointer="/name")])
        refuse_name(name)
        _refuse_reserved(name)

        def make(loaded: Loaded) -> str:
            if name in loaded.entries:
                raise Refusal(409, f"there is a mapping {name} already; PUT replaces it")
            return with_entries(loaded, {**loaded.entries, name: body})

        loaded = await self._shelf.change(make, caller_of(request), "created", why, name=name)
        return self._changed(request, loaded, name, status=201)

    async def replace(self, request: Request, name: NamePath, why: Why = "") -> Response:
        """A new one, or another in place of the one there is."""
        body = await read_object(request)
        _refuse_reserved(name)
        _refuse_other_name(body, name)
        new = False

        def make(loaded: Loaded) -> str:
            nonlocal new
            new = name not in loaded.entries
            if new:
                require_new(request, f"the mapping {name}")
            else:
                refuse_existing(request, f"the mapping {name}")
                require_match(request, tag_of(loaded, name), f"the mapping {name}")
            return _with(loaded, {**loaded.entries, name: body})

        loaded = await self._shelf.change(make, caller_of(request), "replaced", why, name=name)
        return self._changed(request, loaded, name, status=201 if new else 200)

    async def patch(self, request: Request, name: NamePath, why: Why = "") -> Response:
        """Some keys of one."""
        body = await read_object(request)
        _refuse_other_name(body, name)
        return await self._change(request, name, "patched", why, lambda entry: merged(entry, body))

    async def delete(self, request: Request, name: NamePath, why: Why = "") -> Response:
        """One less."""

        def make(loaded: Loaded) -> str:
            _require(request, loaded, name)
            return _with(loaded, {key: entry for key, entry in loaded.entries.items() if key != name})

        await self._shelf.change(make, caller_of(request), "deleted", why, name=name)
        return Response(status_code=204)

    async def enable(self, request: Request, name: NamePath, why: Why = "") -> Response:
        """One that judges events from now on."""
        return await self._switch(request, name, why, enabled=True)

    async def disable(self, request: Request, name: NamePath, why: Why = "") -> Response:
        """One that judges none any more."""
        return await self._switch(request, name, why, enabled=False)

    async def _switch(self, request: Request, name: str, why: str, *, enabled: bool) -> Response:
        def change(entry: Entry) -> Entry:
            return entry if entry.get("enabled", True) is enabled else {**entry, "enabled": enabled}

        return await self._change(request, name, "enabled" if enabled else "disabled", why, change)

    async def _change(
        self, request: Request, name: str, what: str, why: str, change: Callable[[Entry], Entry]
    ) -> Response:
        """Change one mapping, if it is still the one that is meant."""

        def make(loaded: Loaded) -> str:
            _require(request, loaded, name)
            return _with(loaded, {**loaded.entries, name: change(loaded.entries[name])})

        loaded = await self._shelf.change(make, caller_of(request), what, why, name=name)
        return self._changed(request, loaded, name)

    def _changed(self, request: Request, loaded: Loaded, name: str, *, status: int = 200) -> Response:
        headers = {"X-Revision": str(loaded.number)}
        if status == 201:
            headers["Location"] = f"/api/v1/mappings/{name}"
        return entity(request, body_of(loaded, name), status=status, headers=headers)


def body_of(loaded: Loaded, name: str) -> bytes:
    """One mapping as it is shown."""
    return orjson.dumps({"name": name, **loaded.entries[name]})


def tag_of(loaded: Loaded, name: str) -> str:
    """Its tag."""
    return etag_of(body_of(loaded, name))


def _with(loaded: Loaded, entries: dict[str, Entry]) -> str:
    """The file with these mappings; the same ones leave every byte of it."""
    return loaded.text if same(entries, loaded.entries) else with_entries(loaded, entries)


def _require(request: Request, loaded: Loaded, name: str) -> None:
    if name not in loaded.entries:
        raise _unknown(name)
    require_match(request, tag_of(loaded, name), f"the mapping {name}")


def _unknown(name: str) -> Refusal:
    return Refusal(404, f"there is no mapping {name}")


def refuse_name(name: str) -> None:
    """Refuses what cannot be a mapping's name, where the name is a part of the body."""
    if not re.fullmatch(NAME.regex, name):
        detail = f"must be {NAME.text}, not {name[:100]!r}"
        raise Refusal(422, f"name: {detail}", errors=[Place(detail, pointer="/name")])


def _refuse_reserved(name: str) -> None:
    if name in RESERVED:
        detail = f"{name!r} stands for something else in the API's paths; choose another name"
        raise Refusal(422, detail, errors=[Place(detail, pointer="/name")])


def _refuse_other_name(body: Entry, name: str) -> None:
    """The name stands in the path; in the body it may stand too."""
    if body.pop("name", name) != name:
        detail = f"must be {name}, as in the path; a mapping is renamed by creating the new one and deleting the old"
        raise Refusal(422, f"name: {detail}", errors=[Place(detail, pointer="/name")])
