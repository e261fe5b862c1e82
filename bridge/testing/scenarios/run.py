"""One scenario, run: its house lives through its time line, and every expectation that fails says why.

An expectation looks at what was invoked, or given up, while it lasted. What is wrong with a step only turns out when it
happens (a temperature that the thermometer cannot have) is a mistake in the file, told with its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.config import duration
from bridge.errors import BridgeError, BrokenDecision, ConfigError, Problem
from bridge.testing.files import Files, HousePlan, find
from bridge.testing.house import START, House
from bridge.testing.invocations import RecordedInvocation
from bridge.testing.scenarios.document import Scenario
from bridge.testing.scenarios.steps import ExpectMap
from bridge.testing.scenarios.timeline import Expectation, Moment, timeline

_A_LITTLE_S: Final = 1e-6
"""An expectation lasts so much longer than it says: what is due at its end is seen, however its floats are rounded."""
_SHOWN: Final = 10
"""So many invocations, or mappings, are told of in one failure."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A scenario that fits its house, and can be run."""

    scenario: Scenario
    plan: HousePlan
    moments: Sequence[Moment]


@dataclass(frozen=True, slots=True)
class Result:
    """How a scenario went."""

    scenario: Scenario
    failures: tuple[str, ...]
    """Each expectation that failed, with its place and its reasons."""
    passed_s: float
    """How much virtual time it took."""
    story: str
    """What happened in the house, one line each."""

    @property
    def passed(self) -> bool:
        """Whether every expectation was met."""
        return not self.failures


def prepare(scenario: Scenario, default: Files) -> Prepared:
    """Find the house of a scenario, and fit its steps to it. Raises ConfigError with everything that is wrong."""
    plan = find(scenario.house_files(default))
    return Prepared(scenario, plan, timeline(scenario, plan))


def run(prepared: Prepared) -> Result:
    """Let a scenario happen in a house of its own. Raises ConfigError for a step that cannot happen."""
    with House(prepared.plan, start=prepared.scenario.starts or START) as house:
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
                self._happen(moment)
            elif moment.ends:
                self._judge(moment.what)
            else:
                self._since[id(moment.what)] = _Since(len(house.invocations), len(house.decisions))
        passed_s = round(house.time.passed_s - began_s, 3)
        return Result(self._prepared.scenario, tuple(self._failures), passed_s, house.happened())

    def _happen(self, moment: Moment) -> None:
        assert not isinstance(moment.what, Expectation)
        try:
            moment.what(self._house)
        except BrokenDecision:
            raise
        except BridgeError as error:  # the device does not do that, or the dispatcher is not running
            node = moment.node
            raise ConfigError([Problem(node.file, node.line, node.column, "", str(error))]) from error
        self._house.settle()

    def _judge(self, expectation: Expectation) -> None:
        since, wanted = self._since.pop(id(expectation)), expectation.wanted
        if wanted.dead_letter:
            letters = [line for line in self._house.decisions[since.decisions :] if _buries(line, wanted)]
            found = [_letter(line) for line in letters]
        else:
            found = [str(one) for one in self._house.invocations[since.invocations :] if _is(one, wanted)]
        met = len(found) > 0 if wanted.times is None else len(found) == wanted.times
        if not met:
            self._failures.append(self._told(expectation, since, found))

    def _told(self, expectation: Expectation, since: _Since, found: list[str]) -> str:
        wanted, node = expectation.wanted, expectation.node
        lines = [f"{node.file}:{node.line}: expected {_said(wanted)}, and {_count(len(found))}"]
        lines += _listed(found)
        if len(found) < (1 if wanted.times is None else wanted.times):
            others = [str(one) for one in self._house.invocations[since.invocations :]]
            others = [one for one in others if one not in found]
            if others:
                lines += ["  instead:", *(f"  {line}" for line in _listed(others))]
            lines += self._reasons(wanted)
        return "\n".join(lines)

    def _reasons(self, wanted: ExpectMap) -> list[str]:
        """Why each mapping that could have done it did not."""
        try:
            mappings = self._house.dispatcher.mappings.mappings.values()
        except BridgeError as error:
            return [f"  {error}"]
        names = [
            one.name
            for one in mappings
            if wanted.mapping in (None, one.name) and wanted.function in (None, one.function, one.on_failure)
        ]
        if not self._house.events:
            return ["  no event came in"]
        lines = [f"  {name}: {self._why(name)}" for name in names[:_SHOWN]]
        return lines + ([f"  ... and {len(names) - _SHOWN} more mappings"] if len(names) > _SHOWN else [])

    def _why(self, mapping: str) -> str:
        newest = self._house.why(mapping).partition("\n")[0].removeprefix(f"{mapping}: ")
        return newest or "no event that it selects has been judged"


def _is(one: RecordedInvocation, wanted: ExpectMap) -> bool:
    event = one.event
    return (
        wanted.function in (None, one.function)
        and wanted.mapping in (None, one.mapping)
        and wanted.sensor in (None, event.sensor, f"{event.node}/{event.sensor}")
        and wanted.event in (None, event.name)
        and (wanted.value is None or _same(wanted.value.given, event.data.get("value")))
    )


def _same(wanted: object, found: object) -> bool:
    """Equal, and true is not 1."""
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def _buries(line: dict[str, Any], wanted: ExpectMap) -> bool:
    return (
        line["type"] == "deadletter"
        and wanted.function in (None, line.get("function"))
        and wanted.mapping in (None, line.get("mapping"))
    )


def _letter(line: dict[str, Any]) -> str:
    return f"{line['at'][11:19]} {line.get('function') or line.get('topic')}: {line['reason']}"


def _said(wanted: ExpectMap) -> str:
    """An expectation in words, as a person would have written it."""
    what = "dead letter" if wanted.dead_letter else "invocation"
    said = f"no {what}" if wanted.times == 0 else f"a {what}" if wanted.dead_letter else "an invocation"
    if wanted.times:
        said = f"{wanted.times} {what}{'' if wanted.times == 1 else 's'}"
    said += f" of {wanted.function}" if wanted.function is not None else ""
    said += f" by {wanted.mapping}" if wanted.mapping is not None else ""
    about = [wanted.sensor, wanted.event, None if wanted.value is None else repr(wanted.value.given)]
    if any(one is not None for one in about):
        said += f" for {' '.join(one for one in about if one is not None)}"
    return f"{said} within {duration(wanted.within_s)}"


def _count(found: int) -> str:
    return "there was none" if found == 0 else "there was 1:" if found == 1 else f"there were {found}:"


def _listed(found: list[str]) -> list[str]:
    more = [f"  ... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [*(f"  {one}" for one in found[:_SHOWN]), *more]
