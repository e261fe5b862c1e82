"""Entities and their tags: answers that a client may keep, changes that must know what they change (RFC 9110, 13)."""

from __future__ import annotations

from typing import Final

import orjson
from fastapi import Request, Response

from bridge.manager.mappings.store import etag_of
from bridge.manager.problems import Refusal

JSON: Final = "application/json"
YAML: Final = "application/yaml"
"""RFC 9512."""


def entity(
    request: Request,
    body: bytes,
    *,
    etag: str | None = None,
    content_type: str = JSON,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer with its tag; 304 without a body where the client has it already."""
    tag = etag or etag_of(body)
    more = {"ETag": tag, "Cache-Control": "private, no-cache", **(headers or {})}
    given = request.headers.get("if-none-match")
    if request.method in ("GET", "HEAD") and given is not None and _listed(given, tag, weak=True):
        return Response(status_code=304, headers=more)
    return Response(body, status, {"Content-Type": content_type, **more})


def document(
    request: Request,
    value: object,
    *,
    etag: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """A JSON document as an entity."""
    return entity(request, orjson.dumps(value), etag=etag, status=status, headers=headers)


def weak_tag(value: object) -> str:
    """A tag for documents that differ in what nobody need read again, such as an age (RFC 9110, 8.8.1)."""
    return f"W/{etag_of(orjson.dumps(value))}"


def next_page(request: Request, limit: int, offset: int, total: int) -> dict[str, str]:
    """The header that leads to the next page (RFC 8288), while there is one."""
    if offset + limit >= total:
        return {}
    query = request.url.include_query_params(offset=offset + limit, limit=limit).query
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}


def answer(value: object, status: int = 200) -> Response:
    """A JSON document that nobody need keep."""
    return Response(orjson.dumps(value), status, {"Content-Type": JSON})


def require_match(request: Request, tag: str, what: str) -> None:
    """Refuses a change of something that has changed since its author saw it: 412, and 428 without a tag."""
    given = request.headers.get("if-match")
    if given is None:
        raise Refusal(
            428,
            f"say with If-Match which state of {what} is meant: the ETag of its GET, or * for whatever it is now",
            headers={"ETag": tag},
        )
    if not _listed(given, tag, weak=False):
        raise Refusal(412, f"{what} has changed since; read it again and look at the change", headers={"ETag": tag})


def require_new(request: Request, what: str) -> None:
    """Refuses to make what somebody believes to be there already: 412."""
    if request.headers.get("if-match") is not None:
        raise Refusal(412, f"{what} is not there (any more), so it cannot be what If-Match says")


def refuse_existing(request: Request, what: str) -> None:
    """Refuses to change what must not be there: `If-None-Match: *`."""
    if (request.headers.get("if-none-match") or "").strip() == "*":
        raise Refusal(412, f"{what} is there already")


def _listed(given: str, tag: str, *, weak: bool) -> bool:
    """Whether a tag is among those of a header; `*` is every one. Our tags hold no comma."""
    if given.strip() == "*":
        return True
    listed = [one.strip() for one in given.split(",")]
    return tag.removeprefix("W/") in [one.removeprefix("W/") for one in listed] if weak else tag in listed
