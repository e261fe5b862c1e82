"""Each kind of sensor on a virtual board: the agent's own devices read what a person made them see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.agent.sensors.plan import Edges, Polled
from bridge.agent.settings import AgentSettings
from bridge.config import compose, decode
from bridge.virtual.board import VirtualBoard
from bridge.virtual.contact import Contact
from bridge.virtual.devices import NotAccepted

SENSORS = """
version: 1
node: pi-1
pins: {factory: mock}
sensors:
  front-door: {kind: pir, pin: 17}
  low-pir: {kind: pir, pin: 5, active_low: true}
  gate: {kind: laser-tripwire, pin: 27}
  low-gate: {kind: laser-tripwire, pin: 6, active_low: true, pull: up}
  adc-gate: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  rc-gate: {kind: laser-tripwire, wiring: rc, pin: 22, charge_limit: 100ms}
  greenhouse: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
  cellar: {kind: thermometer, sensor: tmp36, channel: 0}
  cpu: {kind: thermometer, sensor: cpu}
  bell: {kind: button, pin: 16}
  float-switch: {kind: digital, pin: 26}
  soil: {kind: analog, channel: 2, factor: 100, unit: "%"}
  tank: {kind: distance, trigger: 23, echo: 24}
"""


def settings(text: str = SENSORS) -> AgentSettings:
    return decode(compose(text, "agent.yaml"), AgentSettings, base=Path("/"))


@pytest.fixture
def board() -> Iterator[VirtualBoard]:
    made = VirtualBoard(settings())
    yield made
    made.close()


def polled(board: VirtualBoard, sensor: str) -> Callable[[], float]:
    source = board.settings.sensors[sensor].plan().source
    assert isinstance(source, Polled)
    return source.open(board).read


@pytest.mark.parametrize(
    ("sensor", "words"),
    [
        ("front-door", [("motion", True), ("still", False), ("on", True), ("off", False)]),
        ("low-pir", [("motion", True), ("still", False)]),
        ("gate", [("break", True), ("restore", False)]),
        ("low-gate", [("break", True), ("restore", False)]),
        ("bell", [("press", True), ("release", False)]),
        ("float-switch", [("on", True), ("off", False)]),
    ],
)
async def test_words_become_edges_that_the_agent_sees_from_another_thread(
    board: VirtualBoard, sensor: str, words: list[tuple[str, bool]]
) -> None:
    seen: list[tuple[bool, bool]] = []
    source = board.settings.sensors[sensor].plan().source
    assert isinstance(source, Edges)
    loop_thread = threading.current_thread()
    device = source.open(board, lambda level: seen.append((level, threading.current_thread() is loop_thread)))
    assert device.level() is False
    for word, _ in words:
        await board.drive(sensor, word)
    assert seen == [(level, False) for _, level in words]
    device.close()


async def test_a_click_is_a_press_and_a_release(board: VirtualBoard) -> None:
    seen: list[bool] = []
    source = board.settings.sensors["bell"].plan().source
    assert isinstance(source, Edges)
    device = source.open(board, seen.append)
    await board.drive("bell", "click")
    assert seen == [True, False]
    device.close()


@pytest.mark.parametrize(
    ("sensor", "make", "level"),
    [
        ("bell", "press bouncing for 8ms", True),
        ("low-gate", "break  bouncing for 8ms", True),
        ("float-switch", "on bouncing for 8ms", True),
        ("front-door", "bounce for 8ms", False),
    ],
)
async def test_a_contact_that_bounces_plays_its_edges_in_their_time_and_ends_where_it_should(
    board: VirtualBoard, sensor: str, make: str, level: bool
) -> None:
    seen: list[tuple[float, bool]] = []
    source = board.settings.sensors[sensor].plan().source
    assert isinstance(source, Edges)
    device = source.open(board, lambda active: seen.append((time.monotonic(), active)))
    expected = Contact(sensor).bounces(0.008, active=level)
    begun_s = time.monotonic()
    await board.drive(sensor, make)
    assert [active for _, active in seen] == [edge.active for edge in expected]
    assert seen[-1][1] is level
    assert seen[-1][0] - begun_s >= 0.008
    device.close()


@pytest.mark.parametrize(
    ("sensor", "value", "reading", "within"),
    [
        ("greenhouse", "31.5", 31.5, 0.07),
        ("greenhouse", "-5", -5.0, 0.07),
        ("cellar", "24.96", 24.96, 0.4),
        ("cellar", "-10", -10.0, 0.4),
        ("cpu", "55.5", 55.5, 0.001),
        ("soil", "40", 0.40, 0.001),
        ("tank", "42", 42.0, 0.01),
        ("adc-gate", "restore", 0.8, 0.01),
        ("adc-gate", "break", 0.25, 0.01),
        ("rc-gate", "break", 0.0, 0.0),
    ],
)
async def test_a_number_becomes_a_reading_of_the_agents_own_device(
    board: VirtualBoard, sensor: str, value: str, reading: float, within: float
) -> None:
    await board.drive(sensor, value)
    assert polled(board, sensor)() == pytest.approx(reading, abs=within)


async def test_a_beam_on_a_capacitor_is_light_when_restored(board: VirtualBoard) -> None:
    await board.drive("rc-gate", "break")
    await board.drive("rc-gate", "restore")
    assert polled(board, "rc-gate")() > 0.6


@pytest.mark.parametrize(
    ("sensor", "before", "meanwhile"),
    [
        ("greenhouse", "10", ["31.5", "crc", "30"]),
        ("cellar", "10", ["20", "30"]),
        ("cpu", "10", ["30"]),
        ("soil", "10", ["30"]),
        ("tank", "10", ["unplugged", "30"]),
        ("adc-gate", "restore", ["0.5", "break"]),
    ],
)
async def test_a_stuck_device_keeps_its_number_until_it_is_stuck_no_more_and_then_has_the_last_one(
    board: VirtualBoard, sensor: str, before: str, meanwhile: list[str]
) -> None:
    await board.drive(sensor, before)
    read = polled(board, sensor)
    kept = read()
    await board.drive(sensor, "stuck")
    for value in meanwhile:
        await board.drive(sensor, value)
        assert read() == pytest.approx(kept, rel=0.3)
    await board.drive(sensor, "unstuck")
    freed = read()
    assert freed != pytest.approx(kept, rel=0.3)
    await board.drive(sensor, meanwhile[-1])
    assert freed == pytest.approx(read(), rel=0.3)


@pytest.mark.parametrize(
    ("meanwhile", "seen_then"),
    [
        (["press"], [True]),
        (["press", "release"], []),
        (["press", "click"], []),
        (["press bouncing for 5ms"], [True]),
        (["stuck", "press", "bounce for 5ms", "press"], [True]),
        ([], []),
    ],
)
async def test_a_stuck_contact_makes_no_edge_and_one_at_most_when_it_is_stuck_no_more(
    board: VirtualBoard, meanwhile: list[str], seen_then: list[bool]
) -> None:
    seen: list[bool] = []
    source = board.settings.sensors["bell"].plan().source
    assert isinstance(source, Edges)
    device = source.open(board, seen.append)
    await board.drive("bell", "stuck")
    for value in meanwhile:
        await board.drive("bell", value)
    assert seen == []
    await board.drive("bell", "unstuck")
    assert seen == seen_then
    await board.drive("bell", "unstuck")
    assert seen == seen_then, "what was done is done once"
    device.close()


async def test_a_stuck_beam_on_a_capacitor_charges_it_as_before(board: VirtualBoard) -> None:
    pin = board.pin_factory.pin(22)
    light_s = pin.charge_s
    await board.drive("rc-gate", "stuck")
    await board.drive("rc-gate", "break")
    assert pin.charge_s == light_s
    await board.drive("rc-gate", "unstuck")
    assert pin.charge_s > 100 * light_s


async def test_a_stuck_device_still_refuses_what_it_does_not_know(board: VirtualBoard) -> None:
    await board.drive("bell", "stuck")
    with pytest.raises(NotAccepted, match=r"bell does not know .dance.; it accepts press, .+, stuck or unstuck"):
        await board.drive("bell", "dance")


async def test_two_boards_do_not_see_each_other() -> None:
    one, other = VirtualBoard(settings()), VirtualBoard(settings())
    await one.drive("cellar", "30")
    await one.drive("greenhouse", "30")
    assert polled(one, "cellar")() == pytest.approx(30, abs=0.4)
    assert polled(other, "cellar")() == pytest.approx(21, abs=0.4)
    assert polled(other, "greenhouse")() == 21.0
    one.close()
    other.close()


@pytest.mark.parametrize("sensor", ["front-door", "gate", "greenhouse", "cellar", "bell", "soil", "tank", "rc-gate"])
async def test_what_is_not_accepted_is_refused_with_what_is(board: VirtualBoard, sensor: str) -> None:
    with pytest.raises(NotAccepted, match=f"{sensor} does not know 'dance'; it accepts .+"):
        await board.drive(sensor, "dance")


async def test_a_sensor_that_is_not_there_is_refused_with_those_that_are(board: VirtualBoard) -> None:
    with pytest.raises(NotAccepted, match="there is no sensor attic; there are front-door, "):
        await board.drive("attic", "motion")


@pytest.mark.parametrize("value", ["126", "-56", "nan", "inf", ""])
async def test_a_temperature_that_no_thermometer_measures_is_refused(board: VirtualBoard, value: str) -> None:
    with pytest.raises(NotAccepted, match="-55 to 125"):
        await board.drive("greenhouse", value)


def test_a_board_tells_which_pi_it_is() -> None:
    board = VirtualBoard(settings("version: 1\nnode: pi-1\npins: {factory: mock, revision: '902120'}\n"))
    assert board.description == "virtual Raspberry Pi Zero2W rev 1.0 (902120)"
    board.close()
    board.close()


def test_the_boards_of_tests_leave_nothing_outside_of_pytest_s_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    board = VirtualBoard(settings())
    try:
        assert board.w1_root.is_relative_to(tmp_path_factory.getbasetemp())
    finally:
        board.close()
