"""Which acknowledgements leave together, and that no broker waits for one that does not."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from bridge.mqtt.acknowledgements import TOGETHER, TOGETHER_S, Acknowledgements
from bridge.mqtt.packet import encode_pubacks


def taught(in_flight: int) -> Acknowledgements:
    """Those of a connection on which so many messages have been in flight at once; the last one left at 0."""
    some = Acknowledgements()
    some.add([1], in_flight, 0.0)
    return some


def test_one_that_follows_none_leaves_at_once() -> None:
    some = taught(5)
    assert some.add([7], 1, TOGETHER_S) == encode_pubacks([7])
    assert some.due_at is None


def test_those_that_follow_soon_leave_together_and_in_order() -> None:
    some = taught(5)
    assert some.add([7], 1, 0.001) == b""
    assert some.add([8, 9], 2, 0.002) == b""
    assert some.due_at == TOGETHER_S
    assert some.add([10], 1, TOGETHER_S) == encode_pubacks([7, 8, 9, 10])
    assert some.due_at is None


def test_so_many_leave_in_any_case() -> None:
    some = taught(100)
    sent = [some.add([number], 1, 0.001) for number in range(1, TOGETHER + 1)]
    assert sent == [b""] * (TOGETHER - 1) + [encode_pubacks(list(range(1, TOGETHER + 1)))]


def test_what_waits_can_be_taken_at_any_time() -> None:
    some = taught(5)
    some.add([7], 1, 0.001)
    assert some.take(0.002) == encode_pubacks([7])
    assert some.take(0.003) == b""


def test_when_messages_fill_the_window_what_waits_makes_room() -> None:
    some = taught(3)
    some.add([7], 1, 0.001)
    assert some.make_room(1, 0.002) == b""
    assert some.make_room(2, 0.002) == encode_pubacks([7])
    assert some.make_room(3, 0.002) == b"", "nothing waits"


@given(window=st.integers(1, 30), finish=st.lists(st.integers(0, 8), max_size=60))
def test_a_broker_has_room_for_another_message_or_has_it_as_soon_as_it_would_without_us(
    window: int, finish: list[int]
) -> None:
    """The broker fills its window, whatever that is; the program finishes some of what it has, over and over."""
    some, open_, told = Acknowledgements(), deque[int](), 0
    on_the_wire = 0
    for number, count in enumerate(finish):
        now = number * TOGETHER_S / 1000
        while on_the_wire < window:  # the broker sends as long as it may
            on_the_wire += 1
            told += 1
            open_.append(told)
        sent = some.make_room(len(open_), now)
        for _ in range(min(count, len(open_))):
            sent += some.add([open_[0] % 65_536], len(open_), now)
            open_.popleft()
        on_the_wire -= len(sent) // 4
        waiting = on_the_wire - len(open_)
        assert waiting == 0 or on_the_wire < window
