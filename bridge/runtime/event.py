"""What a python3-http handler is given: the event (the request) and the context (where it runs)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from .exchange import Request


class Fields(Mapping[str, str]):
    """Names and texts as they came; looking one up gives its first value, `getlist` all of them."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: tuple[tuple[str, str], ...]) -> None:
        self._pairs = pairs

    def _same(self, known: str, wanted: str) -> bool:
        return known == wanted

    def __getitem__(self, name: str) -> str:
        for known, value in self._pairs:
            if self._same(known, name):
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(known for known, _ in self._pairs))

    def __len__(self) -> int:
        return len({known for known, _ in self._pairs})

    def getlist(self, name: str) -> list[str]:
        """All values of a name, in their order."""
        return [value for known, value in self._pairs if self._same(known, name)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._pairs)!r})"


class HeaderFields(Fields):
    """Header fields: the case of a name doesn't matter."""

    __slots__ = ()

    def _same(self, known: str, wanted: str) -> bool:
        return known == wanted.lower()


@dataclass(frozen=True, slots=True)
class Event:
    """The request: `body` bytes, `headers`, `method`, `query` and `path` (percent-decoded)."""

    body: bytes
    headers: HeaderFields
    method: str
    query: Fields
    path: str


@dataclass(frozen=True, slots=True)
class Context:
    """Where the function runs."""

    hostname: str


def event_of(request: Request) -> Event:
    """The event a handler sees for a request."""
    query = tuple(parse_qsl(request.query, keep_blank_values=True)) if request.query else ()
    return Event(request.body, HeaderFields(request.headers), request.method, Fields(query), unquote(request.path))
