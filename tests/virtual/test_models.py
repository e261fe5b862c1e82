"""Parts as their data sheets say, on a virtual board, read by the agent's own devices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.agent.models import Ldr
from bridge.clock import VirtualClock
from bridge.errors import SensorError
from bridge.virtual.adc import Mcp3008, noise
from bridge.virtual.board import VirtualBoard
from bridge.virtual.devices import NotAccepted
from bridge.virtual.devices.light import resistance_ohm
from bridge.virtual.devices.obstacle import speed_of_sound_cm_s
from tests.virtual.test_board import polled, settings

SENSORS = """
version: 1
node: pi-1
sensors:
  cellar: {kind: thermometer, sensor: tmp36, channel: 0}
  gate: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  rc-gate: {kind: laser-tripwire, wiring: rc, pin: 22, charge_limit: 10ms}
  soil: {kind: analog, channel: 2}
  tank: {kind: distance, trigger: 23, echo: 24}
virtual:
  cellar: {model: mcp3008, noise: 2}
  soil: {model: mcp3008}
  gate: {model: ldr}
  rc-gate: {model: ldr}
  tank: {model: hc-sr04}
"""
STEP_C = 100 * 3.3 / 1024
"""A step of the converter with a TMP36 on it, in degrees."""

Build = Callable[..., VirtualBoard]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def build(clock: VirtualClock) -> Iterator[Build]:
    made: list[VirtualBoard] = []

    def board(text: str = SENSORS) -> VirtualBoard:
        made.append(VirtualBoard(settings(text), virtual_clock=clock))
        return made[-1]

    yield board
    for each in made:
        each.close()


@given(st.floats(-0.5, 1.5))
def test_the_code_of_a_conversion_is_the_whole_steps_below_the_voltage(ratio: float) -> None:
    chip = Mcp3008()
    chip.wire(0, lambda: ratio)
    assert chip.raw(0) == min(1023, max(0, math.floor(ratio * 1024)))


@pytest.mark.parametrize(("ratio", "codes"), [(0.5, range(510, 515)), (0.0, range(3)), (1.0, range(1022, 1024))])
def test_noise_moves_a_conversion_by_its_steps_at_most_and_never_off_the_scale(ratio: float, codes: range) -> None:
    chip = Mcp3008()
    chip.wire(0, lambda: ratio, noise("soil", 2))
    assert {chip.raw(0) for _ in range(200)} == set(codes)


def test_noise_is_the_same_in_every_run_and_another_one_for_another_name() -> None:
    first, again, other = (noise(name, 2) for name in ("soil", "soil", "cellar"))
    drawn = [first() for _ in range(50)]
    assert drawn == [again() for _ in range(50)]
    assert drawn != [other() for _ in range(50)]


def test_a_tmp36_on_a_noisy_converter_wavers_around_its_temperature(build: Build) -> None:
    board = build()
    board.drive_now("cellar", "25")
    readings = [polled(board, "cellar")() for _ in range(100)]
    assert len(set(readings)) == 5
    assert max(readings) - min(readings) == pytest.approx(4 * STEP_C, abs=0.01)
    assert sum(readings) / len(readings) == pytest.approx(25, abs=STEP_C)


def test_the_reference_voltage_is_where_a_tmp36_ends(build: Build) -> None:
    board = build(SENSORS.replace("noise: 2", "noise: 0"))
    for celsius, code in ((-40, 31), (0, 155), (25, 232), (125, 543)):
        board.drive_now("cellar", str(celsius))
        assert board.pin_factory.chip(8).raw(0) == code == math.floor((0.5 + celsius / 100) * 1024 / 3.3)


def test_the_resistance_falls_with_the_light_by_gamma_from_what_it_is_at_10_lux() -> None:
    part = Ldr(r10_ohm=20_000, gamma=0.6)
    assert resistance_ohm(part, 10) == pytest.approx(20_000)
    assert resistance_ohm(part, 100) == pytest.approx(20_000 * 10**-0.6)
    assert resistance_ohm(part, 1) == pytest.approx(20_000 * 10**0.6)


@pytest.mark.parametrize(
    ("word", "ratio"),
    [
        ("10 lux", 10 / 20),
        ("restore", 10 / (10 + 10 * 100**-0.7)),
        ("break", 10 / (10 + 10 * 10**0.7)),
        ("0.01lux", 10 / (10 + 10 * 1000**0.7)),
    ],
)
def test_a_divider_makes_a_voltage_of_the_light(build: Build, word: str, ratio: float) -> None:
    board = build()
    board.drive_now("gate", word)
    assert polled(board, "gate")() == pytest.approx(ratio, abs=0.0015)


@pytest.mark.parametrize(
    ("word", "resistance"),
    [("restore", 10_000 * 100**-0.7), ("100 lux", 10_000 * 10**-0.7), ("50 lux", 10_000 * 5**-0.7)],
)
def test_a_capacitor_charges_as_long_as_its_resistor_lets_it(build: Build, word: str, resistance: float) -> None:
    board = build()
    board.drive_now("rc-gate", word)
    took_s = -resistance * 1e-6 * math.log(1 - 2.0 / 3.3)
    assert took_s < 0.01
    assert polled(board, "rc-gate")() == pytest.approx(1 - took_s / 0.01, abs=1e-6)


def test_a_capacitor_that_is_not_charged_within_the_limit_is_darkness(build: Build) -> None:
    board = build()
    board.drive_now("rc-gate", "break")
    assert polled(board, "rc-gate")() == 0.0


@pytest.mark.parametrize("word", ["0 lux", "-1 lux", "lux", "bright", "0.5"])
def test_light_that_there_is_not_is_refused(build: Build, word: str) -> None:
    with pytest.raises(NotAccepted, match=r"it accepts break, restore, NUMBER lux, stuck or unstuck"):
        build().drive_now("gate", word)


@pytest.mark.parametrize(("celsius", "metres_per_s"), [(-20, 318.9), (0, 331.3), (20, 343.2), (40, 354.7)])
def test_sound_is_as_fast_as_the_air_is_warm(celsius: float, metres_per_s: float) -> None:
    assert speed_of_sound_cm_s(celsius) / 100 == pytest.approx(metres_per_s, abs=0.2)


@pytest.mark.parametrize(("celsius", "reads"), [(20, 100.0), (0, 103.6), (40, 96.8)])
def test_a_distance_reads_farther_in_cold_air_and_nearer_in_warm(build: Build, celsius: int, reads: float) -> None:
    board = build(SENSORS.replace("hc-sr04", f"hc-sr04, celsius: {celsius}"))
    board.drive_now("tank", "100")
    assert polled(board, "tank")() == pytest.approx(reads, abs=0.1)


@pytest.mark.parametrize("word", ["nothing", "400.5", "2000"])
def test_without_anything_in_reach_the_pulse_is_the_longest_or_does_not_come(build: Build, word: str) -> None:
    pulse, nothing = build(), build(SENSORS.replace("hc-sr04", "hc-sr04, no_echo: nothing"))
    for board in (pulse, nothing):
        board.drive_now("tank", word)
    echo, ticks = pulse.pin_factory.pin(24), []
    assert polled(pulse, "tank")() == 400.0

    def changed(at: float, state: bool) -> None:
        ticks.append(at)

    with pytest.raises(SensorError, match="no echo"):
        polled(nothing, "tank")()
    echo.when_changed = changed
    pulse.pin_factory.pin(23).echo.cycle_s = 0.0
    echo.pulse()
    assert ticks[1] - ticks[0] == pytest.approx(0.038)


def test_an_unplugged_one_is_silent_and_measures_again_when_it_is_plugged_in(build: Build, clock: VirtualClock) -> None:
    board = build()
    board.drive_now("tank", "unplugged")
    read = polled(board, "tank")
    with pytest.raises(SensorError, match="no echo"):
        read()
    clock.move(1.0)
    board.drive_now("tank", "42")
    assert read() == pytest.approx(42, abs=0.1)


def test_a_ping_within_60_ms_of_the_last_one_is_not_answered(build: Build, clock: VirtualClock) -> None:
    board = build()
    read = polled(board, "tank")
    assert read() == pytest.approx(100, abs=0.1)
    clock.move(0.059)
    with pytest.raises(SensorError, match="no echo"):
        read()
    clock.move(0.06)
    assert read() == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("word", ["1.9", "-5", "far"])
def test_what_is_too_near_for_it_is_refused(build: Build, word: str) -> None:
    with pytest.raises(NotAccepted, match=r"cm from 2 \(beyond 400 nothing is heard\), off by NUMBER, nothing, "):
        build().drive_now("tank", word)
