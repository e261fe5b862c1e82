"""What the functions of a house were asked: every invocation, in the order of their first attempts.

A failing assertion says what was invoked instead, and of mappings that said no, which clause did and on what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, overload

import orjson

from bridge.core.event import Event
from bridge.testing.names import Names

Outcome = Literal["running", "retrying", "parked", "succeeded", "dead", "cut off"]


@dataclass(slots=True)
class Attempt:
    """One try of an invocation."""

    number: int
    """From 1; a parked function's probes do not count as new ones."""
    at: datetime
    """When it began."""
    status: int | None = None
    """What the function answered; None while it has not, or when nothing came back."""
    reason: str = ""
    """Why it failed, in words."""
    answer: bytes = b""
    """The body of the answer."""
    ended_at: datetime | None = None
    """When its outcome was known; None while it is not."""


@dataclass(slots=True)
class RecordedInvocation:
    """One event times one mapping, as the function saw it."""

    id: str
    """`<event id>:<mapping>`, as in the header `Idempotency-Key`."""
    function: str
    """Which function was asked."""
    mapping: str
    """Which mapping asked it."""
    event: Event
    """The event: `name`, `node`, `sensor`, `time`, `data`, `initial`, ..."""
    body: bytes
    """What was posted, byte for byte."""
    headers: dict[str, str]
    """The headers of the last attempt."""
    attempts: list[Attempt] = field(default_factory=list)
    """Its attempts, in order."""
    outcome: Outcome = "running"
    """`running`, `retrying`, `parked`, `succeeded`, `dead`, or `cut off` by a kill of the dispatcher."""
    reason: str = ""
    """Why it is dead, retried or parked."""

    @property
    def at(self) -> datetime:
        """When its first attempt began."""
        return self.attempts[0].at

    @property
    def status(self) -> int | None:
        """What the function answered last."""
        return self.attempts[-1].status

    @property
    def payload(self) -> Any:
        """What was posted: as JSON where it is, else as text."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return self.body.decode("utf-8", "replace")

    def __str__(self) -> str:
        count = len(self.attempts)
        tried = "" if count == 1 else f" after {count} attempts"
        status = "" if self.status is None else f" {self.status}"
        why = f": {self.reason}" if self.reason else ""
        return (
            f"{self.at:%H:%M:%S.%f}"[:-3]
            + f" {self.function} by {self.mapping}, for {told(self.event)}: {self.outcome}{status}{tried}{why}"
        )


class Invocations(Sequence[RecordedInvocation]):
    """Invocations in their order; `.of(function)` and `.by(mapping)` choose among them.

    `explain` says, for a message, why what was looked for is not there.
    """

    def __init__(
        self,
        all_: Callable[[], Sequence[RecordedInvocation]],
        explain: Callable[[str | None, str | None], str],
        names: Callable[[], Names],
        *,
        function: str | None = None,
        mapping: str | None = None,
    ) -> None:
        self._all = all_
        self._explain = explain
        self._names = names
        self._function = function
        self._mapping = mapping

    def of(self, function: str) -> Invocations:
        """Those of one function. Raises LookupError when there is no such function."""
        if all(one.function != function for one in self._all()):  # a mapping of before may have invoked it
            self._names().check_function(function)
        return Invocations(self._all, self._explain, self._names, function=function, mapping=self._mapping)

    def by(self, mapping: str) -> Invocations:
        """Those that one mapping made. Raises LookupError when there is no such mapping."""
        if all(one.mapping != mapping for one in self._all()):
            self._names().check_mapping(mapping)
        return Invocations(self._all, self._explain, self._names, function=self._function, mapping=mapping)

    def only(self) -> RecordedInvocation:
        """The one there is; fails when there is none, or another one besides."""
        __tracebackhide__ = True
        found = self._found()
        if len(found) == 1:
            return found[0]
        if not found:
            raise AssertionError(self._nothing())
        raise AssertionError(f"one invocation was expected{self._chosen()}, and there are {len(found)}:{_lines(found)}")

    def last(self) -> RecordedInvocation:
        """The newest; fails when there is none."""
        __tracebackhide__ = True
        found = self._found()
        if not found:
            raise AssertionError(self._nothing())
        return found[-1]

    def none(self) -> None:
        """Fails when there is any."""
        __tracebackhide__ = True
        found = self._found()
        if found:
            raise AssertionError(f"no invocation was expected{self._chosen()}:{_lines(found)}")

    def functions(self) -> list[str]:
        """The functions' names, one for each invocation, in order."""
        return [one.function for one in self._found()]

    def __len__(self) -> int:
        return len(self._found())

    def __iter__(self) -> Iterator[RecordedInvocation]:
        return iter(self._found())

    @overload
    def __getitem__(self, index: int) -> RecordedInvocation: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedInvocation]: ...

    def __getitem__(self, index: int | slice) -> RecordedInvocation | Sequence[RecordedInvocation]:
        return self._found()[index]

    def __repr__(self) -> str:
        found = self._found()
        return f"<{len(found)} invocations:{_lines(found)}>" if found else f"<{self._nothing()}>"

    def _found(self) -> list[RecordedInvocation]:
        return [
            one
            for one in self._all()
            if self._function in (None, one.function) and self._mapping in (None, one.mapping)
        ]

    def _nothing(self) -> str:
        others = self._all()
        why = self._explain(self._function, self._mapping)
        instead = f"\ninstead:{_lines(others)}" if others else ""
        return f"nothing was invoked{self._chosen()}{why}{instead}"

    def _chosen(self) -> str:
        function = f" of {self._function}" if self._function is not None else ""
        return function + (f" by {self._mapping}" if self._mapping is not None else "")


def told(event: Event) -> str:
    """An event in a few words: where from, and what it says."""
    if event.node is None:
        return event.topic
    start = " (found at start)" if event.initial else ""
    return f"{event.node}/{event.sensor} {event.name} {event.data.get('value')!r}{start}"


def _lines(found: Sequence[RecordedInvocation]) -> str:
    return "".join(f"\n  {one}" for one in found)
