"""The scenario file: from its YAML to scenarios, with every problem at once and its file and line.

What may not live here: the shapes of steps (steps.py), and what they mean to a house (timeline.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from bridge.config import Invalid, Node, Reader, checked, decode, duration
from bridge.errors import ConfigError, Problem
from bridge.testing import SCENARIO_SUFFIXES
from bridge.testing.files import Files, expanded, shown
from bridge.testing.scenarios.steps import Step, Steps, Words, scheduled
from bridge.testing.virtual_time import moment


@dataclass(frozen=True, slots=True)
class Starts:
    """When a scenario begins."""

    at: datetime
    node: Node
    """Where it stands."""

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Starts | Invalid:
        try:
            return cls(moment(str(node.value)), node)
        except ValueError as error:
            return reader.problem(node, key, f"must be a moment such as 2026-11-22T23:10:00+00:00: {error}")


Sources: TypeAlias = tuple[str, ...] | str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMap:
    """What a file of several scenarios may say for all of them."""

    starts: Starts | None = None
    """When the scenario begins, in ISO 8601 with its zone; without it, at noon of 2026-01-01 in UTC."""
    agents: Sources | None = None
    """The agents' files: a path or a glob, or a list of them. Paths start from the file's folder."""
    mappings: Path | None = None
    """The mapping file."""
    dispatcher: Path | None = None
    """The dispatcher's file."""
    functions: Path | None = None
    """The stack.yml of the functions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioMap(SharedMap):
    """One scenario."""

    name: Words
    """What it shows, in a few words; each name stands once in a file."""
    steps: Steps
    """What happens and what is expected, in order."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Time goes on, and something is expected."""
        before_s = 0.0
        for number, (begins_s, step) in enumerate(scheduled(self.steps.steps)):
            if step.said.at_s is not None and begins_s < before_s:
                yield f"steps[{number}].at", f"is before the step above it, which begins at {duration(before_s)}"
            before_s = max(before_s, begins_s)
        if not any(step.said.expect is not None for step in self.steps.steps):
            yield "steps", "expects nothing, and so cannot fail; add a step with expect"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenariosMap(SharedMap):
    """Several scenarios in one file."""

    scenarios: tuple[ScenarioMap, ...]
    """The scenarios, each as in a file of its own; what one says itself goes before what is said for all."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Every name stands once."""
        lines: dict[str, int] = {}
        for number, one in enumerate(self.scenarios):
            first = lines.setdefault(one.name.text, one.name.node.line)
            if first != one.name.node.line:
                yield f"scenarios[{number}].name", f"is already the name of the scenario in line {first}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as its file says it."""

    name: str
    node: Node
    """Where its name stands."""
    starts: Starts | None
    files: SharedMap
    base: Path
    """What the paths in the file start from."""
    steps: Sequence[Step]

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.node.file}:{self.node.line}"

    def house_files(self, default: Files) -> Files:
        """The files of its house: its own, and what it does not name as `default` says."""
        agents = self.files.agents
        if isinstance(agents, str):
            agents = (agents,)
        return dataclasses.replace(
            default,
            agents=default.agents if agents is None else [str(self.base / one) for one in agents],
            **{
                name: given
                for name in ("mappings", "dispatcher", "functions")
                if (given := getattr(self.files, name)) is not None
            },
        )


def read_scenarios(path: Path) -> tuple[Scenario, ...]:
    """The scenarios of a file. Raises ConfigError with every problem of it."""
    base = path.absolute().parent

    def understand(node: Node) -> tuple[Scenario, ...]:
        scenarios = scenarios_in(node)
        if missing := list(_missing(node, base)):
            raise ConfigError(missing)
        return scenarios

    def scenarios_in(node: Node) -> tuple[Scenario, ...]:
        if isinstance(node.value, dict) and "scenarios" in node.value:
            shared = decode(node, ScenariosMap, base=base)
            if not shared.scenarios:
                at = node.value["scenarios"]
                raise ConfigError([Problem(at.file, at.line, at.column, "scenarios", "holds no scenario")])
            return tuple(_scenario(one, shared, base) for one in shared.scenarios)
        return (_scenario(decode(node, ScenarioMap, base=base), SharedMap(), base),)

    return checked(path, understand)


def find_scenarios(paths: Sequence[Path], *, there_must_be_one: bool = True) -> list[Path]:
    """Files as they are given, and of folders every scenario file below. Raises ConfigError where there is none."""
    found: dict[Path, None] = {}
    problems: list[Problem] = []
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        inside = [
            file
            for file in sorted(path.rglob("*.scenario.y*ml"))
            if file.name.endswith(SCENARIO_SUFFIXES)
            and not any(part.startswith(".") or part == "node_modules" for part in file.relative_to(path).parts)
        ]
        if not inside and there_must_be_one:
            problems.append(Problem(str(path), 0, 0, "", f"holds no file whose name ends with {SCENARIO_SUFFIXES[0]}"))
        found |= dict.fromkeys(inside)
    if problems:
        raise ConfigError(problems)
    return list(found)


def _missing(node: Node, base: Path) -> Iterator[Problem]:
    """The files that a scenario file names, where there is none."""
    assert isinstance(node.value, dict)
    listed = node.value["scenarios"].value if "scenarios" in node.value else None
    several = listed if isinstance(listed, list) else []
    for prefix, one in [("", node), *((f"scenarios[{number}].", one) for number, one in enumerate(several))]:
        assert isinstance(one.value, dict)
        for key in ("agents", "mappings", "dispatcher", "functions"):
            named = one.value.get(key)
            if named is None:
                continue
            for file in named.value if isinstance(named.value, list) else (named,):
                if not isinstance(file.value, str):
                    continue
                path = str(base / Path(file.value).expanduser())
                there = expanded(base, path) if key == "agents" else [path]
                if not all(Path(str(each)).exists() for each in there):
                    yield Problem(
                        file.file, file.line, file.column, f"{prefix}{key}", f"there is no {shown(Path(path))}"
                    )


def _scenario(said: ScenarioMap, shared: SharedMap, base: Path) -> Scenario:
    names = [field.name for field in dataclasses.fields(SharedMap)]
    given = {name: own if (own := getattr(said, name)) is not None else getattr(shared, name) for name in names}
    files = SharedMap(**given)
    return Scenario(said.name.text, said.name.node, files.starts, files, base, said.steps.steps)
