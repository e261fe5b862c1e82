"""What is counted of a journal that was set aside, as far as it can be read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from bridge.core.event import parse_foreign
from bridge.core.frames import End, frame
from bridge.core.invocation import DeadLetter
from bridge.core.records import Commit, Record
from bridge.core.young import Entry, Young, confirmed_record, event_record, key_of
from bridge.journal import ledger, outbox
from bridge.journal.log import IDENTITY_BYTES, LogFile
from bridge.journal.outbox.log import log_path
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


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """An outbox whose database has three events, one of them confirmed."""
    path = tmp_path / "outbox.db"
    with closing(sqlite3.connect(path)) as database:
        for script in outbox.MIGRATIONS:
            database.executescript(script)
        nothing = outbox.Inherited(b"identity", Young(), applied=0, whole=True)
        outbox.begin("home", "pi-1", "boot", "e", nothing)(database)
        entries = [entry(stream, sequence) for stream, sequence in ((1, 1), (1, 2), (2, 1))]
        outbox.append([(1, "door", "e"), (2, "gate", "e")], entries)(database)
        database.execute("UPDATE streams SET confirmed = 1 WHERE sensor = 'door'")
        database.commit()
    return path


def entry(stream: int, sequence: int, sensor: str = "bell") -> Entry:
    body = orjson.dumps({"data": {"sensor": sensor}})
    return Entry(key_of(stream, sequence), body, 0.0, 0.0, alarm=False, open=False, level=False)


def log_beside(outbox_path: Path, *payloads: bytes) -> Path:
    path = log_path(outbox_path)
    file = LogFile(path, 8192)
    file.make(b"x" * IDENTITY_BYTES)
    file.put(0, frame(payloads, End(1))[0], power=False)
    file.close()
    return path


def test_of_an_outbox_what_is_not_confirmed_is_counted_by_sensor(kept: Path) -> None:
    damage(kept, "levels")
    lost = lost_with_outbox(kept)
    assert (lost.events, lost.whole) == ({"door": 1, "gate": 1}, True)


def test_what_the_log_of_an_outbox_says_counts_too(kept: Path) -> None:
    log = log_beside(kept, event_record(entry(3, 1)), event_record(entry(3, 2)), confirmed_record(2, 1))
    damage(kept, "levels")
    lost = lost_with_outbox(kept, log)
    assert (lost.events, lost.count, lost.whole) == ({"door": 1, "bell": 2}, 3, True)


def test_what_was_taken_over_of_the_log_is_not_counted_twice(kept: Path) -> None:
    log = log_beside(kept, event_record(entry(1, 1)), event_record(entry(3, 1)))
    with closing(sqlite3.connect(kept)) as database:
        database.execute("UPDATE log SET applied = 1")
        database.commit()
    damage(kept, "levels")
    assert lost_with_outbox(kept, log).events == {"door": 1, "gate": 1, "bell": 1}


def test_records_that_cannot_be_read_count_without_a_sensor(kept: Path) -> None:
    log = log_beside(kept, event_record(entry(3, 1)), event_record(entry(3, 2)), event_record(entry(3, 3)))
    content = log.read_bytes()
    log.write_bytes(content.replace(event_record(entry(3, 2)), b"\0" * len(event_record(entry(3, 2)))))
    damage(kept, "levels")
    lost = lost_with_outbox(kept, log)
    assert (lost.events, lost.unreadable, lost.count, lost.whole) == (
        {"door": 1, "gate": 1, "bell": 2}, 1, 5, False,
    )  # fmt: skip


def test_of_records_of_a_newer_program_nothing_is_known(kept: Path) -> None:
    lost = lost_with_outbox(kept, log_beside(kept, b"\xff?"))
    assert lost.events == {"door": 1, "gate": 1}
