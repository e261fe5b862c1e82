"""What every filter takes and answers: the `Filter` protocol, its `Step`, a `Fault`, and the state a filter forgets."""

from dataclasses import dataclass, fields
from typing import Generic, Literal, Never, Protocol, TypeAlias, TypeVar

A_contra = TypeVar("A_contra", contravariant=True)
B_co = TypeVar("B_co", covariant=True)

FaultKind: TypeAlias = Literal["range", "rate"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A reading that cannot be true: refused, and to be counted as a fault of the sensor."""

    kind: FaultKind
    """Which check refused it; one of few words, fit for a metric's label."""
    value: float
    reason: str
    """For people: the reading and the limit it broke."""


# Not frozen, though nobody changes one: frozen dataclasses are made three times slower, and each edge needs several.
@dataclass
class Step(Generic[B_co]):
    """What one call of a filter says."""

    values: tuple[B_co, ...] = ()
    """Let through by this call, in order. Mostly none or one; more when a deadline was served late."""
    wake_at: float | None = None
    """Call `wake` at this monotonic time, in seconds; None: only a reading changes anything.

    It replaces the one of the step before, and is always later than the `now` that was passed in.
    """
    faults: tuple[Fault, ...] = ()
    """Readings refused by this call."""


class Filter(Protocol[A_contra, B_co]):
    """Turns readings of one type into fewer, or better, values of another (or the same) type.

    `now` is monotonic time in seconds and should not run backwards; where it does, deadlines already handed out stand.
    A filter is not thread-safe: one loop calls it.
    """

    def read(self, value: A_contra, now: float) -> Step[B_co]:
        """Take a reading. A deadline that has passed is served first, as if `wake(now)` had been called before."""
        ...

    def wake(self, now: float) -> Step[B_co]:
        """Serve a deadline that has passed. Called early, late, twice or without need, it does no harm."""
        ...

    def reset(self) -> None:
        """Forget the history, so that after a sensor's fault no stale value is repeated or compared with."""
        ...


@dataclass(slots=True)
class State:
    """What a filter remembers: the only thing about it that changes. Every field has a plain default."""

    def forget(self) -> None:
        """Be as new."""
        for field in fields(self):
            setattr(self, field.name, field.default)


class Timeless:
    """The half of a filter that only readings move: waking it does nothing, and there is no history to forget."""

    __slots__ = ()

    def wake(self, now: float) -> Step[Never]:
        return Step()

    def reset(self) -> None:
        """Forget nothing; a filter with a history overrides this."""
