"""The scenario file: from its YAML to scenarios, with every problem at once and its file and line.

What may not live here: what a step means to the sensors and functions of a house (timeline.py).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from bridge.config import INVALID, Invalid, Name, Node, Reader, Seconds, Within, checked, decode, duration, seconds
from bridge.errors import ConfigError, Problem
from bridge.testing.files import Files
from bridge.testing.functions import Function
from bridge.testing.scenarios.words import answer
from bridge.testing.virtual_time import moment

SUFFIXES: Final = (".scenario.yaml", ".scenario.yml")
"""How the names of scenario files end."""
WITHIN_S: Final = 10.0
"""How long an expectation lasts that does not say."""
VERBS: Final = ("sensor", "function", "node", "broker", "dispatcher", "clock", "expect")
"""The keys of which each step has one."""

_EXPECTED = re.compile(r"(none|dead letter|[^\s]+)(?: times (\d+))?(?: within (\S+))?")
_JUMP = re.compile(r"jump ([-+]?)(\S+)")


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a step, and where they stand."""

    text: str
    node: Node

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Words | Invalid:
        text = node.written if isinstance(node.value, int) and not isinstance(node.value, bool) else node.value
        if not isinstance(text, str) or not text.strip():
            return reader.problem(node, key, f"must be text, not {node.kind()}")
        return cls(" ".join(text.split()), node)


@dataclass(frozen=True, slots=True)
class Answers:
    """How a function is told to answer."""

    tell: Callable[[Function], object]

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Answers | Invalid:
        words = Words.from_node(node, reader, key)
        if isinstance(words, Invalid):
            return words
        try:
            return cls(answer(words.text))
        except ValueError as error:
            return reader.problem(node, key, str(error))


@dataclass(frozen=True, slots=True)
class Jump:
    """How far the wall clock jumps, in seconds; back when below zero."""

    by: timedelta

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Jump | Invalid:
        found = _JUMP.fullmatch(node.value) if isinstance(node.value, str) else None
        if found is None:
            return reader.problem(node, key, "must be a jump such as `jump -1h` or `jump 30m`")
        try:
            by = timedelta(seconds=seconds(found[2]))
        except ValueError as error:
            return reader.problem(node, key, str(error))
        return cls(-by if found[1] == "-" else by)


@dataclass(frozen=True, slots=True)
class Starts:
    """When a scenario begins."""

    at: datetime

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Starts | Invalid:
        try:
            return cls(moment(str(node.value)))
        except ValueError as error:
            return reader.problem(node, key, f"must be a moment such as 2026-11-22T23:10:00+00:00: {error}")


@dataclass(frozen=True, slots=True)
class Value:
    """The value that an event must have."""

    given: object

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Value:  # noqa: ARG003 - what the reader gives
        return cls(node.plain())


@dataclass(frozen=True, slots=True)
class ExpectMap:
    """What is expected, as a map."""

    function: str | None = None
    """The function that is invoked; without it, any."""
    mapping: Name | None = None
    """The mapping that invokes it; without it, any."""
    sensor: str | None = None
    """The sensor that the event is of."""
    event: str | None = None
    """The name of the event that it is about, such as `motion.detected`."""
    value: Value | None = None
    """The value in that event."""
    times: Annotated[int, Within(0, 100_000)] | None = None
    """How often, exactly; 0 is never. Without it, at least once."""
    within_s: Annotated[float, Seconds(0.001)] = WITHIN_S
    """How long the expectation lasts."""
    dead_letter: bool = False
    """That it is given up, and not that it is invoked."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if self.dead_letter:
            for key in ("sensor", "event", "value"):
                if getattr(self, key) is not None:
                    yield key, "cannot be asked of a dead letter; name its function or its mapping"


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected; text or a map."""

    wanted: ExpectMap

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Expected | Invalid:
        if isinstance(node.value, dict):
            wanted = reader.object(node, ExpectMap, key)
            return wanted if isinstance(wanted, Invalid) else cls(wanted)
        found = _EXPECTED.fullmatch(" ".join(node.value.split())) if isinstance(node.value, str) else None
        if found is None or (found[1] == "none" and found[2] is not None):
            wants = "a function's name, `none` or `dead letter`, with [times NUMBER] and [within TIME]; or a map"
            return reader.problem(node, key, f"must be {wants}")
        within_s = WITHIN_S
        if found[3] is not None:
            try:
                within_s = seconds(found[3])
            except ValueError as error:
                return reader.problem(node, key, str(error))
            if within_s <= 0:
                return reader.problem(node, key, f"within {found[3]} is no time at all")
        times = 0 if found[1] == "none" else None if found[2] is None else int(found[2])
        function = None if found[1] in ("none", "dead letter") else found[1]
        return cls(ExpectMap(function=function, times=times, within_s=within_s, dead_letter=found[1] == "dead letter"))


@dataclass(frozen=True, slots=True)
class StepMap:
    """One step: when, and one of the other keys."""

    at_s: Annotated[float, Seconds()] | None = None
    """When it begins, since the start."""
    after_s: Annotated[float, Seconds()] | None = None
    """How long after the step before; instead of `at`."""
    sensor: Words | None = None
    """The sensor that sees something: `pi-1/front-door`, or `front-door` where only one has that name."""
    do: Words | None = None
    """What it sees; or `offline`, `online`, `restart` of a node."""
    function: Words | None = None
    """The function that is told how to answer."""
    answers: Answers | None = None
    """How it answers from now on: `503 times 2`, `200 after 5s`, `hangs`, `unreachable`, `unknown`, `well again`."""
    node: Words | None = None
    """The node whose cable is pulled (`do: offline`) or plugged in, or whose agent starts again."""
    broker: Literal["stop", "start", "forget"] | None = None
    """The broker is gone, is there again, or loses its store."""
    dispatcher: Literal["kill", "restart"] | None = None
    """The dispatcher is killed, or starts (again)."""
    clock: Jump | None = None
    """The wall clock jumps, and no time passes: `jump -1h`."""
    expect: Expected | None = None
    """What must follow: `intruder-alert within 2s`, `none within 1m`, `dead letter within 1h`, or a map."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        given = [verb for verb in VERBS if getattr(self, verb) is not None]
        if len(given) != 1:
            said = f"has {' and '.join(given)}" if given else "has none of them"
            yield "", f"must have one of {', '.join(VERBS)}; it {said}"
            return
        (verb,) = given
        for key, owners in (("do", ("sensor", "node")), ("answers", ("function",))):
            there = getattr(self, key) is not None
            if there and verb not in owners:
                yield key, f"does not belong to {verb}, but to {' or '.join(owners)}"
            elif not there and verb in owners:
                yield verb, f"needs {key} beside it"
        if self.at_s is not None and self.after_s is not None:
            yield "after", "cannot be said beside at"
        if verb == "node" and self.do is not None and self.do.text not in NODE_WORDS:
            yield "do", f"must be one of {', '.join(NODE_WORDS)}, not {self.do.text!r}"

    @property
    def lasts_s(self) -> float:
        """How long it holds up the step after it: an expectation its time, everything else none."""
        return self.expect.wanted.within_s if self.expect is not None else 0.0


NODE_WORDS: Final = ("offline", "online", "restart")
"""What may happen to a node."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step and where it stands."""

    said: StepMap
    node: Node

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Step | Invalid:
        known = len(reader.found)
        said = reader.object(node, StepMap, key)
        if isinstance(said, Invalid) or len(reader.found) > known:
            return INVALID
        return cls(said, node)


def scheduled(steps: Sequence[Step]) -> Iterator[tuple[float, Step]]:
    """Each step and when it begins, in seconds since the start.

    A step that does not say begins together with the one before, and after an expectation when that is over.
    """
    free_s = 0.0
    for step in steps:
        begins_s = step.said.at_s if step.said.at_s is not None else free_s + (step.said.after_s or 0.0)
        yield begins_s, step
        free_s = begins_s + step.said.lasts_s


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
    steps: tuple[Step, ...]
    """What happens and what is expected, in order."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Time goes on, and something is expected."""
        before_s = 0.0
        for number, (begins_s, step) in enumerate(scheduled(self.steps)):
            if step.said.at_s is not None and begins_s < before_s:
                yield f"steps[{number}].at", f"is before the step above it, which begins at {duration(before_s)}"
            before_s = max(before_s, begins_s)
        if not any(step.said.expect is not None for step in self.steps):
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
        if not self.scenarios:
            yield "scenarios", "holds no scenario"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as its file says it."""

    name: str
    node: Node
    """Where its name stands."""
    starts: datetime | None
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
        if isinstance(node.value, dict) and "scenarios" in node.value:
            shared = decode(node, ScenariosMap, base=base)
            return tuple(_scenario(one, shared, base) for one in shared.scenarios)
        return (_scenario(decode(node, ScenarioMap, base=base), SharedMap(), base),)

    return checked(path, understand)


def find_scenarios(paths: Sequence[Path]) -> list[Path]:
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
            if file.name.endswith(SUFFIXES)
            and not any(part.startswith(".") or part == "node_modules" for part in file.relative_to(path).parts)
        ]
        if not inside:
            problems.append(Problem(str(path), 0, 0, "", f"holds no file whose name ends with {SUFFIXES[0]}"))
        found |= dict.fromkeys(inside)
    if problems:
        raise ConfigError(problems)
    return list(found)


def _scenario(said: ScenarioMap, shared: SharedMap, base: Path) -> Scenario:
    names = [field.name for field in dataclasses.fields(SharedMap)]
    given = {name: own if (own := getattr(said, name)) is not None else getattr(shared, name) for name in names}
    files = SharedMap(**given)
    starts = None if files.starts is None else files.starts.at
    return Scenario(said.name.text, said.name.node, starts, files, base, said.steps)
