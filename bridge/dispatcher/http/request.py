"""The bytes of a POST to the gateway: what never changes of a function's requests is built once. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

_PATH_SAFE: Final = "/%:@!$&'()*+,;=~"
"""What a path of the settings may hold as it is; a space or a letter beyond ASCII is percent-encoded."""
_PORTS: Final = {"http": 80, "https": 443}


class Origin:
    """Where the gateway is, from its URL: what to connect to and what to call it. Raises ValueError for no such URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("it names no host by http or https")
        self.credentials = parts.username is not None or parts.password is not None
        self.url = url.rstrip("/")
        self.tls = parts.scheme == "https"
        self.host = unquote(parts.hostname)  # the zone of an IPv6 address comes after %25 (RFC 6874)
        self.port = parts.port or _PORTS[parts.scheme]
        self.path = quote(parts.path.rstrip("/"), safe=_PATH_SAFE)
        name = self.host.partition("%")[0]
        name = f"[{name}]" if ":" in name else name.encode("idna").decode()
        self.authority = name if self.port == _PORTS[parts.scheme] else f"{name}:{self.port}"


class Requests:
    """Makes the requests to one origin. Every one is a single piece of bytes, to be written at once."""

    def __init__(self, origin: Origin, *, username: str | None = None, password: str = "") -> None:
        self._origin = origin
        self._common = f"Host: {origin.authority}\r\nUser-Agent: gpio-bridge\r\n"
        if username is not None:
            credentials = b64encode(f"{username}:{password}".encode()).decode()
            self._common += f"Authorization: Basic {credentials}\r\n"
        self._heads: dict[tuple[str, str], str] = {}

    def post(self, place: str, name: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """A POST of `body` to `/place/name`. Raises ValueError for a header that would break out of its line."""
        head = self._heads.get((place, name))
        if head is None:
            path = f"{self._origin.path}/{place}/{quote(name, safe='')}"
            head = self._heads[place, name] = f"POST {path} HTTP/1.1\r\n{self._common}"
        lines = "".join([f"{key}: {value}\r\n" for key, value in headers.items()])
        # Mapping files with such headers are refused, but a journal can be older than that check, or damaged.
        if not lines.count("\r") == lines.count("\n") == len(headers) or "\0" in lines:
            broken = [key for key, value in headers.items() if not set(key + value).isdisjoint("\r\n\0")]
            raise ValueError(f"the header {', '.join(map(repr, broken))} holds a line break or NUL")
        return f"{head}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
