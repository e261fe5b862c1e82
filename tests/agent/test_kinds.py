"""Each kind from its section in the file to what its device gives, on the mock pins of a virtual Pi."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero import PinEdgeDetectUnsupported
from gpiozero.pins.mock import MockFactory, MockPin

from bridge.agent.board import PinsSettings, RealBoard
from bridge.agent.pins import Pin
from bridge.agent.sensors.edges import open_edges
from bridge.agent.sensors.laser_tripwire import ChargedPin
from bridge.agent.sensors.plan import Edges, Plan, Polled
from bridge.agent.settings import AgentSettings
from bridge.errors import SensorError
from bridge.virtual.board import VirtualBoard

Load = Callable[[str], AgentSettings]
Build = Callable[[str], tuple[VirtualBoard, Plan]]


@pytest.fixture
def build(load_agent: Load) -> Iterator[Build]:
    """A board and the plan of the one sensor `it`."""
    boards = []

    def one(sensor: str) -> tuple[VirtualBoard, Plan]:
        board = VirtualBoard(load_agent(f"version: 1\nnode: pi-1\nsensors:\n  it: {sensor}\n"))
        boards.append(board)
        return board, board.settings.sensors["it"].plan()

    yield one
    for board in boards:
        board.close()


def names_of(plan: Plan, readings: list[tuple[float, float]]) -> list[str]:
    """The events of readings, each with its time."""
    return [finding.name for value, now in readings for finding in plan.interpreter.read(value, now).findings]


@pytest.mark.parametrize(
    ("sensor", "active", "inactive"),
    [
        ("{kind: pir, pin: 17, warm_up: 0}", "motion", "still"),
        ("{kind: pir, pin: 17, warm_up: 0, active_low: true}", "motion", "still"),
        ("{kind: digital, pin: 17, pull: up, active_low: true}", "on", "off"),
        ("{kind: digital, pin: 17, pull: up}", "on", "off"),
        ("{kind: digital, pin: 17, pull: down}", "on", "off"),
        ("{kind: digital, pin: 17, pull: down, active_low: true}", "on", "off"),
        ("{kind: button, pin: 17}", "press", "release"),
        ("{kind: laser-tripwire, pin: 17}", "break", "restore"),
        ("{kind: laser-tripwire, pin: 17, active_low: true}", "break", "restore"),
    ],
)
def test_a_level_is_active_as_its_wiring_says(build: Build, sensor: str, active: str, inactive: str) -> None:
    board, plan = build(sensor)
    assert isinstance(plan.source, Edges)
    seen: list[tuple[bool, str]] = []
    board.drive_now("it", inactive)
    device = plan.source.open(board, lambda level: seen.append((level, threading.current_thread().name)))
    try:
        assert device.level() is False

        def drive() -> None:
            board.drive_now("it", active)
            board.drive_now("it", inactive)

        thread = threading.Thread(target=drive)
        thread.start()
        thread.join()
        assert seen == [(True, thread.name), (False, thread.name)]
        board.drive_now("it", active)
        assert device.level() is True
    finally:
        device.close()


@pytest.mark.parametrize(
    ("sensor", "names"),
    [
        ("{kind: pir, pin: 5, warm_up: 0}", ["motion.ended", "motion.detected", "motion.ended"]),
        ("{kind: button, pin: 5}", ["button.released", "button.pressed", "button.released"]),
        ("{kind: digital, pin: 5}", ["digital.off", "digital.on", "digital.off"]),
        ("{kind: laser-tripwire, pin: 5}", ["beam.restored", "beam.broken", "beam.restored"]),
    ],
)
def test_a_level_becomes_the_event_of_its_kind(build: Build, sensor: str, names: list[str]) -> None:
    _, plan = build(sensor)

    assert names_of(plan, [(False, 0), (True, 1), (False, 2)]) == names
    assert set(names) == set(plan.events)


def test_a_pin_that_is_already_open_is_a_sensor_error(build: Build) -> None:
    board, plan = build("{kind: digital, pin: 5}")
    assert isinstance(plan.source, Edges)
    device = plan.source.open(board, lambda _: None)
    try:
        with pytest.raises(SensorError, match="opening GPIO5 as an input failed"):
            plan.source.open(board, lambda _: None)
    finally:
        device.close()


def read_once(board: VirtualBoard, plan: Plan) -> float:
    assert isinstance(plan.source, Polled)
    device = plan.source.open(board)
    try:
        return device.read()
    finally:
        device.close()


def test_a_tmp36_reads_as_gpiozero_reads_it(build: Build) -> None:
    board, plan = build("{kind: thermometer, sensor: tmp36, channel: 3}")
    for celsius in (-40, 0, 24.96, 60, 125):
        board.drive_now("it", str(celsius))
        assert read_once(board, plan) == pytest.approx(celsius, abs=0.33)


def test_an_open_input_is_refused_and_not_reported_as_a_temperature(build: Build) -> None:
    board, plan = build("{kind: thermometer, sensor: tmp36, channel: 3}")
    board.pin_factory.chip(8).wire(3, lambda: 0.0)

    outlook = plan.interpreter.read(read_once(board, plan), 0.0)

    assert outlook.findings == ()
    assert "below the minimum of -40" in outlook.faults[0].reason


def test_a_ds18b20_is_read_from_the_board_s_own_bus(build: Build) -> None:
    board, plan = build("{kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}")
    board.drive_now("it", "63.5")

    assert read_once(board, plan) == 63.5


def test_the_processor_s_temperature_is_read_from_its_file(build: Build) -> None:
    board, plan = build("{kind: thermometer, sensor: cpu}")
    board.drive_now("it", "51.2")

    assert read_once(board, plan) == pytest.approx(51.2)


def test_a_processor_without_a_thermometer_is_a_sensor_error(load_agent: Load, tmp_path: Path) -> None:
    settings = load_agent(f"""
        version: 1
        node: pi-1
        sensors: {{it: {{kind: thermometer, sensor: cpu, file: {tmp_path / "none"}}}}}
        """)
    plan = settings.sensors["it"].plan()
    assert isinstance(plan.source, Polled)

    with pytest.raises(SensorError, match="reading the processor's temperature"):
        plan.source.open(RealBoard(PinsSettings(factory="mock"))).read()


def test_an_analog_value_has_the_unit_and_factor_of_its_settings(build: Build) -> None:
    board, plan = build("{kind: analog, channel: 7, factor: 3.3, unit: V, delta: 0.1}")
    board.pin_factory.chip(8).wire(7, lambda: 0.5)

    (found,) = plan.interpreter.read(read_once(board, plan), 0.0).findings

    assert (found.name, found.unit) == ("analog.changed", "V")
    assert found.value == pytest.approx(1.65, abs=0.01)


def test_the_whole_scale_of_an_analog_input_is_plausible(build: Build) -> None:
    board, plan = build("{kind: analog, channel: 0, delta: 0}")
    for ratio in (0.0, 1.0):
        board.pin_factory.chip(8).wire(0, lambda ratio=ratio: ratio)
        assert plan.interpreter.read(read_once(board, plan), 0.0).faults == ()


def test_chips_on_both_selects_are_told_apart(build: Build) -> None:
    board, plan = build("{kind: analog, channel: 2, chip_select: 1}")
    board.pin_factory.chip(8).wire(2, lambda: 0.9)
    board.pin_factory.chip(7).wire(2, lambda: 0.1)

    assert read_once(board, plan) == pytest.approx(0.1, abs=0.001)


def test_two_channels_of_one_chip_are_open_at_the_same_time(build: Build, load_agent: Load) -> None:
    board = VirtualBoard(
        load_agent("""
        version: 1
        node: pi-1
        sensors:
          a: {kind: analog, channel: 0}
          b: {kind: analog, channel: 1}
        """)
    )
    plans = [sensor.plan() for sensor in board.settings.sensors.values()]
    devices = [plan.source.open(board) for plan in plans if isinstance(plan.source, Polled)]
    devices[0].close()

    assert devices[1].read() < 0.01
    devices[1].close()
    board.close()


def test_a_beam_on_a_resistor_is_told_with_hysteresis(build: Build) -> None:
    board, plan = build(
        "{kind: laser-tripwire, wiring: mcp3008, channel: 1, broken_below: 0.4, hysteresis: 0.2, debounce: 0}"
    )
    board.drive_now("it", "break")
    dark = read_once(board, plan)
    board.drive_now("it", "restore")
    light = read_once(board, plan)

    assert names_of(plan, [(light, 0), (dark, 1), (0.5, 2), (light, 3)]) == [
        "beam.restored",
        "beam.broken",
        "beam.restored",
    ]


def test_a_beam_on_a_capacitor_is_timed(build: Build) -> None:
    board, plan = build("{kind: laser-tripwire, wiring: rc, pin: 17, charge_limit: 100ms}")
    assert isinstance(plan.source, Polled)
    device = plan.source.open(board)
    try:
        board.drive_now("it", "break")
        assert device.read() == 0.0
        board.drive_now("it", "restore")
        assert device.read() > 0.5
    finally:
        device.close()


def test_a_capacitor_is_refused_when_the_driver_turns_out_to_be_lgpio() -> None:
    class Factory(MockFactory):  # type: ignore[misc] # gpiozero ships no type information
        pass

    Factory.__module__ = "gpiozero.pins.lgpio"
    board = RealBoard(PinsSettings(factory="mock"))
    board.pin_factory = Factory()

    with pytest.raises(SensorError, match=r"GPIO17: wiring: rc does not work .* issue 1135"):
        ChargedPin(board, Pin(17), 0.01)


@pytest.mark.parametrize("centimetres", [2, 37.5, 120, 400])
def test_a_distance_is_timed_by_the_edges_of_its_echo(build: Build, centimetres: float) -> None:
    board, plan = build("{kind: distance, trigger: 20, echo: 21}")
    board.drive_now("it", str(centimetres))

    assert read_once(board, plan) == pytest.approx(centimetres, abs=0.01)


def test_an_unplugged_distance_sensor_is_an_error_and_not_its_last_distance(build: Build) -> None:
    board, plan = build("{kind: distance, trigger: 20, echo: 21}")
    board.drive_now("it", "unplugged")

    with pytest.raises(SensorError, match=r"no echo came back \(trigger GPIO20, echo GPIO21\)"):
        read_once(board, plan)


def test_something_near_is_told_and_when_it_is_gone(build: Build) -> None:
    _, plan = build("{kind: distance, trigger: 20, echo: 21, near: 20, hysteresis: 3, delta: 1000}")

    assert names_of(plan, [(50, 0), (19, 1), (22, 2), (23, 3)]) == [
        "distance.changed",
        "distance.clear",
        "distance.near",
        "distance.clear",
    ]


def test_numbers_are_smoothed_and_rounded_as_asked(build: Build) -> None:
    _, plan = build(
        "{kind: thermometer, sensor: cpu, median: 3, precision: 1, delta: 0, offset: -0.3, maximum_rate: 5}"
    )
    values: list[Any] = [
        finding.value
        for now, value in enumerate((20.04, 20.1, 29.0, 20.2, 20.3))
        for finding in plan.interpreter.read(value, float(now)).findings
    ]

    assert values == [19.7, 19.8, 19.8, 19.9]


def test_a_silent_measure_speaks_up_by_the_clock(build: Build) -> None:
    _, plan = build("{kind: thermometer, sensor: cpu, every: 1s, delta: 5, maximum_silence: 10s}")
    plan.interpreter.read(20.0, 0.0)
    outlook = plan.interpreter.read(21.0, 1.0)

    assert outlook.findings == ()
    assert outlook.wake_at == 10.0
    assert [finding.value for finding in plan.interpreter.wake(10.0).findings] == [21.0]


def test_an_input_can_be_opened_again_after_it_was_closed() -> None:
    board = RealBoard(PinsSettings(factory="mock", revision="902120"))
    for _ in range(3):
        seen: list[bool] = []
        device = open_edges(board, seen.append, pin=Pin(17), pull="down", active_low=False)
        board.pin_factory.pin(17).drive_high()
        device.close()
        board.pin_factory.pin(17).drive_low()
        assert seen == [True]
    board.close()


def test_an_input_that_is_watched_by_a_driver_which_refuses_edges_is_free_again() -> None:
    class Deaf(MockPin):  # type: ignore[misc] # gpiozero ships no type information
        def _enable_event_detect(self) -> None:
            raise PinEdgeDetectUnsupported("no edges here")

    board = RealBoard(PinsSettings(factory="mock", revision="902120"))
    board.pin_factory.pin_class = Deaf
    for _ in range(2):
        with pytest.raises(SensorError, match="no edges here"):
            open_edges(board, lambda _: None, pin=Pin(17), pull="down", active_low=False)
    board.close()
