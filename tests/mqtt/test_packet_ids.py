"""Packet ids: never one that is still owed an answer."""

from __future__ import annotations

import pytest

from bridge.errors import TransportError
from bridge.mqtt.packet_ids import HIGHEST, PacketIds


def test_ids_are_given_in_turn_and_begin_again_at_one() -> None:
    ids = PacketIds()
    for expected in (*range(1, HIGHEST + 1), 1, 2):
        given = ids.take()
        assert given == expected
        ids.release(given)


def test_an_id_that_is_owed_an_answer_is_passed_over() -> None:
    ids = PacketIds()
    assert [ids.take(), ids.take()] == [1, 2]
    ids.release(1)
    for _ in range(HIGHEST - 2):
        ids.release(ids.take())
    assert [ids.take(), ids.take()] == [1, 3]


def test_when_every_id_is_owed_an_answer_it_is_said_until_one_comes() -> None:
    ids = PacketIds()
    for _ in range(HIGHEST):
        ids.take()
    with pytest.raises(TransportError, match="has not answered"):
        ids.take()
    ids.release(77)
    assert ids.take() == 77


def test_releasing_what_was_not_taken_changes_nothing() -> None:
    ids = PacketIds()
    ids.release(1)
    assert ids.take() == 1
