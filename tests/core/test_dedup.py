from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core import dedup
from bridge.core.dedup import EPOCHS_PER_SOURCE, RUNS, Dedup, SourceRow
from bridge.core.event import Identity

COUNTED = st.builds(Identity, st.sampled_from(["s", "t"]), st.sampled_from(["e1", "e2"]), st.integers(1, 40))
UNCOUNTED = st.builds(Identity, st.sampled_from(["s", "t"]), st.sampled_from(["id-1", "id-2"]), st.just(0))


@given(st.lists(COUNTED | UNCOUNTED))
def test_it_knows_exactly_what_was_added_rule_1(identities: list[Identity]) -> None:
    known, added = Dedup(), set[Identity]()
    for identity in identities:
        assert known.knows(identity) is (identity in added)
        known.add(identity)
        added.add(identity)

    assert all(known.knows(identity) for identity in added)
    assert not known.knows(Identity("s", "e1", 41))
    assert not known.knows(Identity("u", "e1", 1))
    assert not known.knows(Identity("s", "e3", 1))


@given(st.lists(st.lists(COUNTED | UNCOUNTED)))
def test_what_it_hands_over_restores_it(batches: list[list[Identity]]) -> None:
    known = Dedup()
    rows: dict[tuple[str, str], SourceRow] = {}
    ids: list[Identity] = []
    for batch in batches:
        for identity in batch:
            known.add(identity)
        assert known.changed is bool(known._changed or known._new_ids)
        for row in known.take():
            rows[row.source, row.epoch] = row
        ids += known.take_ids()
        assert not known.changed

    restored = Dedup.restore(rows.values(), ids)
    assert set(restored.rows()) == set(known.rows())
    assert all(restored.knows(identity) for batch in batches for identity in batch)
    assert not restored.changed


def test_what_could_not_be_kept_is_handed_over_again() -> None:
    known = Dedup()
    known.add(Identity("s", "e", 1))
    known.add(Identity("s", "id", 0))
    rows, ids = known.take(), known.take_ids()
    known.add(Identity("s", "e", 2))
    known.add(Identity("s", "id-2", 0))

    known.put_back(rows, ids)

    assert known.take() == (SourceRow("s", "e", ((1, 2),)),)
    assert known.take_ids() == (Identity("s", "id", 0), Identity("s", "id-2", 0))
    assert known.take() == ()


def test_a_tombstone_stands_for_all_sequences_that_it_covers() -> None:
    known = Dedup()
    known.add(Identity("s", "e", 7), first=3)

    assert known.rows() == (SourceRow("s", "e", ((3, 7),)),)
    assert known.knows(Identity("s", "e", 3))


def test_an_event_that_is_sent_again_is_told_again_as_kept() -> None:
    known = Dedup()
    known.add(Identity("s", "e", 1))
    known.take()

    known.touch(Identity("s", "e", 1))
    assert known.take() == (SourceRow("s", "e", ((1, 1),)),)
    for stranger in (Identity("s", "x", 1), Identity("x", "e", 1), Identity("s", "id", 0)):
        known.touch(stranger)
    assert not known.changed


def test_of_a_source_the_latest_epochs_are_known() -> None:
    known = Dedup()
    for number in range(EPOCHS_PER_SOURCE + 2):
        known.add(Identity("s", f"e{number}", 1))

    assert [row.epoch for row in known.rows()] == ["e2", "e3", "e4", "e5"]
    assert {row.epoch for row in known.take() if not row.runs} == {"e0", "e1"}
    every = [SourceRow("s", f"e{number}", ((1, 1),)) for number in range(6)]
    restored = Dedup.restore(every)
    assert [row.epoch for row in restored.rows()] == ["e2", "e3", "e4", "e5"]
    assert restored.take() == (SourceRow("s", "e0", ()), SourceRow("s", "e1", ()))


def test_an_id_is_handed_over_once_and_the_oldest_is_forgotten() -> None:
    known = Dedup()
    for number in range(dedup.IDS + 1):
        known.add(Identity("s", f"id-{number}", 0))
    known.add(Identity("s", "id-5", 0))

    assert not known.knows(Identity("s", "id-0", 0))
    assert known.knows(Identity("s", "id-1", 0))
    assert len(known.take_ids()) == dedup.IDS + 1


def test_an_epoch_with_as_many_gaps_as_it_may_have_takes_only_what_closes_one() -> None:
    dedup = Dedup()
    for sequence in range(1, 2 * RUNS, 2):
        assert not dedup.crowded(numbered(sequence))
        dedup.add(numbered(sequence))

    assert dedup.crowded(numbered(2 * RUNS + 1))
    assert dedup.crowded(numbered(2 * RUNS + 9), first=2 * RUNS + 1)
    assert not dedup.crowded(numbered(2 * RUNS))
    assert not dedup.crowded(numbered(4))
    assert not dedup.crowded(numbered(2 * RUNS + 9), first=2 * RUNS)
    assert not dedup.crowded(Identity("s", "another epoch", 9))
    assert not dedup.crowded(Identity("s", "an id", 0))
    dedup.add(numbered(2))
    assert not dedup.crowded(numbered(2 * RUNS + 1))


def numbered(sequence: int) -> Identity:
    return Identity("s", "e", sequence)
