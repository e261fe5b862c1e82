"""The functions of a house, in place of the gateway: they record what they are asked, and answer as a test says.

Every answer takes the way of production: a status becomes an outcome, and outcomes become retries, parked functions and
dead letters, by the same code. Time that an answer takes is the clock's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias

import orjson

from bridge.clock import Clock
from bridge.core.event import Event
from bridge.core.invocation import Invocation, call
from bridge.core.retry import Outcome, Verdict
from bridge.dispatcher.http.answer import Answer as Answered
from bridge.dispatcher.invoker import Done, outcome_of
from bridge.testing.invocations import Attempt, RecordedInvocation
from bridge.testing.virtual_time import Span, span_s

Answer: TypeAlias = int | str | bytes | dict[str, Any] | list[Any] | None
"""What a callable answers: a status; a body, as text, bytes or JSON; None for an empty 200; or (status, body)."""

GATEWAY = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Call:
    """What a callable that stands for a function is given."""

    invocation: RecordedInvocation
    """What is being tried."""
    attempt: int
    """Which try it is, from 1."""
    body: bytes
    """What was posted, byte for byte."""
    headers: Mapping[str, str]
    """The headers of this attempt."""

    @property
    def event(self) -> Event:
        """The event it is about."""
        return self.invocation.event

    @property
    def payload(self) -> Any:
        """What was posted: as JSON where it is, else as text."""
        return self.invocation.payload


class Runs(Protocol):
    """A function's own code, run in this process."""

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of its answer."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing a test has told a function to do, for so many attempts (None: from now on)."""

    what: Literal["answer", "hang", "unreachable", "unknown", "call", "run"]
    times: int | None = None
    after_s: float = 0.0
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    call: Callable[[Call], Any] | None = None
    run: Runs | None = None


class Function:
    """How one function answers: what it was told first comes first, and an empty 200 when nothing is left.

    What is told without `times` holds from then on.
    """

    def __init__(self, name: str, real: Callable[[str, Mapping[str, str], Mapping[str, str]], Runs]) -> None:
        self.name = name
        self._real = real
        self._told: list[Told] = []

    def answers(
        self,
        status: int = 200,
        body: str | bytes | dict[str, Any] | list[Any] = "",
        *,
        headers: Mapping[str, str] | None = None,
        after: Span = 0.0,
        times: int | None = None,
    ) -> Self:
        """Answer with this status and body, `after` so long."""
        return self._tell(
            Told("answer", times, after_s=span_s(after), status=status, body=_bytes(body), headers=dict(headers or {}))
        )

    def answers_in_turn(self, *statuses: int) -> Self:
        """Answer one attempt with each of these."""
        for status in statuses:
            self.answers(status, times=1)
        return self

    def hangs(self, *, times: int | None = None) -> Self:
        """Never answer: the mapping's `timeout` ends the attempt."""
        return self._tell(Told("hang", times))

    def unreachable(self, *, times: int | None = None) -> Self:
        """Be behind a gateway that cannot be connected to: the function is parked and probed."""
        return self._tell(Told("unreachable", times))

    def unknown(self, *, times: int | None = None) -> Self:
        """Not be deployed: the gateway answers 404."""
        return self._tell(Told("unknown", times))

    def calls(self, stands_in: Callable[[Call], Any], *, times: int | None = None) -> Self:
        """Answer what a callable answers; what it raises is a 500."""
        return self._tell(Told("call", times, call=stands_in))

    def runs(self, *, environment: Mapping[str, str] | None = None, secrets: Mapping[str, str] | None = None) -> Self:
        """Run the function's own handler.py in this process, with the environment of its stack.yml and these besides.

        Raises FunctionNotFound when no stack file names it, and FunctionUnavailable when its handler cannot be loaded.
        """
        return self._tell(Told("run", run=self._real(self.name, environment or {}, secrets or {})))

    def recovers(self) -> Self:
        """Forget what it was told: answer an empty 200."""
        self._told.clear()
        return self

    def _tell(self, told: Told) -> Self:
        if self._told and self._told[-1].times is None:
            self._told.pop()  # what held "from now on" holds until now
        if told.times is None or told.times > 0:
            self._told.append(told)
        return self

    @property
    def as_usual(self) -> bool:
        """Whether nothing is left of what it was told."""
        return not self._told

    def take(self) -> Told:
        """What to do for the attempt that begins now."""
        if not self._told:
            return _DEFAULT
        told = self._told[0]
        if told.times == 1:
            self._told.pop(0)
        elif told.times is not None:
            self._told[0] = Told(
                told.what, told.times - 1, told.after_s, told.status, told.body, told.headers, told.call, told.run
            )
        return told


_DEFAULT = Told("answer")


class Recorder:
    """The invoker of a house: records attempts, and makes the outcome that the function was told to have.

    Carries out `bridge.dispatcher.invoker.Invoker`. `recorded` is in the order of first attempts.
    """

    def __init__(self, clock: Clock, real: Callable[[str, Mapping[str, str], Mapping[str, str]], Runs]) -> None:
        self.recorded: list[RecordedInvocation] = []
        self._by_id: dict[str, RecordedInvocation] = {}
        self._functions: dict[str, Function] = {}
        self._clock = clock
        self._real = real
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Give up what is under way."""
        self.give_up()

    def function(self, name: str) -> Function:
        """The function of this name; any name is one."""
        if name not in self._functions:
            self._functions[name] = Function(name, self._real)
        return self._functions[name]

    def known(self, invocation_id: str) -> RecordedInvocation | None:
        """The invocation of this id, where it has been attempted."""
        return self._by_id.get(invocation_id)

    def forget(self) -> None:
        """Begin anew: what was recorded until now is not told any more."""
        self.recorded.clear()
        self._by_id.clear()

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        """Begin one attempt."""

        def told(task: asyncio.Task[Outcome]) -> None:
            self._under_way.discard(task)
            if not task.cancelled():
                done(task.result())

        work = self._attempt(invocation, event, attempt)
        task = asyncio.get_running_loop().create_task(work, name=f"attempt {invocation.id}")
        self._under_way.add(task)
        task.add_done_callback(told)

    def give_up(self) -> None:
        """Break off what is under way: nothing of it is told any more."""
        for task in self._under_way:
            task.cancel()

    async def _attempt(self, invocation: Invocation, event: Event, attempt: int) -> Outcome:
        asked = call(invocation, event, attempt)
        known = self._by_id.get(invocation.id)
        if known is None:
            known = RecordedInvocation(
                invocation.id, invocation.function, invocation.mapping, event, asked.body, asked.headers
            )
            self._by_id[invocation.id] = known
            self.recorded.append(known)
        known.headers = asked.headers
        known.outcome, known.reason = "running", ""
        made = Attempt(attempt, self._clock.now())
        known.attempts.append(made)
        told = self.function(invocation.function).take()
        came, made.answer = await outcome(
            told, invocation, Call(known, attempt, asked.body, asked.headers), self._clock
        )
        made.status, made.reason, made.ended_at = came.status, came.reason, self._clock.now()
        return came


async def outcome(told: Told, invocation: Invocation, asked: Call, clock: Clock) -> tuple[Outcome, bytes]:
    """What comes of an attempt at a function that was told so, and the body of its answer; takes as long as it says."""
    began = clock.monotonic()
    if told.what == "unreachable":
        reason = f"cannot connect to {GATEWAY}: Connection refused"
        return Outcome(verdict=Verdict.PARKED, status=None, reason=reason, duration_s=0.0), b""
    try:
        async with asyncio.timeout(invocation.timeout_s):  # virtual on the loop of a house, as everything there
            await clock.sleep(math.inf if told.what == "hang" else told.after_s)
            status, headers, body = await _answered(told, asked)
    except TimeoutError:
        reason = f"no answer within {invocation.timeout_s:g} s"
        return Outcome(verdict=Verdict.RETRYABLE, status=None, reason=reason, duration_s=invocation.timeout_s), b""
    told_headers = [(name.lower().encode(), value.lower().encode()) for name, value in headers.items()]
    answer = Answered(status, told_headers, body, reusable=True)
    return outcome_of(answer, clock.monotonic() - began, clock.now), body


async def _answered(told: Told, asked: Call) -> tuple[int, Mapping[str, str], bytes]:
    match told.what:
        case "unknown":
            return 404, {"X-OpenFaaS-Internal": "gateway"}, b"error finding function"
        case "call":
            assert told.call is not None
            try:
                given = told.call(asked)
            except Exception as error:  # noqa: BLE001 - what a function raises is its answer
                return 500, {}, f"{type(error).__name__}: {error}".encode()
            status, body = given if isinstance(given, tuple) else (None, given)
            if isinstance(body, int) and status is None:
                return body, {}, b""
            return status or 200, {}, _bytes(body)
        case "run":
            assert told.run is not None
            return await told.run(asked.headers, asked.body)
        case _:
            return told.status, told.headers, told.body


def _bytes(body: object) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else orjson.dumps(body)
