"""How a program is told which Docker Engine to ask: the keys that `swarm:` sections share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.config import Pattern
from bridge.config.hosts import is_loopback
from bridge.swarm.address import EngineAddress

ENGINE_HOST: Final = Pattern(r"unix:///.+|tcp://[^/:@]+:[0-9]{1,5}", "unix:///path or tcp://host:port")


@dataclass(frozen=True, slots=True)
class EngineTlsSettings:
    """TLS towards a Docker Engine on `tcp://`."""

    ca: Path
    """PEM file with the authority that signed the engine's certificate."""
    cert: Path | None = None
    """PEM file with our certificate, by which the engine knows us."""
    key: Path | None = None
    """PEM file with the key of our certificate."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if (self.cert is None) != (self.key is None):
            yield ("cert" if self.cert is None else "key"), "a certificate and its key are given together"
        for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            if path is not None and not path.is_file():
                yield name, f"there is no file {path}"


def told_address(host: str, tls: EngineTlsSettings | None) -> EngineAddress:
    """The address of the engine that a section names."""
    return EngineAddress(host) if tls is None else EngineAddress(host, tls.ca, tls.cert, tls.key)


def host_problems(host: str, tls: EngineTlsSettings | None) -> Iterator[tuple[str, str]]:
    """What `host` and `tls` must agree on."""
    if host.startswith("tcp://"):
        name, _, port = host.removeprefix("tcp://").rpartition(":")
        if not 0 < int(port) < 65536:
            yield "host", f"{port} is no port"
        elif tls is None and not is_loopback(name):
            yield "tls", f"is missing: without it, everybody on the way to {name} could use its Docker Engine"
    elif tls is not None:
        yield "tls", "is for tcp:// hosts; a socket has none"
