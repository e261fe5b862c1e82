"""The sender's decisions that no outbox has to be made for."""

from __future__ import annotations

import pytest

from bridge.core.confirm import Confirmed
from bridge.core.outbox import Publish, Row, Sender, Stream


def sender_of(inherited: int, *fresh: int) -> Sender:
    """A sender with a door's events: those of an earlier life, and those of this one, of which the first is sent."""
    sender = Sender(limit=10, resend_s=60)
    stream = Stream(1, "door", "now", confirmed=inherited, last=inherited, inherited=inherited)
    sender.add(stream)
    sender.connected(0.0)
    for sequence in fresh:
        sender.appended(stream, Row(sequence, b""))
    sent = sender.next(0.0)
    assert sent is None or (isinstance(sent, Publish) and sent.row.sequence == inherited + 1)
    return sender


@pytest.mark.parametrize(
    ("said", "set_back"),
    [
        (Confirmed("now", 3), False),
        (Confirmed("now", 4), False),
        (Confirmed("now", 5), True),
        (Confirmed("now", 0, ((4, 4),)), False),
        (Confirmed("now", 0, ((2, 3), (9, 9))), True),
        (Confirmed("before", 99), False),
    ],
)
def test_more_confirmed_than_anybody_can_have_sent_means_that_an_outbox_was_set_back(
    said: Confirmed, set_back: bool
) -> None:
    assert sender_of(3, 4, 5).set_back("door", said, "now") is set_back


def test_a_sensor_of_which_nothing_is_known_in_this_epoch_cannot_have_sent_anything() -> None:
    assert sender_of(3).set_back("gate", Confirmed("now", 1), "now")
    assert not sender_of(3).set_back("gate", Confirmed("before", 1), "now")
