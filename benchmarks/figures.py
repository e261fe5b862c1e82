"""Figures: percentiles, medians over rounds, and the aligned tables that people read."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Sample = TypeVar("Sample")
_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Size:
    """How much work a benchmark does: so many interleaved rounds, and which share of the full amount in each."""

    rounds: int
    share: float

    def of(self, full: int, least: int = 10) -> int:
        """An amount of work, scaled down from the full one."""
        return max(least, round(full * self.share))


FULL = Size(rounds=3, share=1.0)
QUICK = Size(rounds=1, share=0.1)


@dataclass(frozen=True, slots=True)
class Table:
    """What a benchmark found. The first column holds names, the others figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def text(self) -> str:
        """The table with aligned columns, its title above and its notes below."""
        lines = [list(self.columns), *(list(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        shown = [
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
                ]
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(len(line) for line in shown)
        return "\n".join([self.title, rule, shown[0], rule, *shown[1:], *(f"  {note}" for note in self.notes)])


def without_figures(name: str, why: str, columns: Sequence[str], notes: list[str]) -> list[str]:
    """The row of what could not be measured; a note says why, in one line."""
    notes.append(f"{name}: {' '.join(why.split())[:_SHOWN]}")
    return [f"{name} (see below)", *[""] * (len(columns) - 1)]


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least so many per cent do not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[max(0, -(-len(ordered) * percent // 100).__trunc__() - 1)]


def median(values: Iterable[float]) -> float:
    """The median, as of the rounds of a benchmark."""
    return statistics.median(values)


def interleave(variants: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Measure every variant once per round, A B C A B C, so that a noisy minute hits all of them alike."""
    found: dict[str, list[Sample]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            found[name].append(measure())
    return found


def latencies_s(began_ns: Sequence[int], ended_ns: Sequence[int]) -> list[float]:
    """From each beginning to its end, in seconds; both are in the order in which they happened."""
    return [(ended - began) / 1e9 for began, ended in zip(began_ns, ended_ns, strict=True)]


def milliseconds(seconds: float) -> str:
    """A duration in seconds as a cell in milliseconds."""
    return f"{seconds * 1000:.2f}"


def per_second(rate: float) -> str:
    """A rate as a cell."""
    return f"{rate:,.0f}"
