"""A sensor's state goes behind its event, and only the newest; none is kept back for long."""

from __future__ import annotations

from datetime import UTC, datetime

from bridge.agent.states import LATEST_S, States
from bridge.clock import VirtualClock
from bridge.mqtt.transport import Done, Publication, Sent

ANSWER = Publication(Sent.ACCEPTED)


class Bench:
    """Notes what is published, and answers when it is told to."""

    def __init__(self) -> None:
        self.clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.published: list[str] = []
        self.busy = False
        self.states = States(self.clock, self._publish, lambda: self.busy)
        self._open: list[Done] = []

    def _publish(self, sensor: str, done: Done) -> None:
        self.published.append(sensor)
        self._open.append(done)

    def answer(self) -> None:
        """Answer everything that is open."""
        done, self._open = self._open, []
        for each in done:
            each(ANSWER)


async def test_without_an_event_on_its_way_a_state_is_published_at_once() -> None:
    bench = Bench()
    bench.states.changed("door")
    assert bench.published == ["door"]


async def test_a_state_waits_for_the_events_and_goes_once_however_often_it_changed() -> None:
    bench = Bench()
    bench.busy = True
    for sensor in ("door", "window", "door"):
        bench.states.changed(sensor)
    assert bench.published == []
    bench.busy = False
    bench.states.caught_up()
    assert bench.published == ["door", "window"]
    bench.states.caught_up()
    assert bench.published == ["door", "window"]


async def test_a_state_does_not_wait_for_a_disk_that_refuses() -> None:
    bench = Bench()
    bench.busy = True
    bench.states.changed("door")
    await bench.clock.advance(LATEST_S / 2)
    bench.states.changed("door")
    assert bench.published == []
    await bench.clock.advance(LATEST_S / 2)
    assert bench.published == ["door"]
    await bench.clock.advance(1)
    assert bench.published == ["door"]


async def test_while_one_is_unanswered_the_newest_waits_and_follows_the_answer() -> None:
    bench = Bench()
    for _ in range(3):
        bench.states.changed("door")
    bench.states.changed("window")
    assert bench.published == ["door", "window"]
    bench.answer()
    assert bench.published == ["door", "window", "door"]
    bench.answer()
    assert bench.published == ["door", "window", "door"]


async def test_an_answer_does_not_make_a_state_overtake_the_events_it_waits_for() -> None:
    bench = Bench()
    bench.states.changed("door")
    bench.busy = True
    bench.states.changed("door")
    bench.answer()
    assert bench.published == ["door"]
    await bench.clock.advance(LATEST_S)
    assert bench.published == ["door", "door"]


async def test_at_the_end_every_change_is_shown_at_once() -> None:
    bench = Bench()
    bench.states.changed("door")
    bench.busy = True
    bench.states.changed("window")
    bench.states.stop()
    assert bench.published == ["door", "window"]
    bench.states.changed("door")
    assert bench.published == ["door", "window", "door"]
