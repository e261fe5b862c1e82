"""gpiozero's own classes on virtual pins: what a real program would see."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator

import gpiozero
import pytest
from gpiozero import Device

from bridge.virtual.factory import ChargingPin, EchoPin, TriggerPin, VirtualFactory


@pytest.fixture
def factory() -> Iterator[VirtualFactory]:
    made = VirtualFactory(time.monotonic)
    yield made
    made.close()


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        threading.Event().wait(0.01)


def test_a_motion_sensor_sees_motion_on_a_pin_held_high(factory: VirtualFactory) -> None:
    pin = factory.pin(17)
    with gpiozero.MotionSensor(17, pin_factory=factory, sample_rate=100) as sensor:
        pin.hold(high=True)
        eventually(lambda: sensor.motion_detected)
        pin.hold(high=False)
        eventually(lambda: not sensor.motion_detected)


def test_callbacks_run_on_the_thread_that_drives_the_pin(factory: VirtualFactory) -> None:
    pin, threads = factory.pin(17), []
    with gpiozero.DigitalInputDevice(17, pull_up=None, active_state=True, pin_factory=factory) as device:
        device.when_activated = lambda: threads.append(threading.current_thread().name)
        driver = threading.Thread(target=lambda: pin.hold(high=True), name="driver")
        driver.start()
        driver.join()
    assert threads == ["driver"]


def test_a_held_pin_is_not_moved_by_a_pull_resistor_or_by_opening_and_closing(factory: VirtualFactory) -> None:
    factory.pin(17).hold(high=False)
    for _ in range(2):
        with gpiozero.DigitalInputDevice(17, pull_up=True, pin_factory=factory) as device:
            assert device.is_active
    assert factory.pin(17).state == 0


def test_a_pin_that_nothing_holds_follows_its_pull_resistor(factory: VirtualFactory) -> None:
    with gpiozero.Button(17, pin_factory=factory) as button:
        assert not button.is_pressed


def test_a_pin_remembers_only_its_last_states(factory: VirtualFactory) -> None:
    pin = factory.pin(17)
    for _ in range(200):
        pin.hold(high=True)
        pin.hold(high=False)
    assert len(pin.states) <= 64


def test_an_output_can_be_dimmed(factory: VirtualFactory) -> None:
    with gpiozero.PWMLED(18, pin_factory=factory) as led:
        led.value = 0.25
        assert led.value == 0.25


def test_an_mcp3008_with_a_tmp36_reads_the_temperature(factory: VirtualFactory) -> None:
    factory.chip(8).wire(0, lambda: 0.75 / 3.3)
    with gpiozero.MCP3008(0, pin_factory=factory) as adc:
        assert (adc.value * 3.3 - 0.5) * 100 == pytest.approx(25.0, abs=0.4)


def test_chips_are_told_apart_by_their_select_pin(factory: VirtualFactory) -> None:
    factory.chip(8).wire(0, lambda: 0.25)
    factory.chip(7).wire(0, lambda: 0.75)
    with (
        gpiozero.MCP3008(0, device=0, pin_factory=factory) as first,
        gpiozero.MCP3008(0, device=1, pin_factory=factory) as second,
    ):
        assert (first.value, second.value) == (pytest.approx(0.25, abs=0.01), pytest.approx(0.75, abs=0.01))


def test_two_factories_share_neither_pins_nor_chips() -> None:
    one, other = VirtualFactory(time.monotonic), VirtualFactory(time.monotonic)
    one.chip(8).wire(3, lambda: 1.0)
    one.pin(17).hold(high=True)
    with (
        gpiozero.MCP3008(3, pin_factory=one) as first,
        gpiozero.MCP3008(3, pin_factory=other) as second,
        gpiozero.DigitalInputDevice(17, pin_factory=one) as here,
        gpiozero.DigitalInputDevice(17, pin_factory=other) as there,
    ):
        assert (first.value, second.value) == (pytest.approx(1.0), pytest.approx(0.0, abs=0.01))
        assert (here.is_active, there.is_active) == (True, False)
    assert Device.pin_factory is None


def test_a_distance_sensor_reads_the_distance_of_the_obstacle(factory: VirtualFactory) -> None:
    echo, trigger = factory.pin(24, pin_class=EchoPin), factory.pin(23, pin_class=TriggerPin)
    trigger.echo = echo
    echo.distance_cm = 42.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gpiozero.PWMSoftwareFallback)  # it wants pigpio; irrelevant on mock pins
        sensor = gpiozero.DistanceSensor(echo=24, trigger=23, max_distance=2, queue_len=1, pin_factory=factory)
    with sensor:
        assert sensor.distance == pytest.approx(0.42, abs=0.001)


def test_a_light_sensor_sees_light_and_darkness_by_the_charging_time(factory: VirtualFactory) -> None:
    pin = factory.pin(18, pin_class=ChargingPin)
    pin.charge_s = 0.0
    with gpiozero.LightSensor(18, queue_len=1, charge_time_limit=0.2, pin_factory=factory) as sensor:
        eventually(lambda: sensor.value > 0.5)
        pin.charge_s = 1.0
        eventually(lambda: sensor.value < 0.1)


def test_a_board_knows_which_pi_it_pretends_to_be() -> None:
    assert VirtualFactory(time.monotonic, "902120").board_info.model == "Zero2W"
