"""Several filters as one: what reaches the next one, when the chain wakes, what it forgets."""

from bridge.core.filters import (
    Band,
    Calibrate,
    Chain,
    Debounce,
    DelayedOff,
    DelayedOn,
    Filter,
    Hold,
    Invert,
    Range,
    RateOfChange,
    Report,
    Round,
    Step,
    Switch,
    Threshold,
    WarmUp,
)


def test_a_chain_without_filters_passes_everything() -> None:
    chain = Chain[bool, bool]()
    assert chain.read(True, 0.0) == Step((True,))
    assert chain.wake(1.0) == Step()
    chain.reset()


def test_what_one_filter_lets_through_is_the_reading_of_the_next() -> None:
    chain: Filter[float, float] = Chain(Calibrate(factor=10.0), Range(0.0, 50.0), Round(0))
    assert chain.read(1.23, 0.0).values == (12.0,)
    (fault,) = chain.read(7.0, 1.0).faults
    assert fault.reason == "the reading 70.0 is above the maximum of 50.0"


def test_the_types_may_change_along_the_chain() -> None:
    bands: Filter[float, Band] = Chain(Range(), Threshold(high=30.0))
    assert bands.read(31.0, 0.0).values == (Band.HIGH,)
    tripwire: Filter[float, bool] = Chain(Range(0.0, 1.0), Switch(on_below=0.5), Debounce(1.0))
    assert tripwire.read(0.4, 0.0) == Step((True,), 1.0)
    nested: Filter[float, bool] = Chain(Chain(Calibrate(), Range(), Round(1)), Switch(on_above=0.5), Invert())
    assert nested.read(0.6, 0.0) == Step((False,))


def test_a_chain_wakes_when_the_first_of_its_filters_must() -> None:
    chain = Chain(Debounce(1.0), Hold(10.0, retrigger=False))
    assert chain.read(True, 0.0) == Step((True,), 1.0)
    assert chain.wake(1.0) == Step((), 10.0)
    assert chain.read(False, 5.0) == Step((), 6.0)
    assert chain.wake(6.0) == Step((), 10.0)
    assert chain.wake(10.0) == Step((False,))


def test_a_later_filter_may_be_the_one_that_wakes_first() -> None:
    chain = Chain(Debounce(10.0), DelayedOn(1.0), DelayedOff(2.0))
    assert chain.read(True, 0.0) == Step((), 1.0)
    assert chain.wake(1.0) == Step((True,), 10.0)


def test_a_chain_served_late_tells_the_levels_in_their_order() -> None:
    chain = Chain(Debounce(1.0), DelayedOn(0.0))
    chain.read(True, 0.0)
    chain.read(False, 0.5)
    assert chain.read(True, 100.0).values == (False, True)


def test_a_pir_is_warmed_up_debounced_and_held() -> None:
    chain = Chain(WarmUp[bool](30.0), Debounce(0.5), Hold(10.0))
    assert chain.read(True, 0.0) == Step((), 30.0)
    assert chain.read(False, 20.0) == Step((), 30.0)
    assert chain.wake(30.0) == Step((False,), 30.5)
    assert chain.read(True, 40.0) == Step((True,), 40.5)
    assert chain.wake(40.5) == Step()
    assert chain.read(False, 42.0) == Step((), 42.5), "settle reports the end at once, so the hold begins now"
    assert chain.wake(42.5) == Step((), 52.0)
    assert chain.wake(52.0) == Step((False,))


def test_the_faults_of_all_filters_are_told() -> None:
    chain = Chain(WarmUp[float](10.0), Range(0.0, 100.0), RateOfChange(0.125))
    chain.read(-5.0, 0.0)
    step = chain.read(20.0, 10.0)
    assert [fault.kind for fault in step.faults] == ["range"]
    assert step.values == (20.0,)
    assert [fault.kind for fault in chain.read(50.0, 11.0).faults] == ["rate"]


def test_a_fault_lets_the_filters_behind_it_serve_what_they_owe() -> None:
    chain = Chain(Range(0.0, 50.0), Report(minimum_s=10.0))
    chain.read(20.0, 0.0)
    chain.read(21.0, 5.0)
    step = chain.read(85.0, 12.0)
    assert step.values == (21.0,)
    assert len(step.faults) == 1


def test_a_reset_reaches_every_filter_of_the_chain() -> None:
    chain = Chain(RateOfChange(1.0), Report(delta=1.0, minimum_s=10.0))
    chain.read(20.0, 0.0)
    chain.read(20.5, 1.0)
    chain.reset()
    assert chain.read(50.0, 2.0) == Step((50.0,))


def test_a_chain_is_shown_with_its_filters() -> None:
    assert repr(Chain(Invert(), DelayedOn(2.0))) == "Chain(Invert(), DelayedOn(delay_s=2.0))"


def test_a_step_and_a_warm_up_may_be_made_with_their_type_named() -> None:
    assert WarmUp[bool](0.0).read(True, 0.0) == Step[bool]((True,))
