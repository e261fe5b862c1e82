"""Which files make a house, and what stands in them: found where projects keep them, or named, or given in place.

Raises ConfigError with the problems of all files at once, each with its file and line, as `gpio-bridge check` does.
The environment is asked for what a stack file takes from it, and for nothing else: a test says the same everywhere.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from bridge.agent.settings import AgentSettings
from bridge.config import Node, checked, compose, decode, understood
from bridge.core.mapping import MappingSet
from bridge.core.topics import DEFAULT_ROOT
from bridge.dispatcher.settings import DispatcherSettings
from bridge.errors import ConfigError, Problem
from bridge.mapping_file import decode_mappings
from bridge.mapping_file.timezone import local_timezone
from bridge.openfaas.deployment import Deployment
from bridge.openfaas.stack_file import load_stack
from bridge.testing import MAPPINGS

Source: TypeAlias = str | Path | Mapping[str, Any]
"""A path (a glob too, for agents), or the contents in place: YAML text of several lines, or a dict."""

AGENTS: Final = ("config/agent-*.yaml", "config/agent.yaml", "agents/*.yaml", "agent-*.yaml", "agent.yaml")
"""Where agents' files are looked for: the first of these that finds any."""
DISPATCHER: Final = ("config/dispatcher.yaml", "dispatcher.yaml")
FUNCTIONS: Final = ("functions/stack.yml", "stack.yml")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where a house's files are; what is None is looked for below `root`."""

    root: Path
    agents: Sequence[Source] | None = None
    mappings: Source | None = None
    dispatcher: Source | None = None
    functions: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HousePlan:
    """What stands in the files, checked."""

    agents: tuple[AgentSettings, ...]
    mappings: str | None
    """The text of the mapping file; None where there is none."""
    mappings_name: str = "mappings.yaml"
    dispatcher: DispatcherSettings | None = None
    """None: its defaults."""
    functions: Mapping[str, Deployment] = field(default_factory=dict)

    @property
    def site(self) -> str:
        """The site that the dispatcher works for: its own file's, else that of the agents."""
        if self.dispatcher is not None:
            return self.dispatcher.site
        return self.agents[0].site

    @property
    def root(self) -> str:
        """What every topic starts with."""
        return self.dispatcher.root if self.dispatcher is not None else self.agents[0].root


def find(files: Files) -> HousePlan:
    """Read a house's files. Raises ConfigError with every problem of all of them."""
    reading = _Reading(files.root)
    agents = tuple(_agents(files, reading))
    if agents:
        reading.root_topic = agents[0].root
    dispatcher = reading.one(files.dispatcher, DISPATCHER, "dispatcher", reading.dispatcher)
    text = reading.one(files.mappings, MAPPINGS, "mappings", reading.mappings)
    functions = reading.one(files.functions, FUNCTIONS, "functions", reading.functions) or {}
    if reading.problems:
        raise ConfigError(reading.problems)
    return HousePlan(
        agents=agents,
        mappings=None if text is None else text[0],
        mappings_name="mappings.yaml" if text is None else text[1],
        dispatcher=dispatcher,
        functions=functions,
    )


def _agents(files: Files, reading: _Reading) -> Iterator[AgentSettings]:
    sources = files.agents if files.agents is not None else _first(files.root, AGENTS)
    if not sources:
        reading.missing("agents", AGENTS)
        return
    each = [one for source in sources for one in expanded(files.root, source)]
    seen: dict[tuple[str, str], str] = {}
    for number, source in enumerate(each, 1):
        name, found = reading.read(source, f"agent {number} of the test", AgentSettings)
        if found is None:
            continue
        first = seen.setdefault((found.site, found.node), name)
        if first != name:
            reading.problems.append(Problem(name, 0, 0, "node", f"{found.node} is already the node of {first}"))
            continue
        yield found


class _Reading:
    """Reads files, and gathers what is wrong with them."""

    def __init__(self, root: Path) -> None:
        self.problems: list[Problem] = []
        self.root_topic = DEFAULT_ROOT
        self._root = root

    def one(
        self, given: Source | None, places: Sequence[str], what: str, understand: Callable[[Source, str], T]
    ) -> T | None:
        """What stands in the file that is given or found; None where there is none, or it has problems."""
        source = given
        if source is None:
            found = _first(self._root, places)
            if not found:
                return None
            source = found[0]
        try:
            return understand(source, f"{what} of the test")
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None

    def read(self, source: Source, name: str, cls: type[T]) -> tuple[str, T | None]:
        """Settings of one class, and the name of where they stand."""
        shown, text = self._text(source, name)
        base = self._root if text is not None else Path(shown).absolute().parent

        def understand(node: Node) -> T:
            return decode(node, cls, base=base)

        try:
            if text is not None:
                return shown, understood(lambda: compose(text, shown), understand)
            return shown, _known(Path(shown), cls.__name__, lambda path: checked(path, understand))
        except ConfigError as error:
            self.problems.extend(error.problems)
            return shown, None

    def dispatcher(self, source: Source, name: str) -> DispatcherSettings | None:
        return self.read(source, name, DispatcherSettings)[1]

    def mappings(self, source: Source, name: str) -> tuple[str, str]:
        shown, text = self._text(source, name)
        if text is None:
            return _known(Path(shown), "mappings", lambda path: _mapping_text(path, self.root_topic)), shown
        understood(lambda: compose(text, shown), lambda node: _decoded(node, self.root_topic))
        return text, shown

    def functions(self, source: Source, name: str) -> dict[str, Deployment]:
        if not isinstance(source, Path):
            shown, text = self._text(source, name)
            if text is not None:
                raise ConfigError([Problem(name, 0, 0, "", "is the path of a stack.yml; its handlers stand beside it")])
            source = Path(shown)
        # pytest names the current test there, which no stack file means.
        environ = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        what = f"functions {hash(frozenset(environ.items()))}"
        return _known(source, what, lambda path: {one.service: one for one in load_stack(path, environ)})

    def missing(self, what: str, places: Sequence[str]) -> None:
        """Nothing was found where it is looked for."""
        listed = ", ".join(places)
        message = f"there is none of {listed}; say which with the ini option gpio_bridge_{what} or the marker"
        self.problems.append(Problem(str(self._root), 0, 0, what, message))

    def _text(self, source: Source, name: str) -> tuple[str, str | None]:
        """The name to show, and the text where it was given in place."""
        if isinstance(source, Mapping):
            document = {"version": 1, **source}
            return name, orjson.dumps(document, option=orjson.OPT_INDENT_2, default=str).decode()
        if isinstance(source, str) and "\n" in source:
            return name, source
        path = Path(source)
        return shown(path if path.is_absolute() else self._root / path), None


_KNOWN: Final[dict[tuple[Path, str], tuple[tuple[int, int], Any]]] = {}


def _known(path: Path, what: str, understand: Callable[[Path], T]) -> T:
    """What a file holds, understood once as long as it does not change: a hundred tests read the same ones."""
    try:
        found = path.stat()
    except OSError:
        return understand(path)  # which says what is wrong
    stamp, key = (found.st_mtime_ns, found.st_size), (path.absolute(), what)
    known = _KNOWN.get(key)
    if known is None or known[0] != stamp:
        known = _KNOWN[key] = (stamp, understand(path))
    result: T = known[1]
    return result


def _mapping_text(path: Path, root: str) -> str:
    checked(path, lambda node: _decoded(node, root))
    return path.read_text(encoding="utf-8-sig")


def _decoded(node: Node, root: str) -> MappingSet:
    return decode_mappings(node, local_timezone=local_timezone(), root=root)


def _first(root: Path, places: Sequence[str]) -> list[Path]:
    for place in places:
        found = sorted(root.glob(place))
        if found:
            return found
    return []


def expanded(root: Path, source: Source) -> list[Source]:
    """A glob as the files it finds; one that finds none stays, and is told as a file that cannot be read."""
    if isinstance(source, str) and "\n" not in source and any(letter in source for letter in "*?["):
        below = Path(Path(source).anchor) if Path(source).is_absolute() else root
        return [*sorted(below.glob(str(Path(source).relative_to(Path(source).anchor))))] or [source]
    return [source]


def shown(path: Path) -> str:
    """A path as people write it from where they stand."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def placed(plan: HousePlan, state: Path) -> tuple[tuple[AgentSettings, ...], DispatcherSettings]:
    """The settings with mock pins and with state folders below `state`; no status servers."""
    agents = tuple(
        dataclasses.replace(
            agent,
            state_dir=state / "agents" / agent.node,
            pins=dataclasses.replace(agent.pins, factory="mock"),
            http=None,
        )
        for agent in plan.agents
    )
    own = plan.dispatcher or DispatcherSettings(state_dir=state, mappings=state, site=plan.site, root=plan.root)
    return agents, dataclasses.replace(
        own,
        state_dir=state / "dispatcher",
        mappings=state / "mappings.yaml",
        traces=dataclasses.replace(own.traces, enabled=True),
        standby=None,
    )
