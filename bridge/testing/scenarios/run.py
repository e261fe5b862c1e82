"""One scenario, run: its house lives through its time line, and every expectation that fails says why.

An expectation looks at what was invoked, or given up, while it lasted. What is wrong with a step only turns out when it
happens (a temperature that the thermometer cannot have) is a mistake in the file, told with its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge.config import Node
from bridge.core.mapping import MappingSet
from bridge.errors import BridgeError, BrokenDecision, ConfigError, Problem
from bridge.testing.files import Files, HousePlan, find
from bridge.testing.house import START, House
from bridge.testing.invocations import RecordedInvocation
from bridge.testing.scenarios.document import Scenario
from bridge.testing.scenarios.expectations import (
    SHOWN,
    Seen,
    candidates,
    dead_letter,
    is_met,
    is_wanted,
    too_few,
    unmet,
)
from bridge.testing.scenarios.happenings import Happening, happen
from bridge.testing.scenarios.steps import ExpectMap
from bridge.testing.scenarios.timeline import Expectation, Moment, timeline

_A_LITTLE_S: Final = 1e-6
"""An expectation lasts so much longer than it says: what is due at its end is seen, however its floats are rounded."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario that fits its house, and can be run."""

    scenario: Scenario
    plan: HousePlan
    mappings: MappingSet
    moments: Sequence[Moment]


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario went."""

    scenario: Scenario
    failures: tuple[str, ...]
    """Each expectation that failed, with its place and its reasons."""
    passed_s: float
    """How much time it took, virtual or real."""
    story: str
    """What happened in the house, one line each."""
    notes: tuple[str, ...] = ()
    """What was not at rest when it began, in a running house."""

    @property
    def passed(self) -> bool:
        """Whether every expectation was met."""
        return not self.failures


def prepare(scenario: Scenario, default: Files) -> Prepared:
    """Find the house of a scenario, and fit its steps to it. Raises ConfigError with everything that is wrong."""
    plan = find(scenario.house_files(default))
    return Prepared(scenario, plan, *timeline(scenario, plan))


def run(prepared: Prepared) -> Result:
    """Let a scenario happen in a house of its own. Raises ConfigError for a step that cannot happen."""
    starts = prepared.scenario.starts
    with House(prepared.plan, start=START if starts is None else starts.at) as house:
        house.settle()
        return _Run(prepared, house).through()


@dataclass(frozen=True, slots=True)
class _Since:
    """What had happened when an expectation began."""

    invocations: int
    decisions: int


class _Run:
    def __init__(self, prepared: Prepared, house: House) -> None:
        self._prepared = prepared
        self._house = house
        self._failures: list[str] = []
        self._since: dict[int, _Since] = {}

    def through(self) -> Result:
        house = self._house
        began_s = house.time.passed_s
        for moment in self._prepared.moments:
            # A dispatcher that is stopped may take time for what it has under way; then we are late, and go on.
            until_s = began_s + moment.at_s + (_A_LITTLE_S if moment.ends else 0.0)
            house.advance(max(0.0, until_s - house.time.passed_s))
            if not isinstance(moment.what, Expectation):
                self._happen(moment.what, moment.node)
            elif moment.ends:
                self._judge(moment.what)
            else:
                self._since[id(moment.what)] = _Since(len(house.invocations), len(house.decisions))
        passed_s = round(house.time.passed_s - began_s, 3)
        return Result(self._prepared.scenario, tuple(self._failures), passed_s, house.happened())

    def _happen(self, what: Happening, node: Node) -> None:
        try:
            happen(self._house, what)
        except BrokenDecision:
            raise
        except (BridgeError, ConnectionError) as error:  # the device does not do that, or a program is not there
            raise ConfigError([Problem(node.file, node.line, node.column, "", str(error))]) from error
        self._house.settle()

    def _judge(self, expectation: Expectation) -> None:
        since, wanted = self._since.pop(id(expectation)), expectation.wanted
        invoked = [_seen(one) for one in self._house.invocations[since.invocations :]]
        told = self._house.decisions[since.decisions :]
        letters = [letter for line in told if (letter := dead_letter(line, self._prepared.mappings))]
        found = [one for one in (*invoked, *letters) if is_wanted(one, wanted)]
        if is_met(wanted, len(found)):
            return
        others = [one for one in invoked if one not in found]
        reasons = self._reasons(wanted) if too_few(wanted, len(found)) else ()
        self._failures.append(unmet(expectation, found, others, reasons))

    def _reasons(self, wanted: ExpectMap) -> list[tuple[str, str]] | str:
        """Why each mapping that could have done it did not."""
        try:
            mappings = self._house.dispatcher.mappings
        except BridgeError as error:
            return str(error)
        if not self._house.events and all(line["type"] != "event" for line in self._house.decisions):
            return "no event came in"
        names = candidates(wanted, mappings)
        return [(name, self._why(name) if number < SHOWN else "") for number, name in enumerate(names)]

    def _why(self, mapping: str) -> str:
        newest = self._house.why(mapping).partition("\n")[0].removeprefix(f"{mapping}: ")
        return newest or "no event that it selects has been judged"


def _seen(one: RecordedInvocation) -> Seen:
    event = one.event
    return Seen(one.function, one.mapping, event.node, event.sensor, event.name, event.data.get("value"), str(one))
