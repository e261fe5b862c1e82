from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SensorError
from bridge.virtual.adc import Mcp3008


def ask(chip: Mcp3008, channel: int, *, single: bool = True) -> int:
    answer = chip.transfer([1, (single << 3 | channel) << 4, 0])
    return (answer[1] & 3) << 8 | answer[2]


@given(st.integers(0, 7), st.floats(0, 1))
def test_a_conversion_gives_the_part_of_the_reference_within_one_step(channel: int, ratio: float) -> None:
    chip = Mcp3008()
    chip.wire(channel, lambda: ratio)
    assert ask(chip, channel) == pytest.approx(ratio * 1023.5, abs=1)


def test_raw_232_is_a_tmp36_at_almost_25_degrees() -> None:
    chip = Mcp3008()
    chip.wire(0, lambda: 0.7496 / 3.3)
    assert ask(chip, 0) == 232


def test_an_input_without_anything_on_it_reads_as_ground() -> None:
    assert ask(Mcp3008(), 5) == 0


def test_a_differential_conversion_is_read_against_the_neighbour_and_never_below_zero() -> None:
    chip = Mcp3008()
    chip.wire(0, lambda: 0.75)
    chip.wire(1, lambda: 0.25)
    assert ask(chip, 0, single=False) == ask(chip, 0) - ask(chip, 1)
    assert ask(chip, 1, single=False) == 0


def test_words_without_a_start_bit_are_answered_with_zeros() -> None:
    assert Mcp3008().transfer([0, 0, 0]) == [0, 0, 0]


def test_a_channel_that_the_chip_does_not_have_is_refused() -> None:
    with pytest.raises(SensorError, match="0 to 7, not 8"):
        Mcp3008().wire(8, lambda: 0.0)
