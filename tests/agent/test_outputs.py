from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from gpiozero.pins.mock import MockFactory
from hypothesis import given
from hypothesis import strategies as st

from bridge.agent.board import PinsSettings, RealBoard, read_text
from bridge.agent.commands import BadCommand, Command, parse
from bridge.agent.metrics import Metrics
from bridge.agent.outputs import Buzzer, Led, Output, Relay
from bridge.agent.pins import Pin
from bridge.clock import VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Bench:
    """One output on a mock pin and a virtual clock."""

    settings: Led | Buzzer | Relay
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(START))
    metrics: Metrics = field(default_factory=Metrics)
    board: RealBoard = field(default_factory=lambda: RealBoard(PinsSettings(factory="mock")))
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.output = Output(
            "it", self.settings, board=self.board, clock=self.clock, metrics=self.metrics, changed=self._changed
        )
        self.output.open()

    @property
    def level(self) -> float:
        level: float = self.board.pin_factory.pin(self.settings.pin.bcm).state
        return level

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = orjson.loads(self.output.document())
        return state

    def send(
        self, *, retained: bool = False, word: bytes | None = None, for_: str | None = None, **keys: object
    ) -> str:
        """What became of a command."""
        before = self._results()
        document = keys if for_ is None else {**keys, "for": for_}
        self.output.receive(word if word is not None else orjson.dumps(document), retained=retained)
        (result,) = [name for name, count in self._results().items() if count != before.get(name, 0)]
        return result

    def _changed(self, name: str) -> None:
        self.told.append(self.state)

    def _results(self) -> dict[str, float]:
        (family,) = self.metrics.commands.collect()
        return {each.labels["result"]: each.value for each in family.samples if each.name.endswith("_total")}


@pytest.fixture
def relay() -> Iterator[Bench]:
    bench = Bench(Relay(pin=Pin(24), max_on_s=30))
    yield bench
    bench.output.close()
    bench.board.close()


async def test_an_output_is_off_at_the_start_and_says_so(relay: Bench) -> None:
    assert relay.level == 0
    assert (relay.state["value"], relay.state["why"]) == (False, "start")


async def test_a_command_switches_and_the_state_names_it(relay: Bench) -> None:
    assert relay.send(id="c1", value=True) == "carried_out"
    assert relay.level == 1
    assert (relay.told[-1]["value"], relay.told[-1]["command"]) == (True, "c1")
    assert relay.told[-1]["until"] == "2026-01-01T00:00:30.000000Z"


async def test_a_relay_that_is_low_active_is_off_when_its_pin_is_high() -> None:
    bench = Bench(Relay(pin=Pin(24), active_low=True, max_on_s=30))
    assert bench.level == 1
    bench.send(id="c1", value=True)
    assert bench.level == 0


async def test_rule_5_a_retained_command_is_ignored(relay: Bench) -> None:
    assert relay.send(retained=True, id="c1", value=True) == "retained"
    assert relay.send(retained=True, word=b"on") == "retained"
    assert relay.level == 0


async def test_rule_5_an_expired_command_is_ignored(relay: Bench) -> None:
    assert relay.send(id="c1", value=True, expires="2025-12-31T23:59:59Z") == "expired"
    assert relay.level == 0
    assert relay.send(id="c2", value=True, expires="2026-01-01T02:00:00+01:00") == "carried_out"
    assert relay.level == 1


async def test_a_command_that_expires_does_not_switch_on_before_the_clock_is_synchronised() -> None:
    bench = Bench(Relay(pin=Pin(24), max_on_s=30), clock=VirtualClock(START, synchronized=False))

    assert bench.send(id="c1", value=True, expires="2026-06-01T00:00:00Z") == "clock"
    assert bench.send(id="c2", value=False, expires="2026-06-01T00:00:00Z") == "carried_out"


async def test_rule_5_a_repeated_id_is_ignored(relay: Bench) -> None:
    relay.send(id="c1", value=True)
    relay.send(id="c2", value=False)

    assert relay.send(id="c1", value=True) == "repeated"
    assert relay.level == 0


async def test_a_relay_is_switched_off_after_its_longest_time(relay: Bench) -> None:
    relay.send(id="c1", value=True)
    await relay.clock.advance(29.9)
    assert relay.level == 1
    await relay.clock.advance(0.1)
    assert relay.level == 0
    assert relay.told[-1]["why"] == "max_on"


async def test_a_further_command_keeps_it_on(relay: Bench) -> None:
    relay.send(id="c1", value=True)
    await relay.clock.advance(20)
    relay.send(id="c2", value=True)
    await relay.clock.advance(20)
    assert relay.level == 1
    await relay.clock.advance(10)
    assert relay.level == 0


async def test_a_command_for_a_time_ends_by_itself_but_never_outlasts_the_limit(relay: Bench) -> None:
    relay.send(id="c1", value=True, for_="5s")
    await relay.clock.advance(5)
    assert (relay.level, relay.told[-1]["why"]) == (0, "for")

    relay.send(id="c2", value=True, for_="1h")
    await relay.clock.advance(30)
    assert (relay.level, relay.told[-1]["why"]) == (0, "max_on")


async def test_plain_words_are_taken_from_hands(relay: Bench) -> None:
    assert relay.send(word=b"ON\n") == "carried_out"
    assert relay.level == 1
    assert relay.send(word=b"toggle") == "carried_out"
    assert relay.level == 0
    assert relay.send(word=b"toggle") == "carried_out"
    assert relay.send(word=b"off") == "carried_out"
    assert relay.level == 0


async def test_an_output_is_off_after_the_stop(relay: Bench) -> None:
    relay.send(id="c1", value=True)
    relay.output.stop()
    assert (relay.level, relay.state["why"]) == (0, "stop")
    await relay.clock.advance(60)
    assert relay.state["why"] == "stop"


async def test_a_dimmable_led_takes_values_in_between() -> None:
    bench = Bench(Led(pin=Pin(18), dimmable=True))
    assert bench.send(id="c1", value=0.25) == "carried_out"
    assert (bench.level, bench.state["value"]) == (0.25, 0.25)
    bench.output.close()


async def test_a_buzzer_without_a_limit_stays_on() -> None:
    bench = Bench(Buzzer(pin=Pin(18)))
    bench.send(id="c1", value=True)
    await bench.clock.advance(86400)
    assert bench.level == 1
    bench.output.close()


async def test_an_output_whose_pin_is_taken_tells_its_problem_and_is_tried_again_by_the_next_command() -> None:
    first = Bench(Led(pin=Pin(18)))
    second = Bench(Led(pin=Pin(18)), board=first.board)
    assert "opening GPIO18 as an output failed" in second.state["problem"]
    assert second.send(id="c1", value=True) == "failed"

    first.output.close()
    assert second.send(id="c1", value=True) == "carried_out"
    assert second.state["problem"] is None
    second.output.close()


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"", "neither on, off, toggle nor JSON"),
        (b"maybe", "neither on, off, toggle nor JSON"),
        (b"[1]", "no object"),
        (b"{}", "has no id"),
        (b'{"id": 5, "value": true}', "has no id"),
        (b'{"id": "c", "value": 2}', "value is 2"),
        (b'{"id": "c", "value": "on"}', "value is 'on'"),
        (b'{"id": "c"}', "value is None"),
        (b'{"id": "c", "value": true, "for": 5}', "for is 5"),
        (b'{"id": "c", "value": true, "for": "0s"}', "longer than 0s"),
        (b'{"id": "c", "value": true, "for": "soon"}', "for: 'soon'"),
        (b'{"id": "c", "value": true, "expires": "tomorrow"}', "expires is 'tomorrow'"),
        (b'{"id": "c", "value": true, "expires": "2026-01-01T00:00:00"}', "with an offset"),
        (b"x" * 5000, "has 5000 bytes"),
    ],
)
def test_a_payload_that_is_no_command_says_why(payload: bytes, problem: str) -> None:
    with pytest.raises(BadCommand, match=problem):
        parse(payload)


async def test_a_malformed_command_changes_nothing(relay: Bench) -> None:
    relay.send(word=b"on")
    assert relay.send(word=b"{") == "malformed"
    assert relay.level == 1


@given(st.binary(max_size=300))
def test_any_payload_is_a_command_or_a_bad_command(payload: bytes) -> None:
    with contextlib.suppress(BadCommand):
        parse(payload)


@given(
    st.text(min_size=1, max_size=128),
    st.floats(0, 1) | st.booleans(),
    st.none() | st.integers(1, 10**6),
    st.none() | st.timedeltas(timedelta(0), timedelta(days=9999)),
)
def test_every_command_is_understood_as_it_was_meant(
    id_: str, value: float, for_s: int | None, after: timedelta | None
) -> None:
    expires_at = None if after is None else START + after
    document: dict[str, object] = {"id": id_, "value": value, "extra": 1}
    if for_s is not None:
        document["for"] = f"{for_s}s"
    if expires_at is not None:
        document["expires"] = expires_at.isoformat()

    assert parse(orjson.dumps(document)) == Command(float(value), id_, for_s, expires_at)


async def test_a_led_on_a_pin_that_cannot_be_dimmed_is_switched() -> None:
    class Plain:
        """A board whose pins have no pulse width modulation."""

        pin_factory = MockFactory()
        description = "plain"
        w1_root = Path("/nonexistent")

        def takes(self, seconds: float) -> float:
            return seconds

        def lasted(self, seconds: float) -> None:
            pass

        def read_text(self, file: Path) -> str:
            return read_text(file)

        def took_s(self) -> float:
            return 0.0

        def close(self) -> None: ...

    clock = VirtualClock()
    output = Output(
        "it",
        Led(pin=Pin(18), dimmable=True),
        board=Plain(),
        clock=clock,
        metrics=Metrics(),
        changed=lambda _: None,
    )
    output.open()
    output.receive(b'{"id": "c1", "value": 0.25}', retained=False)

    assert Plain.pin_factory.pin(18).state == 1
    assert orjson.loads(output.document())["value"] is True
    output.close()
