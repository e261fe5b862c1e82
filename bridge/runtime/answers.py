"""From what a handler returned to an HTTP response.

Pure. A handler may return text, bytes, None, dicts and lists (sent as JSON), or a generator of text and bytes, which is
streamed; with a status and headers around it as its signature has them: `{"statusCode", "body", "headers"}` or
`(body, status, headers)`.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

from .exchange import Headers, Request, Response

Stepped = Callable[[Iterator[object]], AsyncIterator[object]]
"""Takes the pieces of a plain generator, whose code blocks, where that holds up nobody."""

_TEXT = "text/plain; charset=utf-8"
_PARTS = ("statusCode", "body", "headers")


class BadAnswer(TypeError):
    """A handler returned what can't be answered; the text tells its author what to return instead."""


def of_event_handler(result: object, request: Request, stepped: Stepped) -> Response:
    """The response for what `handle(event, context)` returned. Raises BadAnswer."""
    if isinstance(result, Mapping) and any(part in result for part in _PARTS):
        return _response(result.get("body"), result.get("statusCode", 200), result.get("headers"), request, stepped)
    return of_request_handler(result, request, stepped)


def of_request_handler(result: object, request: Request, stepped: Stepped) -> Response:
    """The response for what `handle(req)` returned. Raises BadAnswer."""
    if not isinstance(result, tuple):
        return _response(result, 200, None, request, stepped)
    match result:
        case (body, status, headers):
            return _response(body, status, headers, request, stepped)
        case (body, (Mapping() | list()) as headers):
            return _response(body, 200, headers, request, stepped)
        case (body, status):
            return _response(body, status, None, request, stepped)
    raise BadAnswer(f"a tuple of {len(result)} was returned; return body, (body, status) or (body, status, headers)")


def default_type(request: Request) -> str:
    """The content type of an answer that names none: the request's, as OpenFaaS does it, else plain text."""
    return request.header("content-type") or _TEXT


def _response(body: object, status: object, headers: object, request: Request, stepped: Stepped) -> Response:
    lines = _headers(headers)
    content, kind = _body(body, stepped)
    if not any(name.lower() == "content-type" for name, _ in lines):
        lines = (*lines, ("Content-Type", kind or default_type(request)))
    return Response(_status(status), content, lines)


def _body(body: object, stepped: Stepped) -> tuple[bytes | AsyncIterator[bytes], str | None]:
    """The bytes of a body and, where its kind tells, its content type."""
    match body:
        case None:
            return b"", None
        case str():
            return _encoded(body), None
        case bytes() | bytearray() | memoryview():
            return bytes(body), None
        case bool() | int() | float():
            return str(body).encode(), None
        case dict() | list():
            return _json(body), "application/json"
    if isinstance(body, AsyncIterator):
        return _Encoded(body), None
    if isinstance(body, Iterator):
        return _Encoded(stepped(body)), None
    raise BadAnswer(
        f"a body of type {type(body).__name__} was returned;"
        " return str, bytes, dict, list or None (to stream, return a generator)"
    )


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as problem:
        raise BadAnswer(f"the text returned is no valid Unicode ({problem}); return bytes instead") from None


def _json(value: object) -> bytes:
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError) as problem:
        raise BadAnswer(f"the {type(value).__name__} returned can't be written as JSON: {problem}") from None


def _status(status: object) -> int:
    number = int(status) if isinstance(status, str) and status.isascii() and status.isdigit() else status
    # Below 200 are interim answers, which a function can't give; above 599 nothing is defined (RFC 9110 section 15).
    if isinstance(number, int) and not isinstance(number, bool) and 200 <= number <= 599:
        return int(number)
    raise BadAnswer(f"{status!r} was returned as the status; return a whole number from 200 to 599")


def _headers(headers: object) -> Headers:
    if headers is None:
        return ()
    if isinstance(headers, Mapping):
        pairs = list(headers.items())
    elif isinstance(headers, list | tuple):
        pairs = list(headers)
    else:
        raise BadAnswer(f"headers of type {type(headers).__name__} were returned; return a dict")
    lines: list[tuple[str, str]] = []
    for pair in pairs:
        match pair:
            case (str(name), list() | tuple() as values):
                lines.extend((name, _value(name, value)) for value in values)
            case (str(name), value):
                lines.append((name, _value(name, value)))
            case _:
                raise BadAnswer(f"{pair!r} was returned as a header; return a dict of names and texts")
    return tuple(lines)


def _value(name: str, value: object) -> str:
    if isinstance(value, str | int | float):
        return str(value)
    raise BadAnswer(f"the header {name!r} was returned as {type(value).__name__}; return text")


class _Encoded(AsyncIterator[bytes]):
    """A generator of text or bytes, as bytes."""

    def __init__(self, source: AsyncIterator[object]) -> None:
        self._source = source

    async def __anext__(self) -> bytes:
        piece = await anext(self._source)
        if isinstance(piece, str):
            return _encoded(piece)
        if isinstance(piece, bytes):
            return piece
        raise BadAnswer(f"a piece of type {type(piece).__name__} was streamed; yield str or bytes")

    async def aclose(self) -> None:
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()
