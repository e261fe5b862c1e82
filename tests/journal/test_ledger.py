"""What the journal keeps of a ledger comes back as it was."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bridge.core.dedup import SourceRow
from bridge.core.event import Event, Identity, parse_foreign
from bridge.core.invocation import DeadLetter, Invocation
from bridge.core.mapping_state import StateChange
from bridge.core.records import Commit, OpenInvocation, Record
from bridge.core.retry import RetryPolicy
from bridge.journal.dead_letters import Chosen, counted, listed, purge, replays
from bridge.journal.ledger import MIGRATIONS, fact, keep, keep_fact, load

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
EVENT: Event = parse_foreign(b'{"on": true}', "lamp/kitchen", id="id-1", received_at=NOW)
INVOCATION = Invocation(
    id="id-1:m",
    mapping="m",
    function="f",
    lane="m|lamp/kitchen",
    payload="text",
    text="hello",
    headers=(("X-A", "b"),),
    retry=RetryPolicy(attempts=7, first_s=0.5, max_s=9.0, total_s=60.0),
    due_at=NOW,
)
NOTHING = Commit((), (), (), (), (), ())


@pytest.fixture
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for script in MIGRATIONS:
        connection.executescript(script)
    return connection


def test_a_record_comes_back_as_it_was_until_it_is_finished(database: sqlite3.Connection) -> None:
    record = Record(3, EVENT, NOW, (OpenInvocation(INVOCATION, 2),))
    keep(replace(NOTHING, records=(record,)))(database)
    assert load(database).records == (record,)
    assert load(database).next_number == 4
    fewer = replace(record, open=(OpenInvocation(INVOCATION, 3),))
    keep(replace(NOTHING, records=(fewer,)))(database)
    assert load(database).records == (fewer,)
    keep(replace(NOTHING, finished=(3,)))(database)
    assert load(database).records == ()


def test_what_is_known_of_sources_comes_back_in_the_order_of_its_epochs(database: sqlite3.Connection) -> None:
    rows = (SourceRow("s", "z", ((1, 4),)), SourceRow("s", "a", ((1, 2), (5, 5))))
    for row in rows:
        keep(replace(NOTHING, sources=(row,)))(database)
    keep(replace(NOTHING, sources=(SourceRow("s", "z", ((1, 9),)),)))(database)
    assert load(database).sources == (SourceRow("s", "z", ((1, 9),)), rows[1])
    keep(replace(NOTHING, sources=(SourceRow("s", "z", ()),)))(database)
    assert load(database).sources == (rows[1],)


def test_ids_and_mapping_state_come_back(database: sqlite3.Connection) -> None:
    ids = (Identity("s", "one", 0), Identity("s", "two", 0))
    changes = (StateChange("cooldown|m|s", ["2026-11-22T17:30:00.000000Z"]), StateChange("cooldown|n|s", None))
    keep(replace(NOTHING, ids=ids, changes=changes))(database)
    restored = load(database)
    assert restored.ids == ids
    assert restored.state.cooldowns == {"m|s": (NOW,)}


def test_dead_letters_are_chosen_shown_replayed_and_purged(database: sqlite3.Connection) -> None:
    letter = DeadLetter(
        id="id-1:m",
        reason="refused",
        at=NOW,
        event_id="id-1",
        topic=EVENT.topic,
        event=EVENT.body,
        mapping="m",
        function="f",
        invocation=INVOCATION,
        of=EVENT,
    )
    unread = DeadLetter(id="x", reason="no JSON", at=NOW, event_id="x", topic="t", event=b"\xff")
    keep(replace(NOTHING, letters=(letter, unread)))(database)
    assert [one["id"] for one in listed(Chosen(), limit=10)(database)] == ["x", "id-1:m"]
    assert [one["id"] for one in listed(Chosen(), limit=10, offset=1)(database)] == ["id-1:m"]
    assert counted(Chosen(mapping="m"))(database) == 1
    assert counted(Chosen(function="g"))(database) == 0
    assert counted(Chosen(before=NOW))(database) == 0
    (replay,) = replays(Chosen(), limit=10)(database)
    assert (replay.number, replay.event, replay.mapping, replay.invocation) == (1, EVENT, "m", INVOCATION)
    keep(replace(NOTHING, replayed=(1,)))(database)
    assert [one["number"] for one in listed(Chosen(), limit=10)(database)] == [2]
    assert purge(Chosen(numbers=(2, 3)))(database) == 1
    assert counted(Chosen())(database) == 0


def test_small_facts_come_back(database: sqlite3.Connection) -> None:
    assert fact("subscriptions")(database) is None
    keep_fact("subscriptions", ["a/+"])(database)
    keep_fact("subscriptions", ["b/+"])(database)
    assert fact("subscriptions")(database) == ["b/+"]
