"""The engine door's settings, as in `config/engine-door.yaml`."""

from __future__ import annotations

import posixpath
import pwd
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from bridge.config import Bytes, Pattern, Port, Seconds, Within
from bridge.errors import EngineDoorError

_USER: Final = Pattern(r"[0-9]{1,9}|[a-z_][a-z0-9_-]{0,31}", "a user's name or number")
_CAPABILITY: Final = Pattern("[A-Z_]+", "a capability such as NET_ADMIN")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The engine behind the door."""

    socket: Path = Path("/var/run/docker.sock")
    """The Docker Engine's socket."""
    timeout_s: Annotated[float, Seconds(0.5, 600)] = 30.0
    """The engine may take this long until it answers, and pause this long in an answer; beyond it 504. Events and logs
    that are followed may be silent for ever."""


def user_number(user: str) -> int:
    """The number of a user who was given by name or number. Raises EngineDoorError when there is none of this name."""
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise EngineDoorError(f"the engine door serves the user {user}, and there is none on this machine") from None


@dataclass(frozen=True, slots=True)
class ManagerClient:
    """The socket of the manager, who may make, change and remove stacks."""

    socket: Path
    """Where the door listens for it; the folder is made where it is missing. Nobody else should reach it."""
    user: Annotated[str, _USER]
    """The only user whose processes are served, by name or number."""
    join_tokens: bool = False
    """Let it read the tokens by which machines join. Whoever has one can become a manager of the swarm, and no door
    holds any more."""


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """The socket of the gateway, who may make, change and remove functions."""

    socket: Path
    """Where the door listens for it; the folder is made where it is missing. Nobody else should reach it."""
    user: Annotated[str, _USER]
    """The only user whose processes are served, by name or number."""
    networks: tuple[str, ...] = ("gpio-bridge-functions",)
    """The networks that functions may be in, and that the gateway may make."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the door serves its health and metrics, and nothing else."""

    host: str = "127.0.0.1"
    """Where to listen; `0.0.0.0` for other machines too (there is no password)."""
    port: Port = 8092
    """Port 0 takes a free one."""


@dataclass(frozen=True, slots=True)
class EngineDoorSettings:
    """Whom the door lets in, and what it lets them ask beyond the allow-lists that it has."""

    engine: EngineSettings = field(default_factory=EngineSettings)
    gateway: GatewayClient | None = None
    manager: ManagerClient | None = None
    binds: tuple[str, ...] = ()
    """Folders of cluster nodes that services of stacks may mount, with all below them. One that holds the engine's
    socket, such as `/`, opens the door for good."""
    capabilities: tuple[Annotated[str, _CAPABILITY], ...] = ()
    """Capabilities that containers may have beyond those that Docker gives to each."""
    max_connections: Annotated[int, Within(1, 10_000)] = 64
    """Of each client at a time; beyond it 503."""
    max_body_bytes: Annotated[int, Bytes(1024)] = 4 * 1024 * 1024
    """The largest document of a call; beyond it 413."""
    read_s: Annotated[float, Seconds(0.1, 600)] = 10.0
    """A client may take this long to send a whole document; beyond it 408."""
    write_s: Annotated[float, Seconds(0.1, 3600)] = 60.0
    """A client may take nothing of its answer for this long."""
    http: HttpSettings = field(default_factory=HttpSettings)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if self.gateway is None and self.manager is None:
            yield "gateway", "neither gateway nor manager is given: nobody could use the door"
        sockets = [each.socket for each in (self.gateway, self.manager) if each is not None]
        if len(set(sockets)) < len(sockets):
            yield "manager.socket", "is the gateway's; each client has a socket of its own"
        if self.engine.socket in sockets:
            yield "engine.socket", "is the socket of a client; the engine has its own"
        for i, bind in enumerate(self.binds):
            if not bind.startswith("/") or bind.startswith("//") or posixpath.normpath(bind) != bind:
                yield f"binds[{i}]", f"{bind!r} is no absolute path in its plain spelling"
