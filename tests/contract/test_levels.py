"""The contract of every kind that is a level: the same on mock pins and on real ones that are wired together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpiozero
import pytest

from bridge.agent.metrics import Metrics
from bridge.agent.outputs import Buzzer, Led, Output, Relay
from bridge.agent.pins import Pin, Pull
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.plan import EdgeDevice, Edges, Plan
from bridge.clock import VirtualClock
from bridge.virtual.contact import Contact
from tests.contract.bench import Bench, Seen, Wire, eventually


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of sensor on some pin, and whether a high level means active to it."""

    make: Callable[[Pin], Plan]
    active_high: bool


KINDS = {
    "pir": Kind(lambda pin: Pir(pin=pin, warm_up_s=0).plan(), active_high=True),
    "pir, active low": Kind(lambda pin: Pir(pin=pin, warm_up_s=0, active_low=True).plan(), active_high=False),
    "button": Kind(lambda pin: Button(pin=pin).plan(), active_high=False),
    "button to 3.3 V": Kind(lambda pin: Button(pin=pin, pull="down", active_low=False).plan(), active_high=True),
    "digital": Kind(lambda pin: Digital(pin=pin).plan(), active_high=True),
    "digital, active low, pulled up": Kind(
        lambda pin: Digital(pin=pin, active_low=True, pull="up").plan(), active_high=False
    ),
    "laser-tripwire": Kind(lambda pin: LaserTripwire(pin=pin).plan(), active_high=False),
    "laser-tripwire, active low": Kind(lambda pin: LaserTripwire(pin=pin, active_low=True).plan(), active_high=True),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def opened(bench: Bench, plan: Plan, seen: Callable[[bool], None]) -> EdgeDevice:
    assert isinstance(plan.source, Edges)
    return plan.source.open(bench.board, seen)


def names(plan: Plan, seen: Seen, began_at: bool) -> list[str]:
    """What the agent's filters make of the edges, in the time that they took, and of a minute of peace."""
    found = []
    outlook = plan.interpreter.read(began_at, seen.edges[0][0] - 1.0)
    for at, level in seen.edges:
        while outlook.wake_at is not None and outlook.wake_at <= at:
            outlook = plan.interpreter.wake(outlook.wake_at)
            found += [finding.name for finding in outlook.findings]
        outlook = plan.interpreter.read(level, at)
        found += [finding.name for finding in outlook.findings]
    while outlook.wake_at is not None:
        outlook = plan.interpreter.wake(outlook.wake_at)
        found += [finding.name for finding in outlook.findings]
    return found


@pytest.mark.parametrize("active", [True, False])
def test_the_level_that_is_found_at_the_opening_is_the_one_that_stands_there(
    bench: Bench, kind: Kind, active: bool
) -> None:
    bench.drive(high=active is kind.active_high)
    seen = Seen(bench)
    device = opened(bench, kind.make(bench.wire.input), seen)
    assert device.level() is active
    assert seen.quiet() == [], "what was found is no edge"
    device.close()


def test_every_change_is_an_edge_and_the_level_afterwards(bench: Bench, kind: Kind) -> None:
    bench.drive(high=not kind.active_high)
    seen = Seen(bench)
    device = opened(bench, kind.make(bench.wire.input), seen)
    for active in (True, False, True):
        edges = len(seen.edges)
        bench.drive(high=active is kind.active_high)
        eventually(lambda edges=edges: len(seen.edges) > edges)  # type: ignore[misc] # bound early
        assert device.level() is active
    bench.drive(high=kind.active_high)
    assert seen.quiet() == [True, False, True], "a level that stays is no edge"
    device.close()


def test_a_contact_that_bounces_is_as_many_edges_and_one_event(bench: Bench, kind: Kind) -> None:
    bench.drive(high=not kind.active_high)
    plan, seen = kind.make(bench.wire.input), Seen(bench)
    device = opened(bench, plan, seen)
    contact = Contact("bench", active=not kind.active_high)
    bounces = contact.bounces(0.008, active=kind.active_high)
    bench.play(bounces)
    levels = seen.quiet()
    assert levels == [edge.active is kind.active_high for edge in bounces]
    assert len(levels) > 2
    assert names(plan, seen, began_at=False) == [plan.events[0]]
    device.close()


def test_a_chatter_that_ends_where_it_began_is_no_lasting_event(bench: Bench, kind: Kind) -> None:
    bench.drive(high=not kind.active_high)
    plan, seen = kind.make(bench.wire.input), Seen(bench)
    device = opened(bench, plan, seen)
    bench.play(Contact("bench", active=not kind.active_high).bounces(0.008, active=not kind.active_high))
    assert seen.quiet()[-1] is False
    assert names(plan, seen, began_at=False)[-1] == plan.events[1]
    device.close()


def test_after_the_closing_nothing_is_told_and_the_pin_can_be_opened_again(bench: Bench, kind: Kind) -> None:
    bench.drive(high=not kind.active_high)
    first, second = Seen(bench), Seen(bench)
    opened(bench, kind.make(bench.wire.input), first).close()
    bench.drive(high=kind.active_high)
    assert first.quiet() == []
    device = opened(bench, kind.make(bench.wire.input), second)
    assert device.level() is True
    bench.drive(high=not kind.active_high)
    eventually(lambda: second.levels == [False])
    assert first.levels == []
    device.close()


@pytest.mark.parametrize(("pull", "high"), [("up", True), ("down", False)])
def test_a_pin_that_nobody_drives_is_where_its_resistor_pulls_it(bench: Bench, pull: Pull, high: bool) -> None:
    seen = Seen(bench)
    device = opened(bench, Digital(pin=bench.wire.input, pull=pull).plan(), seen)
    assert device.level() is high
    bench.drive(high=not high)
    eventually(lambda: device.level() is not high)
    bench.let_go()
    eventually(lambda: device.level() is high)
    assert seen.quiet() == [not high, high]
    device.close()


@pytest.mark.parametrize("active_low", [False, True])
@pytest.mark.parametrize("cls", [Led, Buzzer, Relay])
async def test_an_output_puts_its_level_on_the_wire_and_takes_it_off_at_the_end(
    bench: Bench, cls: Any, active_low: bool
) -> None:
    output = Output(
        "it",
        cls(pin=bench.wire.output, active_low=active_low, max_on_s=60.0),
        board=bench.board,
        clock=VirtualClock(),
        metrics=Metrics(),
        changed=lambda _: None,
    )
    listener = gpiozero.DigitalInputDevice(
        bench.wire.input.bcm, pull_up=None, active_state=True, pin_factory=bench.board.pin_factory
    )
    output.open()
    eventually(lambda: listener.is_active is active_low)
    for number, on in enumerate((True, False, True)):
        output.receive(f'{{"id": "{number}", "value": {str(on).lower()}}}'.encode(), retained=False)
        assert output.value == on
        eventually(lambda on=on: listener.is_active is (on is not active_low))  # type: ignore[misc] # bound early
    output.stop()
    eventually(lambda: listener.is_active is active_low)
    output.close()
    listener.close()


@pytest.mark.parametrize(
    ("cls", "active_high"),
    [(gpiozero.Button, False), (gpiozero.DigitalInputDevice, True), (gpiozero.MotionSensor, True)],
)
def test_gpiozeros_own_inputs_see_the_same(bench: Bench, cls: Any, active_high: bool) -> None:
    bench.drive(high=not active_high)
    with cls(bench.wire.input.bcm, pin_factory=bench.board.pin_factory) as device:
        assert not device.is_active
        bench.drive(high=active_high)
        eventually(lambda: device.is_active)
        bench.drive(high=not active_high)
        eventually(lambda: not device.is_active)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("17", "is no pair of pins"),
        ("17:27:22", "is no pair of pins"),
        ("17:x", "is no pair of pins"),
        ("17:28", "at most 27"),
        ("17:17", "a wire has two ends"),
        ("17:2", "GPIO2 has a pull-up resistor"),
    ],
)
def test_a_wire_that_cannot_be_is_told(text: str, wrong: str) -> None:
    with pytest.raises(Exception, match=wrong):
        Wire.read(text)


def test_a_wire_has_an_output_and_an_input() -> None:
    assert Wire.read("17:27") == Wire(Pin(17), Pin(27))
