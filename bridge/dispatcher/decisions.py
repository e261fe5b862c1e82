"""Decisions: what happened goes to the ledger, and what that decides goes to whoever hears of it.

A decision is made as a whole; one that breaks ends the program, which begins anew from what is on the disk. What was
being handled stays in the black box, so that the same message does not end it for ever (rule 12). What may not live
here: what is done about an effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from bridge.clock import Clock, Timer
from bridge.core.delivery import Ledger
from bridge.core.steps import Effect, Input, Instant, Invoke
from bridge.dispatcher.feed import Hear
from bridge.errors import BrokenDecision

_log = logging.getLogger(__name__)


class Decisions:
    """Steps one ledger, also when it wants to be asked although nothing happened. The loop owns it."""

    ledger: Ledger
    """There is one from `begin` on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hearers: dict[type, tuple[Hear, ...]] = {Invoke: ()}
        self._look: Callable[[float], None]
        self._end: asyncio.Future[None] | None = None
        self._timer: Timer | None = None
        self._timer_at: float | None = None
        self.broken = False
        """Whether a decision broke half-way: nothing that the ledger holds can be trusted any more."""

    def begin(self, ledger: Ledger, hearers: dict[type, tuple[Hear, ...]], look: Callable[[float], None]) -> None:
        """Before anything is decided: `look` is told, after each step, to keep what was decided (at what time)."""
        self.ledger = ledger
        self._hearers = hearers
        self._look = look
        self._end = asyncio.get_running_loop().create_future()

    @property
    def invoking(self) -> bool:
        """Whether attempts are begun."""
        return bool(self._hearers[Invoke])

    def invoke_no_more(self) -> None:
        """Begin no more attempts: what the ledger wants to invoke is left to another life."""
        self._hearers[Invoke] = ()

    def step(self, inputs: Iterable[Input]) -> list[Effect]:
        """Let the ledger decide, and carry out what it says; the effects are the answer."""
        now = self.now()
        effects: list[Effect] = []
        if self.broken:
            return effects
        try:
            effects = self.ledger.step(inputs, now)
            hearers = self._hearers
            for effect in effects:
                for hear in hearers[type(effect)]:
                    hear(effect, now)
            self._look(now.monotonic)
            self._set_timer()
        except BaseException as error:  # noqa: BLE001 - the outermost frame of a decision
            self.broke(error)
        return effects

    def broke(self, error: BaseException) -> None:
        """A decision broke, or what led to it.

        Whoever decides catches whatever it raises: an extension may raise anything.
        """
        if self._end is not None and not self.broken:
            _log.critical("a decision broke: the dispatcher ends", extra={"op": "dispatcher.step"}, exc_info=error)
            self._end_by("a decision of the ledger broke; see the log")
            self.invoke_no_more()

    def abandon(self) -> None:
        """From now on every decision comes too late."""
        self.stop()
        if self._end is not None and not self.broken:
            self._end_by("the dispatcher was abandoned")

    def stop(self) -> None:
        """Wake the ledger up no more."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def end(self) -> asyncio.Future[None]:
        """Ends by BrokenDecision when one breaks."""
        assert self._end is not None, "nothing is decided yet"
        return self._end

    def now(self) -> Instant:
        """Now, on both clocks."""
        return Instant(self._clock.now(), self._clock.monotonic())

    def _end_by(self, why: str) -> None:
        self.broken = True
        self.end.set_exception(BrokenDecision(why))
        self.end.exception()  # it is told by `failed`, where somebody waits

    def _set_timer(self) -> None:
        wake_at = self.ledger.wake_at
        if wake_at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = self._clock.call_at(wake_at, self._woken) if wake_at is not None else None

    def _woken(self) -> None:
        self._timer, self._timer_at = None, None
        self.step(())
