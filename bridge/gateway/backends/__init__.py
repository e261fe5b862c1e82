"""Where functions run: the seam between the gateway and its backends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from bridge.openfaas.deployment import Deployment, FunctionStatus, LogLine


class Lease(Protocol):
    """One replica, held for one call: it is not taken away before `release`, short of a drain's time-out."""

    @property
    def instance(self) -> str:
        """The replica's name, as in its log."""

    @property
    def host(self) -> str:
        """Where it listens."""

    @property
    def port(self) -> int:
        """The port at `host`."""

    def release(self) -> None:
        """Give the replica back; may be called once."""

    def suspect(self) -> None:
        """Tell that the replica took no connection or broke one, so that it is looked at before it is chosen again."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which lines of a function's log are wanted; `tail` is the number of newest lines to begin with, None for all."""

    name: str
    instance: str = ""
    tail: int | None = None
    since: datetime | None = None
    follow: bool = False


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What the backend is called in `/system/info`."""

    provider: str
    orchestration: str


class Secrets(Protocol):
    """Secret values by their names; nothing ever reads a value back to a client.

    Errors: FunctionError for what cannot be done, EngineUnavailable; the message is for the client.
    """

    async def names(self) -> tuple[str, ...]:
        """The names, in order."""

    async def create(self, name: str, value: bytes) -> bool:
        """Store a new secret; False when there is one of this name."""

    async def update(self, name: str, value: bytes) -> bool:
        """Replace a secret; False when there is none of this name."""

    async def remove(self, name: str) -> bool:
        """Forget a secret; False when there is none of this name."""


class Backend(Protocol):
    """Runs functions. All methods are called on the gateway's loop.

    Errors: FunctionNotFound for a name that is not deployed, FunctionUnavailable when nothing can answer for one now,
    FunctionError for what cannot be deployed, EngineUnavailable when what runs the functions cannot be asked; the
    message is for the client.
    """

    @property
    def info(self) -> BackendInfo:
        """What it is called."""

    @property
    def secrets(self) -> Secrets:
        """The functions' secrets."""

    async def __aenter__(self) -> Self:
        """Bring back, or look up, what was deployed."""

    async def __aexit__(self, *exc: object) -> None:
        """Let go of everything within seconds; whether the functions go on without us is the backend's affair."""

    async def deploy(self, deployment: Deployment) -> None:
        """Deploy a function, or replace it; returns when that is recorded, not when it is ready."""

    async def update(self, deployment: Deployment) -> None:
        """Replace a deployed function without failing a request."""

    async def remove(self, name: str) -> None:
        """Stop a function and forget it."""

    async def scale(self, name: str, replicas: int) -> None:
        """Set the wanted number of replicas."""

    async def list(self) -> list[FunctionStatus]:
        """Every function, by name."""

    async def describe(self, name: str, *, usage: bool = False) -> FunctionStatus:
        """One function."""

    def known(self, name: str) -> bool:
        """Whether a function of this name is deployed; cheap. EngineUnavailable where that is not known yet."""

    def deployments(self) -> Mapping[str, Deployment]:
        """What is deployed, by function, as last seen; cheap."""

    def wanted(self) -> Mapping[str, int]:
        """The wanted replicas by function; cheap."""

    def logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        """The lines asked for, oldest first; with `follow` it goes on until it is closed."""

    async def acquire(self, name: str) -> Lease:
        """A replica for one call. A function at zero is scaled up first; one scaling serves all who wait.

        Waits for a replica that starts, as long as the backend's settings say.
        """

    def not_ready(self) -> str | None:
        """What keeps functions from running, in words; None when all is well."""
