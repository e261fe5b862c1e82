"""What is counted of a journal that was set aside, as far as it can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.core.event import parse_foreign
from bridge.core.invocation import DeadLetter
from bridge.core.records import Commit, Record
from bridge.journal import ledger, outbox
from bridge.journal.salvage import lost_with_ledger, lost_with_outbox
from tests.damage import damage, everything

NOW = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
NOTHING = Commit((), (), (), (), (), ())
LAMP = parse_foreign(b"{}", "lamp", id="id-1", received_at=NOW)
LETTER = DeadLetter(id="id-1:m", reason="broken", at=NOW, event_id="id-1", topic="lamp", event=b"{}", of=LAMP)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A ledger with three events that are not finished, and a dead letter."""
    path = tmp_path / "ledger.sqlite"
    lamps = [Record(number, replace(LAMP, source="/lamp", id=f"lamp-{number}"), NOW, ()) for number in (1, 2)]
    lamps.append(replace(lamps[1], number=4, lane="m|/lamp"))  # the same event, for another mapping
    bell = Record(3, replace(LAMP, source="/bell"), NOW, ())
    with closing(sqlite3.connect(path)) as database:
        for script in ledger.MIGRATIONS:
            database.executescript(script)
        ledger.keep(replace(NOTHING, records=(*lamps, bell), letters=(LETTER,)))(database)
        database.commit()
    return path


def test_stored_events_are_counted_by_source_and_dead_letters_too(stored: Path) -> None:
    damage(stored, "ids")
    lost = lost_with_ledger(stored)
    assert (lost.events, lost.count, lost.dead_letters, lost.whole) == ({"/lamp": 2, "/bell": 1}, 3, 1, True)


def test_what_cannot_be_read_is_said_to_be_unknown(stored: Path) -> None:
    damage(stored, "records")
    lost = lost_with_ledger(stored)
    assert (lost.count, lost.dead_letters, lost.whole) == (0, 1, False)

    everything(stored)
    lost = lost_with_ledger(stored)
    assert (lost.count, lost.dead_letters, lost.whole) == (0, 0, False)


def test_of_an_outbox_what_is_not_confirmed_is_counted_by_sensor(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as database:
        for script in outbox.MIGRATIONS:
            database.executescript(script)
        outbox.begin("home", "pi-1", "boot", "e")(database)
        entries = [
            outbox.Entry(outbox.key_of(stream, sequence), b"{}", 0.0, 0.0, alarm=False, open=False, level=False)
            for stream, sequence in ((1, 1), (1, 2), (2, 1))
        ]
        outbox.append([(1, "door", "e"), (2, "gate", "e")], entries)(database)
        database.execute("UPDATE streams SET confirmed = 1 WHERE sensor = 'door'")
        database.commit()
    damage(path, "levels")
    lost = lost_with_outbox(path)
    assert (lost.events, lost.whole) == ({"door": 1, "gate": 1}, True)
