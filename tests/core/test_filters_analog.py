"""The filters of numbers, example by example."""

import math

import pytest

from bridge.core.filters import (
    Average,
    Band,
    Calibrate,
    Fault,
    Filter,
    Median,
    Range,
    RateOfChange,
    Report,
    Round,
    Step,
    Switch,
    Threshold,
)


def values(filter_: Filter[float, float], *readings: float) -> list[float]:
    """What passes when the readings come one second apart."""
    return [value for at, reading in enumerate(readings) for value in filter_.read(reading, float(at)).values]


def test_a_reading_within_the_range_passes_the_limits_included() -> None:
    assert values(Range(-40.0, 60.0), -40.0, 21.5, 60.0) == [-40.0, 21.5, 60.0]


def test_a_reading_outside_the_range_is_a_fault_that_names_the_limit() -> None:
    plausible = Range(-40.0, 60.0)
    assert plausible.read(85.0, 0.0) == Step(
        faults=(Fault("range", 85.0, "the reading 85.0 is above the maximum of 60.0"),)
    )
    assert plausible.read(-127.0, 0.0) == Step(
        faults=(Fault("range", -127.0, "the reading -127.0 is below the minimum of -40.0"),)
    )
    assert plausible.wake(1.0) == Step()
    plausible.reset()


@pytest.mark.parametrize("reading", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_a_fault_even_without_limits(reading: float) -> None:
    (fault,) = Range().read(reading, 0.0).faults
    assert fault.reason == f"the reading {reading} is not a finite number"


def test_a_jump_faster_than_the_rate_is_a_fault_and_a_slow_change_passes() -> None:
    rate = RateOfChange(1.0)
    assert rate.read(20.0, 0.0).values == (20.0,)
    assert rate.read(21.0, 1.0).values == (21.0,)
    (fault,) = rate.read(85.0, 3.0).faults
    assert fault == Fault(
        "rate",
        85.0,
        "the reading 85.0 came 2 s after 21.0, and a change faster than 1.0 per second is implausible",
    )
    assert rate.read(21.5, 4.0).values == (21.5,)


def test_a_real_step_is_believed_when_it_is_confirmed_often_enough() -> None:
    rate = RateOfChange(1.0, confirmations=3)
    assert values(rate, 20.0, 50.0, 50.5, 50.2, 50.3) == [20.0, 50.2, 50.3]


def test_implausible_readings_that_contradict_each_other_confirm_nothing() -> None:
    rate = RateOfChange(0.1, confirmations=2)
    assert values(rate, 20.0, 50.0, 80.0, 50.0, 80.0) == [20.0]


def test_a_plausible_reading_in_between_starts_the_confirmation_anew() -> None:
    rate = RateOfChange(1.0, confirmations=2)
    assert values(rate, 20.0, 50.0, 20.0, 50.0, 20.0) == [20.0, 20.0, 20.0]


def test_a_wrong_first_reading_does_not_lock_the_right_ones_out() -> None:
    assert values(RateOfChange(0.5), 85.0, 21.0, 21.1, 21.0, 21.1) == [85.0, 21.0, 21.1]


def test_readings_at_one_time_or_an_earlier_one_are_plausible_only_when_equal() -> None:
    rate = RateOfChange(1.0)
    rate.read(20.0, 5.0)
    assert rate.read(20.0, 5.0).values == (20.0,)
    assert rate.read(20.1, 5.0).faults[0].reason.startswith("the reading 20.1 came 0 s after 20.0")
    assert rate.read(20.1, 4.0).faults != ()
    assert rate.read(20.0, 4.0).values == (20.0,)
    assert rate.read(20.1, 5.5).values == (20.1,)


def test_a_reading_that_is_no_number_never_becomes_the_plausible_one_it_is_compared_with() -> None:
    rate = RateOfChange(1.0, confirmations=2)
    assert values(rate, 20.0, math.nan, math.nan, math.inf, math.inf, 20.0) == [20.0, 20.0]


def test_after_a_reset_the_rate_is_not_measured_against_the_time_before() -> None:
    rate = RateOfChange(1.0)
    rate.read(20.0, 0.0)
    rate.reset()
    assert rate.read(50.0, 1.0).values == (50.0,)


def test_calibration_multiplies_before_it_adds() -> None:
    assert values(Calibrate(offset=-50.0, factor=330.0), 0.5) == [115.0]
    assert values(Calibrate(), 0.5) == [0.5]


def test_rounding_keeps_the_digits_asked_for_and_knows_no_negative_zero() -> None:
    assert values(Round(1), 21.26, 21.24) == [21.3, 21.2]
    assert values(Round(-1), 126.0) == [130.0]
    assert math.copysign(1.0, values(Round(1), -0.04)[0]) == 1.0


def test_a_median_takes_a_single_spike_out() -> None:
    assert values(Median(3), 20.0, 20.0, 85.0, 20.5, 21.0) == [20.0, 20.0, 20.0, 20.5, 21.0]


def test_the_median_of_an_even_number_is_the_mean_of_the_two_in_the_middle() -> None:
    assert values(Median(4), 1.0, 2.0, 10.0, 3.0) == [1.0, 1.5, 2.0, 2.5]


def test_an_average_is_the_mean_of_the_window_or_of_what_there_is() -> None:
    assert values(Average(2), 1.0, 2.0, 4.0) == [1.0, 1.5, 3.0]


@pytest.mark.parametrize("window", [Median(3), Average(3)], ids=repr)
def test_a_window_forgets_its_readings_on_reset(window: Filter[float, float]) -> None:
    values(window, 10.0, 10.0, 10.0)
    window.reset()
    assert values(window, 20.0) == [20.0]


def test_a_threshold_passes_the_first_band_and_then_each_change() -> None:
    bands = Threshold(high=30.0, low=5.0, hysteresis=1.0)
    found = [bands.read(value, 0.0).values for value in (20.0, 30.0, 30.1, 29.5, 29.0, 4.9, 5.5, 6.0)]
    assert found == [(Band.NORMAL,), (), (Band.HIGH,), (), (Band.NORMAL,), (Band.LOW,), (), (Band.NORMAL,)]


def test_a_threshold_goes_from_one_end_to_the_other_without_a_stop() -> None:
    bands = Threshold(high=30.0, low=5.0, hysteresis=1.0)
    assert [bands.read(value, 0.0).values for value in (31.0, 4.0, 31.0)] == [(Band.HIGH,), (Band.LOW,), (Band.HIGH,)]


def test_a_threshold_watches_only_the_limit_that_is_given() -> None:
    high, low = Threshold(high=30.0), Threshold(low=5.0)
    assert high.read(-100.0, 0.0).values == (Band.NORMAL,)
    assert low.read(100.0, 0.0).values == (Band.NORMAL,)


def test_without_hysteresis_a_value_on_the_limit_is_normal_wherever_it_comes_from() -> None:
    bands = Threshold(high=30.0)
    assert [bands.read(value, 0.0).values for value in (30.0, 30.5, 30.0, 30.0)] == [
        (Band.NORMAL,),
        (Band.HIGH,),
        (Band.NORMAL,),
        (),
    ]


def test_a_decimal_hysteresis_is_reached_by_the_decimal_reading() -> None:
    assert 0.3 - 0.1 < 0.2, "the example needs numbers where the rounding shows"
    bands = Threshold(high=0.3, hysteresis=0.1)
    bands.read(0.4, 0.0)
    assert bands.read(0.2, 1.0).values == (Band.NORMAL,)


def test_a_threshold_reports_its_band_again_after_a_reset() -> None:
    bands = Threshold(high=30.0)
    bands.read(31.0, 0.0)
    bands.reset()
    assert bands.read(31.0, 1.0).values == (Band.HIGH,)


def test_a_switch_is_on_above_its_limit_until_the_value_came_back_by_the_hysteresis() -> None:
    switch = Switch(on_above=0.5, hysteresis=0.1)
    assert [switch.read(value, 0.0).values for value in (0.5, 0.51, 0.45, 0.4)] == [(False,), (True,), (), (False,)]


def test_a_switch_is_on_below_its_limit_until_the_value_came_back_by_the_hysteresis() -> None:
    switch = Switch(on_below=0.5, hysteresis=0.1)
    assert [switch.read(value, 0.0).values for value in (0.4, 0.55, 0.6, 0.5)] == [(True,), (), (False,), ()]
    switch.reset()
    assert switch.read(0.6, 0.0).values == (False,)


def test_a_report_passes_changes_of_at_least_delta() -> None:
    assert values(Report(delta=0.5), 20.0, 20.4, 20.5, 20.1, 20.0) == [20.0, 20.5, 20.0]


def test_a_decimal_step_of_exactly_delta_is_a_change() -> None:
    assert 0.3 - 0.2 < 0.1, "the example needs numbers where the rounding shows"
    assert values(Report(delta=0.1), 0.2, 0.3) == [0.2, 0.3]


def test_a_report_without_delta_passes_every_reading() -> None:
    assert values(Report(), 20.0, 20.0, 20.0) == [20.0, 20.0, 20.0]


def test_a_change_that_comes_too_early_is_reported_when_the_interval_ends() -> None:
    report = Report(delta=0.5, minimum_s=10.0)
    report.read(20.0, 100.0)
    assert report.read(21.0, 103.0) == Step((), 110.0)
    assert report.read(22.0, 104.0) == Step((), 110.0)
    assert report.wake(109.0) == Step((), 110.0)
    assert report.wake(110.0) == Step((22.0,))


def test_a_change_that_came_back_before_the_interval_ended_is_not_reported() -> None:
    report = Report(delta=0.5, minimum_s=10.0)
    report.read(20.0, 100.0)
    report.read(21.0, 103.0)
    assert report.read(20.1, 104.0) == Step()
    assert report.wake(110.0) == Step()


def test_after_the_longest_silence_the_latest_reading_passes_whatever_its_value() -> None:
    report = Report(delta=5.0, minimum_s=1.0, maximum_silence_s=60.0)
    assert report.read(20.0, 0.0) == Step((20.0,))
    assert report.read(20.0, 30.0) == Step((), 60.0)
    assert report.read(20.1, 59.0) == Step((), 60.0)
    assert report.wake(60.0) == Step((20.1,))


def test_a_sensor_that_fell_silent_is_not_repeated_and_heard_at_once_when_it_is_back() -> None:
    report = Report(delta=5.0, maximum_silence_s=60.0)
    report.read(20.0, 0.0)
    assert report.wake(60.0) == Step()
    assert report.wake(500.0) == Step()
    assert report.read(20.0, 501.0) == Step((20.0,))


def test_a_report_served_late_by_the_next_reading_keeps_the_interval_between_the_two() -> None:
    report = Report(delta=1.0, minimum_s=10.0)
    report.read(20.0, 0.0)
    report.read(25.0, 5.0)
    assert report.read(20.0, 14.0) == Step((25.0,), 24.0)
    assert report.wake(24.0) == Step((20.0,))


def test_a_report_repeats_nothing_from_before_a_reset() -> None:
    report = Report(delta=1.0, minimum_s=10.0, maximum_silence_s=60.0)
    report.read(20.0, 0.0)
    report.read(25.0, 5.0)
    report.reset()
    assert report.wake(100.0) == Step()
    assert report.read(25.0, 101.0) == Step((25.0,))


def test_a_report_waits_for_the_handed_out_time_when_the_clock_runs_backwards() -> None:
    report = Report(minimum_s=10.0)
    report.read(20.0, 100.0)
    assert report.read(21.0, 50.0) == Step((), 110.0)
    assert report.wake(110.0) == Step((21.0,))


def test_settings_that_make_no_sense_are_refused_with_the_setting_named() -> None:
    with pytest.raises(ValueError, match=r"^Range: minimum 60 must not be above maximum -40$"):
        Range(60, -40)
    with pytest.raises(ValueError, match="Range: minimum nan"):
        Range(minimum=math.nan)
    with pytest.raises(ValueError, match="RateOfChange: maximum_per_s must be a finite number above 0, not 0"):
        RateOfChange(0)
    with pytest.raises(ValueError, match="RateOfChange: confirmations must be a whole number of at least 2, not 1"):
        RateOfChange(1.0, confirmations=1)
    with pytest.raises(ValueError, match="Calibrate: factor must be a finite number, not nan"):
        Calibrate(factor=math.nan)
    with pytest.raises(ValueError, match="Median: window must be a whole number of at least 1, not 0"):
        Median(0)
    with pytest.raises(ValueError, match="Average: window"):
        Average(-1)
    with pytest.raises(ValueError, match="Report: delta"):
        Report(delta=-1)
    with pytest.raises(ValueError, match="Report: maximum_silence_s must be a finite number above 0"):
        Report(maximum_silence_s=0)
    with pytest.raises(ValueError, match="Report: maximum_silence_s 5 must not be less than minimum_s 10"):
        Report(minimum_s=10, maximum_silence_s=5)


def test_limits_that_make_no_sense_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"^Threshold: give high or low$"):
        Threshold()
    with pytest.raises(ValueError, match="Threshold: low must be a finite number"):
        Threshold(low=math.inf)
    with pytest.raises(ValueError, match="Threshold: hysteresis must be a finite number of at least 0"):
        Threshold(high=1.0, hysteresis=-1)
    with pytest.raises(ValueError, match="high 10 and low 8 are too close for a hysteresis of 1"):
        Threshold(high=10, low=8, hysteresis=1)
    with pytest.raises(ValueError, match=r"^Switch: give on_above or on_below$"):
        Switch()
    with pytest.raises(ValueError, match=r"^Switch: give on_above or on_below, not both$"):
        Switch(on_above=1.0, on_below=2.0)
