"""Where a Docker Engine listens. Pure."""

from __future__ import annotations

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
