"""The manager's settings, as in `config/manager.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bridge.config import Port


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the manager serves its API, health and metrics."""

    host: str = "127.0.0.1"
    """Where to listen; `0.0.0.0` for other machines too."""
    port: Port = 8088
    """Port 0 takes a free one."""


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """Everything the manager can be told."""

    state_dir: Path
    """Where the manager keeps its state."""
    http: HttpSettings = field(default_factory=HttpSettings)
