from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sequences import Sequences

RUNS = st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda run: (run[0], run[0] + run[1]))


@given(st.lists(RUNS, max_size=30))
def test_it_is_the_set_of_all_that_was_added(runs: list[tuple[int, int]]) -> None:
    sequences, reference = Sequences(), set[int]()
    for first, last in runs:
        sequences.add(first, last)
        reference.update(range(first, last + 1))

    assert {number for number in range(80) if number in sequences} == reference
    assert {number for first, last in sequences.runs for number in range(first, last + 1)} == reference
    assert all(last + 1 < first for (_, last), (first, _) in zip(sequences.runs, sequences.runs[1:], strict=False))
    missing = {number for first, last in sequences.gaps for number in range(first, last + 1)}
    assert missing == (set(range(min(reference), max(reference))) - reference if reference else set())


@given(st.lists(RUNS, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_adding_changes_nothing(runs: list[tuple[int, int]], random: object) -> None:
    assert Sequences(runs) == Sequences(reversed(runs))
    assert Sequences(Sequences(runs).runs) == Sequences(runs)


def test_the_next_number_makes_the_last_run_longer() -> None:
    sequences = Sequences([(1, 4)])
    sequences.add(5)

    assert sequences.runs == ((1, 5),)
    assert sequences.gaps == ()


def test_a_number_that_fills_a_gap_joins_two_runs() -> None:
    sequences = Sequences([(1, 2), (4, 5)])
    assert sequences.gaps == ((3, 3),)

    sequences.add(3)

    assert sequences.runs == ((1, 5),)


def test_an_empty_run_is_refused() -> None:
    with pytest.raises(ValueError, match="from 3 to 2"):
        Sequences().add(3, 2)


def test_it_shows_its_runs_and_equals_nothing_else() -> None:
    assert repr(Sequences([(1, 2)])) == "Sequences([(1, 2)])"
    assert Sequences() != ()
    with pytest.raises(TypeError):
        hash(Sequences())
