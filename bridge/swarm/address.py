"""Where a Docker Engine listens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """`unix:///path`, or `tcp://host:port` with the files of TLS."""

    host: str = DEFAULT_HOST
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def engine_address(given: str | None, environ: Mapping[str, str]) -> EngineAddress:
    """The engine as given, or as the variables of the Docker CLI name it."""
    host = given or environ.get("DOCKER_HOST") or DEFAULT_HOST
    if host.startswith("tcp://") and environ.get("DOCKER_TLS_VERIFY"):
        folder = Path(environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
        return EngineAddress(host, folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    return EngineAddress(host)
