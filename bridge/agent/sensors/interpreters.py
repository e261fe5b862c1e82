"""The two interpreters all kinds share: filtered levels with two names, and filtered numbers with their bands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Generic, TypeVar

from bridge.agent.sensors.plan import Aspect, Finding, Outlook
from bridge.core.event import Value
from bridge.core.filters import Chain, Filter, Report, Step, WarmUp

T = TypeVar("T")


class Levels(Generic[T]):
    """Every level that passes the filter is a finding: `names[True]` or `names[False]`, with the level as its value.

    `warm_up` stands before the filter, and is known by name because the sensor's health tells of it.
    """

    def __init__(
        self,
        names: tuple[str, str],
        passing: Filter[T, bool],
        warm_up: WarmUp[T] | None = None,
    ) -> None:
        self._on, self._off = names
        self._findings = Finding(self._off, False), Finding(self._on, True)  # by level; nobody changes them
        self._filter: Filter[T, bool] = passing if warm_up is None else Chain(warm_up, passing)
        self.warm_up = warm_up

    def read(self, value: T, now: float) -> Outlook:
        return self._outlook(self._filter.read(value, now))

    def wake(self, now: float) -> Outlook:
        return self._outlook(self._filter.wake(now))

    def known(self, name: str, value: Value) -> dict[Aspect, tuple[str, Value]]:
        return {"level": (name, value)} if name in (self._on, self._off) else {}

    def reset(self) -> None:
        self._filter.reset()

    def _outlook(self, step: Step[bool]) -> Outlook:
        return Outlook(tuple(map(self._findings.__getitem__, step.values)), step.wake_at, step.faults)


class Numbers:
    """A number is refused, smoothed and rounded by `clean`, then reported as `changed`, and named by its band.

    `bands` says in which band the number lies (`Threshold`, `Switch`), `names` what each band's event is called. The
    value of both is the number itself.
    """

    warm_up: WarmUp[Any] | None = None

    def __init__(
        self,
        changed: str,
        unit: str | None,
        clean: Filter[float, float],
        report: Report,
        bands: Filter[float, Any] | None = None,
        names: Mapping[Any, str] | None = None,
    ) -> None:
        self._changed = changed
        self._unit = unit
        self._clean = clean
        self._report = report
        self._bands = bands
        self._names = names or {}

    def read(self, value: float, now: float) -> Outlook:
        step = self._clean.read(value, now)
        if not step.values:
            return replace(self.wake(now), faults=step.faults)
        findings: list[Finding] = []
        wake_at: float | None = None
        for number in step.values:
            reported = self._report.read(number, now)
            findings += map(self._measure, reported.values)
            wake_at = reported.wake_at
            if self._bands is not None:
                # The band after the number: whoever hears of "high" already knows the temperature.
                found = self._bands.read(number, now)
                findings += (Finding(self._names[band], number, self._unit) for band in found.values)
        return Outlook(tuple(findings), wake_at, step.faults)

    def wake(self, now: float) -> Outlook:
        step = self._report.wake(now)
        return Outlook(tuple(map(self._measure, step.values)), step.wake_at)

    def known(self, name: str, value: Value) -> dict[Aspect, tuple[str, Value]]:
        """The number, and the band where it can be told: inside a hysteresis the number alone leaves it open."""
        if isinstance(value, (bool, str)) or value is None:
            return {}
        known: dict[Aspect, tuple[str, Value]] = {"measure": (self._changed, value)}
        bands = {name} if name in self._names.values() else self._possible(value)
        if len(bands) == 1:
            known["level"] = (bands.pop(), value)
        return known

    def _possible(self, value: float) -> set[str]:
        """The bands that a number may lie in, whatever came before it. Asked before the first reading only."""
        if self._bands is None:
            return set()
        possible = set()
        for before in (value, -math.inf, math.inf):
            found = (*self._bands.read(before, 0.0).values, *self._bands.read(value, 0.0).values)
            possible.add(self._names[found[-1]])
            self._bands.reset()
        return possible

    def reset(self) -> None:
        for each in (self._clean, self._report, self._bands):
            if each is not None:
                each.reset()

    def _measure(self, number: float) -> Finding:
        return Finding(self._changed, number, self._unit, "measure", self._report.delta)
