"""Several filters, one after the other, as one filter."""

from typing import Any, Generic, TypeVar, overload

from bridge.core.filters.step import Fault, Filter, Step

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Chain(Generic[A, B]):
    """What one filter lets through is the reading of the next; the chain wakes when the first of its filters must.

    Without filters everything passes. Chains nest, where more types change on the way than the overloads know.
    """

    __slots__ = ("_filters",)

    @overload
    def __init__(self: "Chain[A, A]", *filters: Filter[A, A]) -> None: ...
    @overload
    def __init__(self, first: Filter[A, B], /) -> None: ...
    @overload
    def __init__(self, first: Filter[A, C], second: Filter[C, B], /) -> None: ...
    @overload
    def __init__(self, first: Filter[A, C], second: Filter[C, D], third: Filter[D, B], /) -> None: ...
    def __init__(self, *filters: Filter[Any, Any]) -> None:
        # Any: the overloads check that neighbours fit, a tuple of filters cannot say it.
        self._filters: tuple[Filter[Any, Any], ...] = filters

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self._filters))})"

    def read(self, value: A, now: float) -> Step[B]:
        return self._pass((value,), now)

    def wake(self, now: float) -> Step[B]:
        return self._pass((), now)

    def reset(self) -> None:
        for each in self._filters:
            each.reset()

    def _pass(self, values: tuple[Any, ...], now: float) -> Step[B]:
        faults: list[Fault] = []
        wake_at: float | None = None
        for each in self._filters:
            if len(values) < 2:
                # A filter that gets no reading is woken: the deadline may be its own.
                step = each.read(values[0], now) if values else each.wake(now)
                values = step.values
                faults += step.faults
            else:
                steps = [each.read(value, now) for value in values]
                values = tuple(value for step in steps for value in step.values)
                faults += (fault for step in steps for fault in step.faults)
                step = steps[-1]
            wake_at = _earlier(wake_at, step.wake_at)
        return Step(values, wake_at, tuple(faults))


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
