"""What may be asked of the engine at all: methods, paths and parameters, each for some clients. Pure.

A request passes if it is one of these and nothing else: what cannot be understood is refused, and the engine is asked
for the path that was understood, never for the one that was written. So no second spelling of a path leads anywhere:
percent-encoding, empty and dot segments, whole URLs and other versions are in no passage's pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, urlencode

from bridge.swarm.versions import OLDEST

Client = Literal["gateway", "manager"]
GATEWAY: Final[tuple[Client, ...]] = ("gateway",)
MANAGER: Final[tuple[Client, ...]] = ("manager",)
BOTH: Final = GATEWAY + MANAGER

Kind = Literal[
    "look",
    "container stats",
    "task log",
    "service log",
    "service create",
    "service update",
    "service delete",
    "network create",
    "network delete",
    "secret create",
    "secret delete",
    "config create",
    "config delete",
    "cluster node update",
    "join tokens",
]
"""What has to be looked at before a call passes; a `look` needs no more."""

_TARGET: Final = re.compile(r"(?P<version>/v1\.(?P<minor>[0-9]{1,3}))?(?P<path>(?:/[A-Za-z0-9_][A-Za-z0-9_.:@-]*)+)")
_LONGEST: Final = 16 * 1024
_NAMED: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_LOG: Final = frozenset({"stdout", "stderr", "timestamps", "details", "tail", "since", "until", "follow"})


class Refused(Exception):
    """The call does not pass; the message says why, and what to do."""

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class Passage:
    """One method and path, with its parameters, that some clients may use. `*` stands for a name or an id.

    Other parameters are refused, and so is a body where there is none.
    """

    method: str
    path: str
    clients: tuple[Client, ...]
    kind: Kind = "look"
    params: frozenset[str] = frozenset()
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        image = "[A-Za-z0-9_][A-Za-z0-9_.:@/-]*"
        pattern = re.escape(self.path).replace(r"\*\*", f"({image})").replace(r"\*", f"({_NAMED})")
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def body(self) -> bool:
        """Whether the call brings a document."""
        return self.method == "POST"


def _look(path: str, clients: tuple[Client, ...], *params: str) -> Passage:
    return Passage("GET", path, clients, params=frozenset(params))


PASSAGES: Final = (
    Passage("HEAD", "/_ping", BOTH),
    _look("/_ping", BOTH),
    _look("/version", BOTH),
    _look("/info", BOTH),
    _look("/events", BOTH, "filters", "since", "until"),
    _look("/services", BOTH, "filters", "status"),
    _look("/services/*", BOTH, "insertDefaults"),
    Passage("POST", "/services/create", BOTH, "service create"),
    Passage(
        "POST",
        "/services/*/update",
        BOTH,
        "service update",
        frozenset({"version", "rollback", "registryAuthFrom"}),
    ),
    Passage("DELETE", "/services/*", BOTH, "service delete"),
    Passage("GET", "/services/*/logs", BOTH, "service log", _LOG),
    _look("/tasks", BOTH, "filters"),
    _look("/tasks/*", BOTH),
    Passage("GET", "/tasks/*/logs", BOTH, "task log", _LOG),
    Passage("GET", "/containers/*/stats", GATEWAY, "container stats", frozenset({"stream", "one-shot"})),
    _look("/networks", BOTH, "filters"),
    _look("/networks/*", BOTH, "scope", "verbose"),
    Passage("POST", "/networks/create", BOTH, "network create"),
    Passage("DELETE", "/networks/*", MANAGER, "network delete"),
    _look("/secrets", BOTH, "filters"),
    _look("/secrets/*", MANAGER),
    Passage("POST", "/secrets/create", BOTH, "secret create"),
    Passage("DELETE", "/secrets/*", BOTH, "secret delete"),
    _look("/configs", MANAGER, "filters"),
    _look("/configs/*", MANAGER),
    Passage("POST", "/configs/create", MANAGER, "config create"),
    Passage("DELETE", "/configs/*", MANAGER, "config delete"),
    _look("/nodes", MANAGER, "filters"),
    _look("/nodes/*", MANAGER),
    Passage("POST", "/nodes/*/update", MANAGER, "cluster node update", frozenset({"version"})),
    Passage("GET", "/swarm", MANAGER, "join tokens"),
    _look("/volumes", MANAGER, "filters"),
    _look("/distribution/**/json", MANAGER),
)
"""The allow-list: what our gateway and manager ask, and no more."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is one of the passages. `version` is `/v1.41`, or nothing; `name` is what stands for `*`."""

    client: Client
    passage: Passage
    version: str
    path: str
    name: str = ""
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def standing(self) -> bool:
        """Whether its answer may be silent for as long as it likes."""
        return self.path == "/events" or self.params.get("follow", "0").lower() in ("1", "true")

    @property
    def changing(self) -> bool:
        """Whether it changes anything."""
        return self.passage.method not in ("GET", "HEAD")

    def target(self, path: str | None = None) -> str:
        """What the engine is asked for."""
        query = f"?{urlencode(self.params)}" if self.params else ""
        return f"{self.version}{path or self.path}{query}"


def call_of(client: Client, method: str, target: str) -> Call:
    """The call that a request line is. Raises Refused for what is none."""
    if len(target) > _LONGEST:
        raise Refused("the path and its parameters are too long")
    written, question, query = target.partition("?")
    match = _TARGET.fullmatch(written)
    if match is None:
        raise Refused("this is no path that is known; only plainly written ones are")
    version, path = match["version"] or "", match["path"]
    if match["minor"] is not None and int(match["minor"]) < OLDEST[1]:
        raise Refused(f"the engine door knows the engine's API from version {OLDEST[0]}.{OLDEST[1]} on")
    known = [passage for passage in PASSAGES if passage.pattern.fullmatch(path)]
    passage = next((each for each in known if each.method == method and client in each.clients), None)
    if passage is None:
        who = " and ".join({client for each in known if each.method == method for client in each.clients})
        only = f"; the {who} may" if who else ""
        raise Refused(f"the {client} may ask for no {method[:16]} {path[:200]}{only}")
    groups = passage.pattern.fullmatch(path)
    assert groups is not None
    name = groups[1] if groups.re.groups else ""
    return Call(client, passage, version, path, name, _params(passage, query if question else ""))


def _params(passage: Passage, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=32)
    except ValueError:
        raise Refused("the parameters cannot be understood") from None
    found: dict[str, str] = {}
    for key, value in pairs:
        if key not in passage.params:
            raise Refused(f"{passage.method} {passage.path} has no parameter {key[:40]!r} that the engine door knows")
        if key in found:
            # Two readers may choose differently.
            raise Refused(f"the parameter {key} stands twice")
        found[key] = value
    if passage.kind == "container stats" and found.get("stream", "").lower() not in ("0", "false"):
        raise Refused("a container's stats are told once, with stream=0")
    return found
