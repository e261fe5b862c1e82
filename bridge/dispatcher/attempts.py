"""Attempts under way: handed to the invoker, and what ends in one turn of the loop steps the ledger once.

What may not live here: which attempts begin, and what follows from how they end.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from bridge.core.retry import Outcome, Verdict
from bridge.core.steps import Attempted, Input, Instant, Invoke
from bridge.dispatcher.invoker import Invoker

_log = logging.getLogger(__name__)

DRAIN_S: Final = 3.0
"""How long attempts under way may go on when the dispatcher stops."""


class Attempts:
    """Makes attempts. `step` steps the ledger with how they ended. The loop owns it."""

    def __init__(self, invoker: Invoker, randomness: random.Random, step: Callable[[Iterable[Input]], object]) -> None:
        self._invoker = invoker
        self._random = randomness
        self._step = step
        self._under_way = 0  # attempts that nothing has been heard of
        self._ended: list[Attempted] = []  # attempts whose end the ledger is told at the loop's next turn
        self._draining = False
        self._idle = asyncio.Event()  # while draining: nothing is under way any more

    def begin(self, invoke: Invoke, _: Instant) -> None:
        """Begin one; it is in the middle of a step, so that nothing of it is told before this returns."""
        self._under_way += 1
        done = partial(self._attempted, invoke.invocation.id)
        try:
            self._invoker.invoke(invoke.invocation, invoke.event, invoke.attempt, done)
        except Exception as error:  # noqa: BLE001 - an attempt must have an outcome, or its lane waits for ever
            _log.exception("attempt broke", extra={"op": "attempt", "invocation": invoke.invocation.id})
            reason = f"{type(error).__name__}: {error}"
            broken = Outcome(verdict=Verdict.RETRYABLE, status=None, reason=reason, duration_s=0.0)
            asyncio.get_running_loop().call_soon(done, broken)  # not now: this is the middle of a step

    async def drain(self) -> None:
        """Let those under way end for a moment, and give up the rest; no more may be begun."""
        self._draining = True
        if self._under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._idle.wait()
        self._step_ended()  # what came in the last turn
        self.give_up()

    def give_up(self) -> None:
        """Break off all of them, at once."""
        self._invoker.give_up()
        self._under_way = 0
        self._ended.clear()

    def _attempted(self, invocation_id: str, outcome: Outcome) -> None:
        """Gather what ends in one turn of the loop: the ledger is stepped once with all of it, in the order it came."""
        self._ended.append(Attempted(invocation_id, outcome, self._random.random()))
        if self._under_way == 1:
            self._step_ended()  # it is alone: nothing else can end in this turn
        elif len(self._ended) == 1:
            asyncio.get_running_loop().call_soon(self._step_ended)

    def _step_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._under_way -= len(ended)
        if ended:
            self._step(ended)
        if not self._under_way and self._draining:
            self._idle.set()
