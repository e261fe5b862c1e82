"""Functions that are told how to answer while the real ones run: an invoker in front of the one that asks the gateway.

A function that was told nothing, or has done all that it was told, is asked for real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

from bridge.clock import Clock
from bridge.core.event import Event
from bridge.core.invocation import Invocation, call
from bridge.core.retry import Outcome
from bridge.dispatcher.invoker import Done, Invoker
from bridge.errors import FunctionNotFound
from bridge.testing.functions import Call, Function, Runs, Told, outcome
from bridge.testing.invocations import RecordedInvocation


class StandIns:
    """Carries out `bridge.dispatcher.invoker.Invoker`. The loop owns it."""

    def __init__(self, real: Invoker, clock: Clock) -> None:
        self._real = real
        self._clock = clock
        self._functions: dict[str, Function] = {}
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def __aenter__(self) -> Self:
        await self._real.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._break_off()
        await self._real.__aexit__(*exc)

    def function(self, name: str) -> Function:
        """The stand-in for the function of this name; any name may have one."""
        if name not in self._functions:
            self._functions[name] = Function(name, _nowhere)
        return self._functions[name]

    def well_again(self) -> None:
        """Nobody stands in for a function any more."""
        self._functions.clear()

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        function = self._functions.get(invocation.function)
        if function is None or function.as_usual:
            self._real.invoke(invocation, event, attempt, done)
            return

        def ended(task: asyncio.Task[Outcome]) -> None:
            self._under_way.discard(task)
            if not task.cancelled():
                done(task.result())

        work = self._attempt(function.take(), invocation, event, attempt)
        task = asyncio.get_running_loop().create_task(work, name=f"stand-in for {invocation.function}")
        self._under_way.add(task)
        task.add_done_callback(ended)

    def give_up(self) -> None:
        self._break_off()
        self._real.give_up()

    def _break_off(self) -> None:
        for task in self._under_way:
            task.cancel()

    async def _attempt(self, told: Told, invocation: Invocation, event: Event, attempt: int) -> Outcome:
        asked = call(invocation, event, attempt)
        known = RecordedInvocation(
            invocation.id, invocation.function, invocation.mapping, event, asked.body, asked.headers
        )
        came, _ = await outcome(told, invocation, Call(known, attempt, asked.body, asked.headers), self._clock)
        return came


def _nowhere(name: str, environment: Mapping[str, str], secrets: Mapping[str, str]) -> Runs:  # noqa: ARG001 - see Function
    raise FunctionNotFound(f"{name} runs where the gateway runs it, not in a stand-in")
