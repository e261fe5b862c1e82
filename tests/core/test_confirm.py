"""The confirm document."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.confirm import RUNS, Confirmed, encode, parse
from bridge.core.sequences import Sequences
from bridge.errors import EventError

RUNS_OF = st.sets(st.integers(1, 60)).map(lambda numbers: Sequences((n, n) for n in numbers).runs)


@given(st.dictionaries(st.sampled_from(["door", "gate"]), st.tuples(st.integers(0, 99), RUNS_OF)))
def test_what_is_encoded_is_parsed_again(said: dict[str, tuple[int, tuple[tuple[int, int], ...]]]) -> None:
    confirmed = {sensor: Confirmed("abc", sequence, runs[:RUNS]) for sensor, (sequence, runs) in said.items()}
    assert parse(encode(confirmed)) == confirmed


@given(RUNS_OF, st.integers(0, 60))
def test_rule_2_all_up_to_what_is_taken_as_confirmed_is_confirmed(
    runs: tuple[tuple[int, int], ...], known: int
) -> None:
    through = Confirmed("abc", 0, runs).through(known)
    held = Sequences(runs)
    assert through >= known
    assert all(number in held for number in range(known + 1, through + 1))
    assert not runs or through + 1 not in held


def test_rule_2_a_dispatcher_that_lost_its_disk_does_not_confirm_the_beginning_it_never_saw() -> None:
    said = Confirmed("abc", 0, ((4, 9),))
    assert said.through(0) == 0
    assert said.through(3) == 9


def test_without_runs_all_up_to_the_sequence_is_confirmed() -> None:
    assert parse(b'{"version":1,"confirmed":{"door":{"epoch":"abc","sequence":7,"later":1}}}') == {
        "door": Confirmed("abc", 7)
    }
    assert Confirmed("abc", 7).through(3) == 7
    assert Confirmed("abc", 7).through(8) == 8


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {},
        {"epoch": 1, "sequence": 1},
        {"epoch": "a", "sequence": True},
        {"epoch": "a", "sequence": -1},
        {"epoch": "a", "sequence": "1"},
        {"epoch": "a", "sequence": 1, "runs": 7},
        {"epoch": "a", "sequence": 1, "runs": [7]},
        {"epoch": "a", "sequence": 1, "runs": [[1]]},
        {"epoch": "a", "sequence": 1, "runs": [[2, 1]]},
        {"epoch": "a", "sequence": 1, "runs": [["1", 2]]},
    ],
)
def test_an_entry_that_says_nothing_is_refused_with_the_name_of_its_sensor(entry: object) -> None:
    with pytest.raises(EventError, match="'door'"):
        parse(orjson.dumps({"version": 1, "confirmed": {"door": entry}}))


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"version":2}', b'{"version":1}', b"[" * 10_000, b"x" * 2_000_000])
def test_what_is_no_confirm_document_is_refused(payload: bytes) -> None:
    with pytest.raises(EventError):
        parse(payload)
