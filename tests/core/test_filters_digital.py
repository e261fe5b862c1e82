"""The filters of levels, example by example: what comes out, and when."""

from typing import cast

import pytest

from bridge.core.filters import Debounce, DebounceMode, DelayedOff, DelayedOn, Filter, Hold, Invert, Step, WarmUp


def test_settle_reports_a_change_at_once_and_ignores_its_bounces() -> None:
    debounce = Debounce(0.05)
    assert debounce.read(True, 10.0) == Step((True,), 10.0 + 0.05)
    assert debounce.read(False, 10.01) == Step((), 10.01 + 0.05)
    assert debounce.read(True, 10.02) == Step((), 10.02 + 0.05)
    assert debounce.wake(10.02 + 0.05) == Step()


def test_settle_reports_the_final_level_when_the_last_edge_fell_into_the_bounces() -> None:
    debounce = Debounce(0.05)
    debounce.read(True, 10.0)
    debounce.read(False, 10.01)
    assert debounce.wake(10.01 + 0.05) == Step((False,))
    assert debounce.read(True, 10.07).values == (True,), "the level had come to rest, so this is a change of its own"


def test_a_wake_at_the_very_sum_handed_out_is_served_where_a_difference_would_not_reach_the_delay() -> None:
    debounce = Debounce(0.1, mode="stable")
    start = 8.3
    wake_at = debounce.read(True, start).wake_at
    assert wake_at is not None
    assert wake_at - start < 0.1, "the example needs numbers where the rounding shows"
    assert debounce.wake(wake_at) == Step((True,))


def test_an_early_a_second_and_an_unneeded_wake_do_nothing() -> None:
    debounce = Debounce(0.05, mode="stable")
    assert debounce.wake(9.0) == Step()
    assert debounce.read(True, 10.0) == Step((), 10.05)
    assert debounce.wake(10.04) == Step((), 10.05)
    assert debounce.wake(10.06) == Step((True,))
    assert debounce.wake(10.06) == Step()


def test_readings_that_repeat_the_level_do_not_postpone_the_deadline() -> None:
    debounce = Debounce(1.0, mode="stable")
    debounce.read(True, 0.0)
    assert debounce.read(True, 0.9) == Step((), 1.0)
    assert debounce.read(True, 1.0) == Step((True,))


def test_stable_ignores_a_pulse_shorter_than_the_minimum() -> None:
    debounce = Debounce(0.05, mode="stable")
    debounce.read(False, 0.0)
    debounce.wake(0.05)
    debounce.read(True, 1.0)
    debounce.read(False, 1.03125)
    assert debounce.wake(2.0) == Step()


def test_a_deadline_served_late_by_the_next_reading_comes_before_that_reading() -> None:
    debounce = Debounce(0.05)
    debounce.read(True, 0.0)
    debounce.read(False, 0.01)
    assert debounce.read(True, 5.0).values == (False, True)


@pytest.mark.parametrize("mode", ["settle", "stable"])
def test_a_debounce_of_no_length_passes_every_change_at_once(mode: DebounceMode) -> None:
    debounce = Debounce(0.0, mode=mode)
    assert [debounce.read(level, 1.0) for level in (True, True, False, True)] == [
        Step((True,)),
        Step(),
        Step((False,)),
        Step((True,)),
    ]


def test_a_reset_forgets_what_was_reported_and_what_was_pending() -> None:
    debounce = Debounce(0.05)
    debounce.read(True, 0.0)
    debounce.read(False, 0.01)
    debounce.reset()
    assert debounce.wake(1.0) == Step()
    assert debounce.read(True, 2.0).values == (True,), "after a fault the level found is news, even an equal one"


def test_delayed_on_passes_true_after_it_held_and_false_at_once() -> None:
    delayed = DelayedOn(2.0)
    assert delayed.read(False, 0.0) == Step((False,))
    assert delayed.read(True, 1.0) == Step((), 3.0)
    assert delayed.wake(3.0) == Step((True,))
    assert delayed.read(False, 4.0) == Step((False,))


def test_delayed_on_ignores_a_true_that_did_not_hold() -> None:
    delayed = DelayedOn(2.0)
    delayed.read(False, 0.0)
    delayed.read(True, 1.0)
    assert delayed.read(False, 2.0) == Step()
    assert delayed.wake(3.0) == Step()


def test_delayed_off_passes_false_after_it_held_and_true_at_once() -> None:
    delayed = DelayedOff(2.0)
    assert delayed.read(True, 0.0) == Step((True,))
    assert delayed.read(False, 1.0) == Step((), 3.0)
    assert delayed.wake(3.0) == Step((False,))


def test_delayed_off_bridges_a_short_false() -> None:
    delayed = DelayedOff(2.0)
    delayed.read(True, 0.0)
    delayed.read(False, 1.0)
    assert delayed.read(True, 2.0) == Step()
    assert delayed.wake(3.0) == Step()


@pytest.mark.parametrize("filter_", [DelayedOff(2.0), Hold(2.0), Hold(2.0, retrigger=False)], ids=repr)
def test_a_false_found_first_is_not_delayed(filter_: Filter[bool, bool]) -> None:
    assert filter_.read(False, 0.0) == Step((False,))


def test_a_retriggered_hold_ends_after_the_last_activity_ended() -> None:
    hold = Hold(10.0)
    assert hold.read(True, 0.0) == Step((True,)), "while the level is active there is nothing to wake for"
    assert hold.read(False, 30.0) == Step((), 40.0)
    assert hold.read(True, 35.0) == Step()
    assert hold.read(False, 36.0) == Step((), 46.0)
    assert hold.read(False, 40.0) == Step((), 46.0)
    assert hold.wake(46.0) == Step((False,))


def test_a_hold_without_retrigger_ends_after_it_started_whatever_happened_meanwhile() -> None:
    hold = Hold(10.0, retrigger=False)
    assert hold.read(True, 0.0) == Step((True,), 10.0)
    assert hold.read(False, 3.0) == Step((), 10.0)
    assert hold.read(True, 8.0) == Step((), 10.0)
    assert hold.read(False, 9.0) == Step((), 10.0)
    assert hold.wake(10.0) == Step((False,))
    assert hold.read(True, 11.0) == Step((True,), 21.0)


def test_a_hold_without_retrigger_starts_again_when_it_finds_the_level_active_at_its_end() -> None:
    hold = Hold(10.0, retrigger=False)
    hold.read(True, 0.0)
    hold.read(False, 3.0)
    hold.read(True, 9.0)
    assert hold.wake(10.0) == Step((False, True), 20.0)
    hold.read(False, 12.0)
    assert hold.wake(20.0) == Step((False,))


def test_a_hold_served_very_late_does_not_catch_up_with_a_burst() -> None:
    hold = Hold(10.0, retrigger=False)
    hold.read(True, 0.0)
    assert hold.wake(95.0) == Step((False, True), 105.0)


def test_invert_passes_every_level_inverted() -> None:
    invert = Invert()
    assert [invert.read(level, 0.0) for level in (True, False, False)] == [Step((False,)), Step((True,)), Step((True,))]
    assert invert.wake(1.0) == Step()
    invert.reset()


def test_nothing_passes_during_the_warm_up_and_the_level_found_at_its_end_is_first() -> None:
    warm_up = WarmUp[bool](30.0)
    assert warm_up.warming_up(99.0)
    assert warm_up.read(True, 100.0) == Step((), 130.0)
    assert warm_up.read(False, 101.0) == Step((), 130.0)
    assert warm_up.read(True, 129.0) == Step((), 130.0)
    assert warm_up.warming_up(129.9)
    assert warm_up.wake(130.0) == Step((True,))
    assert not warm_up.warming_up(130.0)
    assert warm_up.wake(131.0) == Step()
    assert warm_up.read(False, 140.0) == Step((False,))


def test_a_warm_up_that_ends_with_a_reading_passes_the_held_level_before_it() -> None:
    warm_up = WarmUp[bool](30.0)
    warm_up.read(True, 0.0)
    assert warm_up.read(False, 30.0) == Step((True, False))


def test_a_warm_up_begins_when_the_sensor_is_powered_not_when_it_is_first_read() -> None:
    warm_up = WarmUp[float](30.0)
    warm_up.start(100.0)
    assert warm_up.wake(101.0) == Step((), 130.0)
    assert warm_up.read(21.5, 129.0) == Step((), 130.0)
    warm_up.start(129.5)
    assert warm_up.wake(130.0) == Step((), 159.5), "powered on anew, and what was held belongs to the time before"
    assert warm_up.wake(159.5) == Step()


def test_a_warm_up_without_length_passes_the_first_reading() -> None:
    assert WarmUp[bool](0.0).read(True, 5.0) == Step((True,))


def test_a_reset_during_the_warm_up_forgets_the_level_and_keeps_the_window() -> None:
    warm_up = WarmUp[bool](30.0)
    warm_up.read(True, 0.0)
    warm_up.reset()
    assert warm_up.wake(1.0) == Step((), 30.0)
    assert warm_up.wake(30.0) == Step()


@pytest.mark.parametrize(
    "filter_",
    [Debounce(0.5), Debounce(0.5, mode="stable"), DelayedOn(0.5), DelayedOff(0.5), Hold(0.5), Hold(0.5, False)],
    ids=repr,
)
def test_a_clock_that_runs_backwards_loses_no_final_level(filter_: Filter[bool, bool]) -> None:
    values = [
        filter_.read(level, now).values for level, now in [(True, 100.0), (False, 7.0), (True, 7.0), (False, 6.0)]
    ]
    values.append(filter_.wake(200.0).values)
    assert sum(values, ())[-1:] == (False,)


def test_filters_with_equal_settings_are_equal_whatever_they_have_seen() -> None:
    one, other = Debounce(0.05), Debounce(0.05)
    one.read(True, 0.0)
    assert one == other
    assert repr(one) == "Debounce(settle_s=0.05, mode='settle')"


def test_settings_that_make_no_sense_are_refused_with_the_setting_named() -> None:
    with pytest.raises(ValueError, match=r"^Debounce: settle_s must be a finite number of at least 0, not -1$"):
        Debounce(-1)
    with pytest.raises(ValueError, match=r"^Debounce: mode must be 'settle' or 'stable', not 'both'$"):
        Debounce(1, mode=cast("DebounceMode", "both"))
    with pytest.raises(ValueError, match="DelayedOn: delay_s"):
        DelayedOn(float("nan"))
    with pytest.raises(ValueError, match="DelayedOff: delay_s"):
        DelayedOff(float("inf"))
    with pytest.raises(ValueError, match=r"^Hold: hold_s must be a finite number above 0, not 0$"):
        Hold(0)
    with pytest.raises(ValueError, match="WarmUp: warm_up_s"):
        WarmUp[bool](-0.1)
