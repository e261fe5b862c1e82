from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bridge.dispatcher.tallies import Spread, Tally

BOUNDS = (0.001, 0.5, 2.5)


def lines(registry: CollectorRegistry) -> list[str]:
    """What a scrape says, without the times at which series began."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5) | st.sampled_from(BOUNDS))))
def test_a_scrape_says_what_prometheus_own_classes_would_say(seen: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, counter = Tally("t", "text", ["l"], registry=ours), Counter("t", "text", ["l"], registry=theirs)
    spread = Spread("s", "text", ["l"], bounds=BOUNDS, registry=ours)
    histogram = Histogram("s", "text", ["l"], buckets=BOUNDS, registry=theirs)
    for label, seconds in seen:
        tally.counts[(label,)] += 1
        counter.labels(label).inc()
        spread.add((label,), seconds)
        histogram.labels(label).observe(seconds)
    assert lines(ours) == lines(theirs)


def test_without_labels_a_series_is_there_from_the_start() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Tally("t", "text", registry=ours)
    Spread("s", "text", bounds=BOUNDS, registry=ours)
    Counter("t", "text", registry=theirs)
    Histogram("s", "text", buckets=BOUNDS, registry=theirs)
    assert lines(ours) == lines(theirs)
