"""What a file that people write is: told by its keys, and where these leave it open by its name."""

from __future__ import annotations

import dataclasses
import typing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bridge.errors import ConfigError, Problem

if TYPE_CHECKING:
    from bridge.config import Node


class Kind(StrEnum):
    """What a file can be."""

    AGENT = "agent"
    DISPATCHER = "dispatcher"
    GATEWAY = "gateway"
    MANAGER = "manager"
    ENGINE_DOOR = "engine-door"
    MAPPINGS = "mappings"
    STACK = "stack"
    SCENARIO = "scenario"


SETTINGS: Final = (Kind.AGENT, Kind.DISPATCHER, Kind.GATEWAY, Kind.MANAGER, Kind.ENGINE_DOOR)
"""Files with a program's settings. What two of them could be is the one that stands first."""
_BY_KEY: Final = (
    ("steps", object, Kind.SCENARIO),
    ("scenarios", object, Kind.SCENARIO),
    ("functions", dict, Kind.STACK),
    ("mappings", dict, Kind.MAPPINGS),
)
"""Keys that decide, where their value has this shape."""


def recognise(file: Path) -> Kind:
    """What a file is. Raises ConfigError when nothing tells."""
    from bridge.config import Node, read
    from bridge.testing import SCENARIO_SUFFIXES

    try:
        document = read(file)
    except ConfigError as error:
        if not isinstance(error.document, Node):
            raise
        document = error.document  # its mistakes are told by whoever reads it next
    keys = document.value if isinstance(document.value, dict) else {}
    for key, shape, kind in _BY_KEY:
        if key in keys and isinstance(keys[key].value, shape):
            return kind
    by_name = next((kind for kind in Kind if file.name.startswith(kind.value)), None)
    known = {kind: _known(keys, settings_of(kind)) for kind in SETTINGS}
    most = max(known.values())
    if most:
        likely = [kind for kind in SETTINGS if known[kind] == most]
        return by_name if by_name in likely else likely[0]
    if file.name.endswith(SCENARIO_SUFFIXES):
        return Kind.SCENARIO
    if by_name is not None:
        return by_name
    listed = ", ".join(kind.value for kind in Kind)
    message = f"neither its keys nor its name tell what it is; say --as with one of {listed}"
    raise ConfigError([Problem(str(file), 1, 1, "", message)])


def settings_of(kind: Kind) -> type[Any]:
    """The settings that a file of this kind holds."""
    if kind is Kind.AGENT:
        from bridge.agent.settings import AgentSettings

        return AgentSettings
    if kind is Kind.DISPATCHER:
        from bridge.dispatcher.settings import DispatcherSettings

        return DispatcherSettings
    if kind is Kind.GATEWAY:
        from bridge.gateway.settings import GatewaySettings

        return GatewaySettings
    if kind is Kind.MANAGER:
        from bridge.manager.settings import ManagerSettings

        return ManagerSettings
    from bridge.engine_door.settings import EngineDoorSettings

    return EngineDoorSettings


def _known(keys: dict[str, Node], settings: type[Any]) -> int:
    """How many keys of a document, and of its sections, these settings know."""
    from bridge.config import schema

    there = schema(settings)
    count = 0
    for key, node in keys.items():
        if key not in there:
            continue
        count += 1
        section = _section(there[key][1])
        if section is not None and isinstance(node.value, dict):
            count += len(node.value.keys() & schema(section).keys())
    return count


def _section(hint: Any) -> type[Any] | None:
    """The settings of a section, where a key holds one."""
    options = (hint, *typing.get_args(hint))
    return next((one for one in options if isinstance(one, type) and dataclasses.is_dataclass(one)), None)
