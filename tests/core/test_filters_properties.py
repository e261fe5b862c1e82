"""What holds for the filters whatever the readings: no final level lost, no flapping, no harm done by a wake."""

import copy
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.filters import (
    Average,
    Band,
    Chain,
    Debounce,
    DelayedOff,
    DelayedOn,
    Filter,
    Hold,
    Invert,
    Median,
    RateOfChange,
    Report,
    Switch,
    Threshold,
    WarmUp,
)

A = TypeVar("A")
B = TypeVar("B")

# The same examples in each run, and no limit per example on a busy machine.
steady = settings(derandomize=True, deadline=None)

REST_S = 100.0
"""Longer than every delay below."""

# Delays and pauses of one size, so that deadlines fall before, between, on and after readings; awkward fractions too.
delays = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.7, 1.0, 3.0])
lengths = delays.filter(bool)
pauses = st.one_of(delays, st.floats(0.0, 4.0))
starts = st.sampled_from([0.0, 8.3, 86_400.1])
numbers = st.one_of(st.sampled_from([0.0, 0.1, 0.2, 0.3, 1.0, 5.0]), st.floats(-10.0, 10.0))


def traces(readings: st.SearchStrategy[A]) -> st.SearchStrategy[list[tuple[A, float]]]:
    """Readings and their times, in order, some at the same time."""

    def timed(steps: list[tuple[A, float]], start: float) -> list[tuple[A, float]]:
        now, trace = start, []
        for reading, pause in steps:
            now += pause
            trace.append((reading, now))
        return trace

    return st.builds(timed, st.lists(st.tuples(readings, pauses), min_size=1, max_size=30), starts)


def play(
    filter_: Filter[A, B], trace: Sequence[tuple[A, float]], spurious: Sequence[float] = (), *, late_s: float = 0.0
) -> list[tuple[B, float]]:
    """What the filter lets through and when, with every wake served until long after the last reading.

    `spurious` are further wakes, as parts of the time from the first reading to the end; each wake asked for is
    served `late_s` after its time, or by the reading before that.
    """
    passed: list[tuple[B, float]] = []
    wake_at: float | None = None
    end = trace[-1][1] + REST_S
    extra = sorted(trace[0][1] + part * (end - trace[0][1]) for part in spurious)

    def wake_until(limit: float) -> None:
        nonlocal wake_at
        while True:
            asked = [] if wake_at is None else [wake_at + late_s]
            now = min(asked + extra[:1], default=limit)
            if now >= limit:
                return
            if extra and extra[0] == now:
                extra.pop(0)
            step = filter_.wake(now)
            assert step.wake_at is None or step.wake_at > now, "the caller would spin"
            passed.extend((value, now) for value in step.values)
            wake_at = step.wake_at

    for reading, at in trace:
        wake_until(at)
        step = filter_.read(reading, at)
        assert step.wake_at is None or step.wake_at > at, "the caller would spin"
        passed.extend((value, at) for value in step.values)
        wake_at = step.wake_at
    wake_until(end)
    return passed


debounces = st.builds(Debounce, delays, st.sampled_from(["settle", "stable"]))
holds = st.builds(Hold, lengths, st.booleans())
delayed = st.one_of(st.builds(DelayedOn, delays), st.builds(DelayedOff, delays))
level_filters: st.SearchStrategy[Filter[bool, bool]] = st.one_of(debounces, holds, delayed)
level_chains: st.SearchStrategy[Chain[bool, bool]] = st.lists(level_filters, max_size=4).map(lambda each: Chain(*each))
# A hold without retrigger repeats an active level for ever, and a filter behind it never sees it at rest.
resting_filters = st.one_of(debounces, delayed, st.builds(Hold, lengths))
resting_chains: st.SearchStrategy[Chain[bool, bool]] = st.lists(resting_filters, max_size=4).map(
    lambda each: Chain(*each)
)
reports = st.tuples(st.sampled_from([0.0, 0.1, 1.0, 3.0]), delays, st.none() | delays).map(
    lambda each: Report(each[0], each[1], None if each[2] is None else each[1] + each[2] + 0.1)
)
thresholds = st.builds(Threshold, st.just(1.0), st.just(-1.0), st.sampled_from([0.0, 0.1, 0.3, 0.9]))


@steady
@given(st.one_of(level_filters, resting_chains), traces(st.booleans()))
def test_the_level_reported_last_is_the_level_read_last(
    filter_: Filter[bool, bool], trace: list[tuple[bool, float]]
) -> None:
    assert play(filter_, trace)[-1][0] == trace[-1][0]


@steady
@given(level_chains, traces(st.booleans()), pauses)
def test_every_chain_comes_to_rest_at_false(
    chain: Chain[bool, bool], trace: list[tuple[bool, float]], pause: float
) -> None:
    assert play(chain, [*trace, (False, trace[-1][1] + pause)])[-1][0] is False


@steady
@given(level_filters, traces(st.booleans()))
def test_no_level_is_reported_twice_in_a_row(filter_: Filter[bool, bool], trace: list[tuple[bool, float]]) -> None:
    assert all(one != other for (one, _), (other, _) in pairwise(play(filter_, trace)))


@steady
@given(lengths, traces(st.booleans()))
def test_a_stable_level_was_held_for_the_whole_time_before_it_is_reported(
    settle_s: float, trace: list[tuple[bool, float]]
) -> None:
    for level, at in play(Debounce(settle_s, mode="stable"), trace):
        assert all(reading == level for reading, now in trace if at - settle_s + 1e-6 < now < at)


@steady
@given(lengths, traces(st.booleans()))
def test_settle_never_reports_more_often_than_it_settles(settle_s: float, trace: list[tuple[bool, float]]) -> None:
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(play(Debounce(settle_s), trace))]
    # The second of a pair may be the final level after a window, and the next change may follow it at once.
    assert all(one + other >= settle_s - 1e-6 for one, other in pairwise(gaps))
    assert all(gap >= settle_s - 1e-6 for gap in gaps[:1])


@steady
@given(lengths, traces(st.booleans()))
def test_an_on_phase_lasts_at_least_the_hold_and_without_retrigger_exactly_that(
    hold_s: float, trace: list[tuple[bool, float]]
) -> None:
    for retrigger in (True, False):
        passed = play(Hold(hold_s, retrigger), trace)
        phases = [off - on for (level, on), (_, off) in pairwise(passed) if level]
        assert all(phase >= hold_s - 1e-6 for phase in phases)
        assert retrigger or all(phase <= hold_s + 1e-6 for phase in phases)


@steady
@given(lengths, traces(st.booleans()))
def test_a_delay_applies_to_one_direction_only(delay_s: float, trace: list[tuple[bool, float]]) -> None:
    mirrored = [(not level, at) for level, at in trace]
    rising = [at for level, at in play(DelayedOn(delay_s), trace) if level]
    falling = [at for level, at in play(DelayedOff(delay_s), mirrored) if not level]
    # Only the first level differs: a False found first is not delayed.
    assert set(rising[1:]) <= set(falling)
    times = {at for _, at in trace}
    assert {at for level, at in play(DelayedOn(delay_s), trace) if not level} <= times
    assert {at for level, at in play(DelayedOff(delay_s), trace) if level} <= times


@steady
@given(delays, traces(numbers))
def test_a_warm_up_passes_the_last_value_of_its_window_and_all_after_it(
    warm_up_s: float, trace: list[tuple[float, float]]
) -> None:
    ends_at = trace[0][1] + warm_up_s
    during = [(value, ends_at) for value, at in trace if at < ends_at]
    assert play(WarmUp[float](warm_up_s), trace) == during[-1:] + [pair for pair in trace if pair[1] >= ends_at]


@steady
@given(thresholds, st.lists(st.floats(-3.0, 3.0), max_size=60))
def test_a_band_is_left_only_beyond_its_hysteresis(bands: Threshold, readings: list[float]) -> None:
    assert bands.high is not None
    assert bands.low is not None
    band: Band | None = None
    for value in readings:
        before = band
        for found in bands.read(value, 0.0).values:
            assert found != before
            band = found
        if band is Band.NORMAL:
            assert bands.low <= value <= bands.high
        if before is Band.HIGH and band is not Band.HIGH:
            assert value <= bands.high - bands.hysteresis + 1e-9
        if before is Band.LOW and band is not Band.LOW:
            assert value >= bands.low + bands.hysteresis - 1e-9


@steady
@given(
    st.floats(-100.0, 100.0),
    st.floats(1e-6, 10.0),
    st.lists(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True), min_size=1),
)
def test_noise_smaller_than_the_hysteresis_never_flaps(limit: float, hysteresis: float, noise: list[float]) -> None:
    for filter_, first in (
        (Switch(on_above=limit, hysteresis=hysteresis), limit + 1.0),
        (Switch(on_below=limit + hysteresis, hysteresis=hysteresis), limit - 1.0),
    ):
        changes = [filter_.read(first, 0.0).values]
        low = limit - hysteresis if filter_.on_above is not None else limit + hysteresis
        changes += [filter_.read(low + (0.01 + 0.98 * part) * hysteresis, 0.0).values for part in noise]
        assert changes == [(True,), *[()] * len(noise)]


@steady
@given(reports, traces(numbers))
def test_two_reports_are_never_closer_than_the_minimum(report: Report, trace: list[tuple[float, float]]) -> None:
    times = [at for _, at in play(report, trace)]
    assert all(later >= earlier + report.minimum_s for earlier, later in pairwise(times))


@steady
@given(reports, traces(numbers))
def test_a_report_is_never_silent_for_too_long_while_readings_come(
    report: Report, trace: list[tuple[float, float]]
) -> None:
    if report.maximum_silence_s is None:
        return
    passed = [at for _, at in play(report, trace)]
    for _, at in trace:
        before = bisect_right(passed, at) - 1
        assert before >= 0, "the first reading passes at once"
        if passed[before] < at:
            assert before + 1 < len(passed), "a reading that did not pass is owed a report"
            assert passed[before + 1] <= max(at, passed[before] + report.maximum_silence_s)


@steady
@given(reports, traces(numbers))
def test_a_report_ends_within_delta_of_the_last_reading_and_passes_only_what_was_read(
    report: Report, trace: list[tuple[float, float]]
) -> None:
    passed = play(report, trace)
    assert abs(passed[-1][0] - trace[-1][0]) <= report.delta
    for count, (value, at) in enumerate(passed, 1):
        until = [reading for reading, now in trace if now <= at]
        assert value in until
        assert count <= len(until), "a report without a reading of its own"


@steady
@given(st.integers(1, 6), st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_a_window_stays_within_its_readings(window: int, readings: list[float]) -> None:
    for filter_ in (Median(window), Average(window)):
        for count, reading in enumerate(readings, 1):
            recent = readings[max(0, count - window) : count]
            (value,) = filter_.read(reading, 0.0).values
            assert min(recent) - 1e-6 <= value <= max(recent) + 1e-6


@steady
@given(st.integers(2, 5), traces(numbers), numbers)
def test_a_level_that_stays_is_always_believed_in_the_end(
    confirmations: int, trace: list[tuple[float, float]], level: float
) -> None:
    rate = RateOfChange(0.01, confirmations=confirmations)
    for reading, at in trace:
        rate.read(reading, at)
    end = trace[-1][1]
    assert (level,) in [rate.read(level, end + second).values for second in range(confirmations)]
    assert rate.read(level, end + confirmations).values == (level,)


@steady
@given(st.lists(level_filters, min_size=1, max_size=4), traces(st.booleans()))
def test_a_chain_wakes_at_the_earliest_wake_of_its_filters(
    filters: list[Filter[bool, bool]], trace: list[tuple[bool, float]]
) -> None:
    chain = Chain(*filters)
    for reading, at in trace:
        step = chain.read(reading, at)
        # Nothing is due any more, so asking the filters themselves changes nothing.
        wakes = [own for each in filters if (own := each.wake(at).wake_at) is not None]
        assert step.wake_at == min(wakes, default=None)


def assert_extra_wakes_change_nothing(
    filter_: Filter[A, B], trace: Sequence[tuple[A, float]], spurious: Sequence[float]
) -> None:
    other = copy.deepcopy(filter_)
    assert play(filter_, trace) == play(other, trace, spurious)


wakes = st.lists(st.floats(0.0, 1.0) | st.floats(0.0, 0.05), max_size=20)


@steady
@given(level_chains, delays, traces(st.booleans()), wakes)
def test_extra_wakes_change_neither_levels_nor_times(
    chain: Chain[bool, bool], warm_up_s: float, trace: list[tuple[bool, float]], spurious: list[float]
) -> None:
    assert_extra_wakes_change_nothing(Chain(WarmUp[bool](warm_up_s), Invert(), chain), trace, spurious)


@steady
@given(reports, thresholds, traces(numbers), wakes)
def test_extra_wakes_change_neither_numbers_nor_times(
    report: Report, bands: Threshold, trace: list[tuple[float, float]], spurious: list[float]
) -> None:
    assert_extra_wakes_change_nothing(Chain(RateOfChange(5.0), Median(3), report), trace, spurious)
    assert_extra_wakes_change_nothing(Chain(Average(2), report, bands), trace, spurious)


@steady
@given(resting_chains, traces(st.booleans()), st.floats(0.0, 2.0))
def test_late_wakes_lose_no_final_level(
    chain: Chain[bool, bool], trace: list[tuple[bool, float]], late_s: float
) -> None:
    passed = play(chain, trace, late_s=late_s)
    assert passed[-1][0] == trace[-1][0]


@steady
@given(traces(st.booleans()), lengths, st.floats(0.0, 2.0))
def test_late_wakes_of_one_filter_repeat_no_level(
    trace: list[tuple[bool, float]], length: float, late_s: float
) -> None:
    for filter_ in (Debounce(length), Debounce(length, "stable"), Hold(length), Hold(length, retrigger=False)):
        assert all(one != other for (one, _), (other, _) in pairwise(play(filter_, trace, late_s=late_s)))
