"""Holds what the dispatcher of a running house has told against what was expected of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bridge.testing.scenarios.expectations import Seen, candidates, is_met, is_wanted, too_few, unmet
from bridge.testing.scenarios.heard import Told
from bridge.testing.scenarios.run import Prepared
from bridge.testing.scenarios.steps import ExpectMap
from bridge.testing.scenarios.timeline import Expectation
from bridge.testing.story import Story

LATE_S: Final = 0.25
"""So much later than an expectation says what it expects may come: on the virtual clock the way takes no time."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """An expectation that has begun."""

    expectation: Expectation
    begins_at: datetime

    @property
    def ends_at(self) -> datetime:
        return self.begins_at + timedelta(seconds=self.expectation.wanted.within_s)


class Verdicts:
    """Holds what was told against what was expected."""

    def __init__(self, prepared: Prepared, told: list[Told], story: Story) -> None:
        self._prepared = prepared
        self._told = told
        self._story = story
        self._late: dict[str, datetime] = {}
        """What came a little late for an expectation, and when that ended: it is not held against a later one."""

    def failures(self, expectations: list[Awaited]) -> list[str]:
        """What to say of each that is not met."""
        found = [self._failure(one) for one in sorted(expectations, key=lambda one: one.ends_at)]
        return [failure for failure in found if failure is not None]

    def _failure(self, awaited: Awaited) -> str | None:
        wanted, ends_at = awaited.expectation.wanted, awaited.ends_at
        meant = [
            one
            for one in self._told
            if one.at >= awaited.begins_at and (one.key not in self._late or awaited.begins_at < self._late[one.key])
        ]
        inside = [one for one in meant if one.at <= ends_at]
        found = [one.seen for one in inside if is_wanted(one.seen, wanted)]
        for one in meant:
            in_time = ends_at < one.at <= ends_at + timedelta(seconds=LATE_S)
            if in_time and too_few(wanted, len(found)) and is_wanted(one.seen, wanted):
                self._late[one.key] = ends_at
                found.append(one.seen)
        if is_met(wanted, len(found)):
            return None
        others = [one.seen for one in inside if not one.seen.letter and one.seen not in found]
        return unmet(awaited.expectation, found, others, self._reasons(wanted, found))

    def _reasons(self, wanted: ExpectMap, found: list[Seen]) -> list[tuple[str, str]] | str:
        if not too_few(wanted, len(found)):
            return []
        if not any(line["type"] == "event" for line in self._story.lines):
            return "no event came in"
        return [(name, self._why(name)) for name in candidates(wanted, self._prepared.mappings)]

    def _why(self, mapping: str) -> str:
        reasons = self._story.reasons(mapping)
        return reasons[0] if reasons else "no event that it selects has been judged"
