"""Counters and histograms for the hot path: plain numbers, made into Prometheus' families only when somebody scrapes.

`prometheus_client`'s own take a lock and check their labels at each step, several times for each event. These belong to
one loop, which also serves the scrape.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Key = tuple[str, ...]
"""The values of the labels, in their order."""


class Tally(Collector):
    """A counter: who counts says `tally.counts[key] += n`; without labels the key is empty."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, registry: CollectorRegistry) -> None:
        self._name, self._text = name, text
        self._labelnames = tuple(labels)
        self.counts: defaultdict[Key, float] = defaultdict(float)
        if not labels:
            self.counts[()] = 0.0
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labelnames)
        for key, count in self.counts.items():
            family.add_metric(key, count)
        yield family


class Spread(Collector):
    """A histogram of seconds; `bounds` are the upper limits of its buckets, ascending."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str] = (), *, bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name, self._text = name, text
        self._labelnames = tuple(labels)
        self._bounds = tuple(bounds)
        self._counts: defaultdict[Key, list[int]] = defaultdict(lambda: [0] * (len(self._bounds) + 1))
        self._sums: defaultdict[Key, float] = defaultdict(float)
        if not labels:
            self._counts[()], self._sums[()] = self._counts.default_factory(), 0.0  # type: ignore[misc] # there is one
        registry.register(self)

    def add(self, key: Key, seconds: float) -> None:
        """Note one observation."""
        self._counts[key][bisect_left(self._bounds, seconds)] += 1
        self._sums[key] += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labelnames)
        for key, counts in self._counts.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric(key, buckets, self._sums[key])
        yield family
