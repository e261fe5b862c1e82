from __future__ import annotations

from pathlib import Path

import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from bridge.agent.pins import HEADER, Pin, Use, conflicts
from bridge.config import INVALID, Node, Reader

REVISIONS = ["900092", "9000c1", "902120", "a02082", "a020d3", "b03114", "c03130", "d04170"]
"""Zero, Zero W, Zero 2 W, 3B, 3B+, 4B, 400, 5B."""


def read(value: str | int) -> object:
    return Pin.from_node(Node(value, 1, 1, "agent.yaml"), Reader(Path()), "pin")


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_header_is_the_one_that_gpiozero_knows_of_every_pi(revision: str) -> None:
    info = MockFactory(revision=revision).board_info
    header = {
        number: int(pin.name.removeprefix("GPIO"))
        for number, pin in info.headers["J8"].pins.items()
        if "gpio" in pin.interfaces
    }

    assert header == HEADER


@given(st.integers(0, 27), st.sampled_from(["{}", "GPIO{}", "gpio{}", "BCM{}"]))
def test_every_gpio_is_read_by_each_of_its_names(bcm: int, form: str) -> None:
    assert read(form.format(bcm)) == read(bcm) == Pin(bcm)


@given(st.text(max_size=12) | st.integers())
def test_everything_else_is_a_problem_and_nothing_worse(value: str | int) -> None:
    found = read(value)

    assert found is INVALID or (isinstance(found, Pin) and 0 <= found.bcm <= 27)


USES = st.lists(
    st.tuples(
        st.sampled_from(["sensors.a", "sensors.b", "outputs.c"]),
        st.builds(Use, st.just("pin"), st.sampled_from(["GPIO4", "GPIO5"]), st.sampled_from([None, "the SPI bus"])),
    ),
    max_size=6,
    unique=True,
)


@given(USES)
def test_uses_conflict_unless_all_that_share_something_are_on_one_bus(uses: list[tuple[str, Use]]) -> None:
    clash = False
    for resource in ("GPIO4", "GPIO5"):
        sharing = [use for _, use in uses if use.resource == resource]
        clash = clash or (len(sharing) > 1 and any(use.bus is None for use in sharing))

    assert bool(list(conflicts(uses))) == clash
