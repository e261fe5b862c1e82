"""Where the mapping set comes from: a file (mappings.py), or the manager (manager_mappings.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

from bridge.clock import Clock
from bridge.core.mapping import MappingSet
from bridge.dispatcher.manager_mappings import ManagerMappings
from bridge.dispatcher.mappings import MappingFile
from bridge.dispatcher.settings import DispatcherSettings
from bridge.errors import ConfigError
from bridge.mapping_file.timezone import local_timezone
from bridge.mqtt.transport import Connector


class MappingSource(Protocol):
    """Where the mapping set comes from."""

    problem: ConfigError | None
    """Why the newest set is not in force; None when it is."""

    @property
    def source(self) -> str:
        """What it is, in a word."""

    @property
    def version(self) -> str:
        """Of the set in force."""

    @property
    def subscription_problem(self) -> str | None:
        """Why nothing new can be heard of; None when all is well."""

    async def __aenter__(self) -> Self:
        """Begin to listen."""

    async def __aexit__(self, *exc: object) -> None:
        """Listen no more."""

    async def first(self) -> MappingSet:
        """The set to start with. Raises BridgeError when there is none."""

    async def watch(self, replaced: Callable[[MappingSet], None]) -> None:
        """Call `replaced` with each good new version, until cancelled."""

    async def reload(self, replaced: Callable[[MappingSet], None]) -> None:
        """Look for a new version now."""


def mapping_source(
    settings: DispatcherSettings, clock: Clock, connect: Connector, told: Callable[[], None], *, threads: bool
) -> MappingSource:
    """The source that the settings name; it calls `told` when there is something else to say of the set in force."""
    timezone = local_timezone()
    if settings.mappings == "manager":
        return ManagerMappings(
            settings.site,
            settings.id,
            settings.state_dir,
            clock=clock,
            connect=connect,
            timezone=timezone,
            root=settings.root,
            told=told,
        )
    return MappingFile(
        settings.mappings,
        settings.state_dir,
        clock,
        timezone=timezone,
        root=settings.root,
        threads=threads,
        told=told,
    )
