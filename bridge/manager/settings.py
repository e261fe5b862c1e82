"""The manager's settings, as in `config/manager.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from bridge.config import Port, Within
from bridge.core.topics import DEFAULT_ROOT, check_topic
from bridge.errors import TopicError


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the manager serves its API, health and metrics."""

    host: str = "127.0.0.1"
    """Where to listen; `0.0.0.0` for other machines too."""
    port: Port = 8088
    """Port 0 takes a free one."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How much is kept of what the mapping file was before."""

    revisions: Annotated[int, Within(2, 100_000)] = 1000
    """So many; the oldest make room for new ones."""


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """Everything the manager can be told."""

    state_dir: Path
    """Where the manager keeps its state."""
    mappings: Path
    """The mapping file, which it changes and watches; it must be able to replace files in its folder."""
    root: str = DEFAULT_ROOT
    """What every topic starts with; the same for all programs."""
    http: HttpSettings = field(default_factory=HttpSettings)
    history: HistorySettings = field(default_factory=HistorySettings)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        try:
            check_topic(self.root)
        except TopicError as error:
            yield "root", str(error)
