"""The folder of our own stack: the compose file and the configs that are shipped, and passwords that are made for it.

What is there already is never changed, but for the broker's password file, to which users are added.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bridge
from bridge.errors import StackError
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import mint_token
from bridge.manager.stack.passwords import fresh_password, password_line, users_of

COMPOSE_FILE: Final = "gpio-bridge.yml"
SHIPPED: Final = (
    COMPOSE_FILE,
    "alertmanager.yml",
    "alerts.yml",
    "broker.acl",
    "broker.conf",
    "dashboard-delivery.json",
    "dashboard-functions.json",
    "dashboard-house.json",
    "dispatcher.yaml",
    "engine-door.yaml",
    "first-mappings.yaml",
    "gateway.yaml",
    "grafana-dashboards.yml",
    "grafana-datasource.yml",
    "manager.yaml",
    "prometheus.yml",
)
"""In a checkout they stand in `stack/`, in the wheel in a folder `shipped` beside this module."""
SECRETS: Final = "secrets"
PASSWORDS: Final = "broker-passwords"
"""The broker's password file. Those of its users stand beside it, one a file."""
PROGRAMS: Final = ("dispatcher", "manager", "people", "health")
"""The broker's users that are no agents; `broker.acl` says who may do what."""
GATEWAY_USER: Final = "admin"
FIRST_AGENT: Final = "pi-1"

_NODE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(slots=True)
class Written:
    """What was written of a folder; what is not named here was there already."""

    folder: Path
    files: list[Path] = field(default_factory=list)
    agents: dict[str, Path] = field(default_factory=dict)
    """The files with the passwords of agents that are new, by the names of their nodes."""


def source() -> Path:
    """Where the shipped files stand."""
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(bridge.__file__).parents[1] / "stack"


def is_shipped(compose_file: Path) -> bool:
    """Whether a compose file is the one that we ship, as we ship it."""
    try:
        return compose_file.read_bytes() == (source() / COMPOSE_FILE).read_bytes()
    except OSError:
        return False


def complete(folder: Path, agents: Sequence[str] = ()) -> Written:
    """Write what is missing in the folder of a stack, and the users of these agents.

    A stack that has no agent gets one, `pi-1`. Raises StackError for a name that no node can have, and when a file
    cannot be written.
    """
    for agent in agents:
        if not _NODE.fullmatch(agent):
            raise StackError(f"{agent!r} is no name for a node: a-z, 0-9 and - (not first), up to 63 letters")
        if agent in (*PROGRAMS, "gateway", "grafana"):
            raise StackError(
                f"an agent cannot have the name {agent} here: the stack has a password of that name already"
            )
    written = Written(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED:
            _write(written, folder / name, (source() / name).read_text(encoding="utf-8"))
        secrets = folder / SECRETS
        secrets.mkdir(mode=0o700, exist_ok=True)
        _write(written, secrets / "gateway-user", GATEWAY_USER, secret=True)
        for name in ("gateway-password", "grafana-password"):
            _write(written, secrets / name, fresh_password(), secret=True)
        # Shown by Prometheus to the manager, which is given it too and so need not have made it.
        _, token = mint_token("prometheus", Role.VIEWER, "")
        _write(written, secrets / "prometheus-token", token, secret=True)
        _add_users(written, secrets, agents)
    except OSError as error:
        raise StackError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return written


def _add_users(written: Written, secrets: Path, agents: Sequence[str]) -> None:
    """Make a password for each user that the password file does not have; one whose file is there keeps it."""
    file = secrets / PASSWORDS
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    known = users_of(before)
    if not agents and not known - set(PROGRAMS):
        agents = (FIRST_AGENT,)
    lines = before.splitlines()
    for user in dict.fromkeys((*PROGRAMS, *agents)):
        if user in known:
            continue
        path = secrets / f"{user}-password"
        _write(written, path, fresh_password(), secret=True)
        lines.append(password_line(user, path.read_text(encoding="utf-8").strip()))
        if user not in PROGRAMS:
            written.agents[user] = path
    if lines == before.splitlines():
        return
    # Whole or not at all: a file that breaks off would lock users out.
    fresh = file.with_name(f".{PASSWORDS}.new")
    fresh.unlink(missing_ok=True)
    _create(fresh, "\n".join(lines) + "\n", 0o600)
    fresh.replace(file)
    written.files.append(file)


def _write(written: Written, path: Path, text: str, *, secret: bool = False) -> None:
    with contextlib.suppress(FileExistsError):
        _create(path, text, 0o600 if secret else 0o644)
        written.files.append(path)


def _create(path: Path, text: str, mode: int) -> None:
    """Write a new file; nobody else can have read it before it had its mode. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
