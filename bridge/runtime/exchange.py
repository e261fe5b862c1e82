"""The two values of an HTTP exchange: what was asked and what is answered."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]
"""Header lines in their order, duplicates kept, text in latin-1 as RFC 9110 section 5.5 has it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request.

    `target` is what stood in the request line; `path` and `query` are its two sides, still percent-encoded. The names
    in `headers` are lower case.
    """

    method: str
    target: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first value of a header, whatever the case of `name`; `default` when there is none."""
        wanted = name.lower()
        for key, value in self.headers:
            if key == wanted:
                return value
        return default


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers.

    A body of bytes goes out with its length. An iterator goes out piece by piece, is closed when the client leaves, and
    cuts the connection when it raises. Framing headers are the server's affair: they are set, not asked for.
    """

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    headers: Headers = ()


class BrokenOff(Exception):
    """A streamed body ends before it is whole. Whoever raises it has told the log why."""


Handler = Callable[[Request], Awaitable[Response]]
"""Answers one request. Called on the server's loop; what it raises becomes a 500."""


def text(status: int, line: str, headers: Headers = ()) -> Response:
    """An answer of one line of plain text."""
    return Response(status, f"{line}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"), *headers))


async def dispose(response: Response) -> None:
    """Close a streamed body, so that its `finally` runs now and not at some collection."""
    close = getattr(response.body, "aclose", None)
    if close is not None:
        await close()
