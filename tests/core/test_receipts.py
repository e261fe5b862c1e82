from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.receipts import Receipts, Ticket


def test_what_is_finished_first_waits_for_what_came_first_rule_8() -> None:
    receipts = Receipts()
    receipts.begin(1)
    first, second = Ticket(1, 10), Ticket(1, 11)
    receipts.receive(first)
    receipts.receive(second)

    receipts.complete(second)
    assert receipts.release() == ()
    receipts.complete(first)
    assert receipts.release() == (first, second)
    assert receipts.release() == ()
    assert len(receipts) == 0


def test_a_ticket_of_an_earlier_connection_is_void_rule_8() -> None:
    receipts = Receipts()
    receipts.begin(1)
    receipts.receive(Ticket(1, 10))
    receipts.begin(2)

    receipts.complete(Ticket(1, 10))
    receipts.receive(Ticket(1, 12))
    assert receipts.release() == ()
    assert len(receipts) == 0


def test_a_late_word_about_an_acknowledged_delivery_does_not_acknowledge_the_next_one_with_its_packet_id() -> None:
    receipts = Receipts()
    receipts.begin(1)
    ticket = Ticket(1, 10)
    receipts.receive(ticket)
    receipts.complete(ticket)
    assert receipts.release() == (ticket,)

    receipts.complete(ticket)
    receipts.receive(ticket)
    assert receipts.release() == ()


def test_a_delivery_that_comes_twice_before_its_acknowledgement_is_acknowledged_once_and_blocks_nothing() -> None:
    receipts = Receipts()
    receipts.begin(1)
    for packet in (10, 10, 11):
        receipts.receive(Ticket(1, packet))
        receipts.complete(Ticket(1, packet))

    assert receipts.release() == (Ticket(1, 10), Ticket(1, 11))


@given(st.lists(st.tuples(st.sampled_from(["receive", "complete", "begin"]), st.integers(0, 6), st.booleans())))
def test_acknowledgements_are_always_a_prefix_of_the_receipts_in_order_rule_8(
    steps: list[tuple[str, int, bool]],
) -> None:
    receipts, generation = Receipts(), 1
    receipts.begin(generation)
    order: list[Ticket] = []
    completed: set[Ticket] = set()
    for what, packet, stale in steps:
        ticket = Ticket(generation - stale, packet)
        if what == "begin":
            generation += 1
            receipts.begin(generation)
            order, completed = [], set()
        elif what == "receive":
            receipts.receive(ticket)
            if not stale and ticket not in order:
                order.append(ticket)
        else:
            receipts.complete(ticket)
            if ticket in order:
                completed.add(ticket)
        released = list(receipts.release())
        assert released == order[: len(released)]
        assert completed.issuperset(released)
        del order[: len(released)]
        completed -= set(released)
        assert not order or order[0] not in completed
        assert len(receipts) == len(order)
