"""Time as a test moves it: it passes, and everything happens that is due, or the wall clock jumps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from bridge.clock import VirtualClock
from bridge.config import seconds

Moment: TypeAlias = datetime | str
"""A time with its zone; as text in ISO 8601, such as `2026-11-22T23:10:00+00:00`."""
Span: TypeAlias = float | str | timedelta
"""How long: seconds as a number, `10m` or `1h30m` as in the YAML files, or a timedelta."""


class VirtualTime:
    """The clock of a house: the fixture `virtual_clock`. It stands still but for what a test tells it.

    `pass_` lets that many seconds pass; before the house has begun to live, `begun` is false, and `set` only says when
    it begins.
    """

    def __init__(self, clock: VirtualClock, pass_: Callable[[float], None], begun: Callable[[], bool]) -> None:
        self._clock = clock
        self._pass = pass_
        self._begun = begun

    def now(self) -> datetime:
        """What the wall clock says: aware, UTC."""
        return self._clock.now()

    @property
    def passed_s(self) -> float:
        """How many seconds have passed since some moment, whatever the wall clock says meanwhile."""
        return self._clock.monotonic()

    @property
    def synchronized(self) -> bool:
        """Whether the programs believe the wall clock."""
        return self._clock.synchronized()

    def advance(self, span: Span) -> None:
        """Let time pass; everything that is due happens, in its order."""
        passed_s = span_s(span)
        if passed_s < 0:
            raise ValueError(f"time does not go back: advance({span!r}); virtual_clock.jump(...) moves the wall clock")
        self._pass(passed_s)

    def set(self, when: Moment) -> None:
        """Let time pass until `when`. The first thing in a test, it says when the test begins, however far away.

        Raises ValueError when that is past: use `jump` for a wall clock that is wrong.
        """
        wanted = moment(when)
        if not self._begun():
            self._clock.set(wanted, synchronized=self._clock.synchronized())
            return
        ahead_s = (wanted - self.now()).total_seconds()
        if ahead_s < 0:
            raise ValueError(
                f"it is {self.now().isoformat()} already, and time does not go back to {wanted.isoformat()}; "
                "virtual_clock.jump(...) moves the wall clock without time passing"
            )
        self._pass(ahead_s)

    def jump(self, when: Moment, *, synchronized: bool = True) -> None:
        """Make the wall clock say `when`, as a time server does; no time passes, and no delay gets shorter.

        With `synchronized=False` nobody believes it, as after a start without a network.
        """
        self._clock.set(moment(when), synchronized=synchronized)
        if self._begun():
            self._pass(0.0)


def span_s(span: Span) -> float:
    """A span in seconds. Raises ValueError."""
    if isinstance(span, timedelta):
        return span.total_seconds()
    if isinstance(span, str):
        return seconds(span)
    return float(span)


def moment(when: Moment) -> datetime:
    """A moment as an aware datetime. Raises ValueError for one without a zone, which is another one everywhere."""
    at = datetime.fromisoformat(when) if isinstance(when, str) else when
    if at.tzinfo is None:
        raise ValueError(f"{when!r} has no zone; write for example {at.replace(tzinfo=UTC).isoformat()}")
    return at.astimezone(UTC)
