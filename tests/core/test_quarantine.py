from __future__ import annotations

from bridge.core.quarantine import fingerprint
from bridge.core.receipts import Ticket
from bridge.core.steps import Judged, Received
from tests.core.test_delivery import Bench, event, mapping


def test_a_message_has_one_fingerprint_and_another_message_another_one() -> None:
    assert fingerprint("a", b"x") == fingerprint("a", b"x")
    assert len({fingerprint("a", b"x"), fingerprint("a", b"y"), fingerprint("ax", b""), fingerprint("", b"ax")}) == 4


def test_rule_12_a_quarantined_event_is_a_dead_letter_for_each_mapping_that_selects_it_and_none_is_asked() -> None:
    bench = Bench(mapping("one"), mapping("two"), mapping("three", selectors=()))
    bench.step(Received(event(1), Ticket(1, 1), quarantined="too dangerous"))
    (judged,) = bench.told(Judged)
    assert [judgement.mapping for judgement in judged.plan.judgements] == ["one", "two"]
    assert bench.invoked == []
    letters = bench.commit().letters
    assert [(letter.id, letter.reason) for letter in letters] == [
        ("door-1:one", "too dangerous"),
        ("door-1:two", "too dangerous"),
    ]
    assert bench.acknowledged == [Ticket(1, 1)]


def test_rule_12_a_quarantined_event_is_known_when_it_comes_again() -> None:
    bench = Bench()
    bench.step(Received(event(1), Ticket(1, 1), quarantined="too dangerous"))
    assert bench.acknowledged == [Ticket(1, 1)]
    bench.commit()
    bench.receive(event(1))
    assert not bench.told(Judged)
