"""What a benchmark knows of a program that it compares: how to install it and how to start it.

Ours is one of them here, so that all are measured by the same code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts import FUNCTION
from benchmarks.processes import Child, Role


@dataclass(frozen=True, slots=True)
class Place:
    """Where a program runs: files in a folder, the broker's port, what to subscribe to, and the sink as a gateway."""

    folder: Path
    broker_port: int
    topic: str
    gateway_url: str

    @property
    def url(self) -> str:
        """Where a program that knows nothing of gateways POSTs."""
        return f"{self.gateway_url}/function/{FUNCTION}"


def nothing() -> None:
    """Install nothing: it is there."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program between MQTT and HTTP. `share` is the part of the events it gets, so that a slow one ends in time."""

    name: str
    start: Callable[[Place], AbstractContextManager[Child]]
    install: Callable[[], object] = nothing
    share: float = 1.0
    told: str = ""
    """How it is configured, in one sentence for the table's notes."""
    retry_s: float = 12.0
    """So far away one of its retries may be: only after that is an event that has not come lost."""


@dataclass(frozen=True, slots=True)
class AgentPeer:
    """A program between pins and MQTT: its role toggles these pins when asked, `topic` is what it publishes on."""

    name: str
    start: Callable[[Path, int, Sequence[int]], AbstractContextManager[Role]]
    topic: str
    install: Callable[[], object] = nothing
    told: str = ""


def written(file: Path, document: object) -> Path:
    """The file, with a document in it as JSON (which is YAML)."""
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return file
