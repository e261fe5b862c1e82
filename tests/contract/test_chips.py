"""The contract of every kind that is a number: gpiozero's own devices and the agent's read the same of a part.

On virtual boards alone: a wire between two pins is none of these parts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import gpiozero
import pytest

from bridge.agent.sensors.plan import Polled
from bridge.virtual.board import VirtualBoard
from tests.contract.bench import eventually
from tests.virtual.test_board import polled, settings

SENSORS = """
version: 1
node: pi-1
sensors:
  cellar: {kind: thermometer, sensor: tmp36, channel: 0}
  gate: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  soil: {kind: analog, channel: 2}
  rc-gate: {kind: laser-tripwire, wiring: rc, pin: 22, charge_limit: 100ms}
  tank: {kind: distance, trigger: 23, echo: 24}
  greenhouse: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
  cpu: {kind: thermometer, sensor: cpu}
"""
MODELS = """
virtual:
  gate: {model: ldr}
  rc-gate: {model: ldr, capacitor_uf: 10}
  tank: {model: hc-sr04}
  greenhouse: {model: ds18b20, resolution: 9}
"""


@pytest.fixture(params=["ideal", "as the data sheets say"])
def board(request: pytest.FixtureRequest) -> Iterator[VirtualBoard]:
    made = VirtualBoard(settings(SENSORS + (MODELS if request.param != "ideal" else "")))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sensor", "channel", "words"),
    [("cellar", 0, ["-40", "0", "25", "125"]), ("gate", 1, ["break", "restore"]), ("soil", 2, ["0", "0.5", "1"])],
)
async def test_a_channel_of_the_converter(board: VirtualBoard, sensor: str, channel: int, words: list[str]) -> None:
    read = polled(board, sensor)
    with gpiozero.MCP3008(channel, pin_factory=board.pin_factory) as adc:
        for word in words:
            await board.drive(sensor, word)
            ours, gpiozeros = read(), adc.value
            if sensor == "cellar":
                gpiozeros = (gpiozeros * 3.3 - 0.5) * 100
            assert ours == pytest.approx(gpiozeros, abs=1e-9)


async def test_a_light_dependent_resistor_on_a_capacitor(board: VirtualBoard) -> None:
    read = polled(board, "rc-gate")
    light = read()
    await board.drive("rc-gate", "break")
    dark = read()
    assert light > 0.9
    assert dark < 0.4


@pytest.mark.parametrize("light", [True, False])
async def test_gpiozeros_light_sensor_sees_light_and_darkness(board: VirtualBoard, light: bool) -> None:
    await board.drive("rc-gate", "restore" if light else "break")
    with gpiozero.LightSensor(22, queue_len=1, charge_time_limit=0.05, pin_factory=board.pin_factory) as sensor:
        eventually(lambda: sensor.light_detected is light and (sensor.value > 0.8) is light)


@pytest.mark.parametrize("centimetres", [5, 42, 150])
async def test_an_echo_sounder(board: VirtualBoard, centimetres: int) -> None:
    await board.drive("tank", str(centimetres))
    source = board.settings.sensors["tank"].plan().source
    assert isinstance(source, Polled)
    device = source.open(board)
    assert device.read() == pytest.approx(centimetres, abs=0.1)
    device.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gpiozero.PWMSoftwareFallback)  # it wants pigpio; irrelevant on mock pins
        sensor = gpiozero.DistanceSensor(
            echo=24, trigger=23, max_distance=4, queue_len=1, pin_factory=board.pin_factory
        )
    with sensor:
        # It measures for ever, and an HC-SR04 that was asked just now answers the next ping.
        eventually(lambda: sensor.distance == pytest.approx(centimetres / 100, abs=0.01))


async def test_the_kernels_files(board: VirtualBoard, tmp_path: Path) -> None:
    await board.drive("greenhouse", "21.5")
    await board.drive("cpu", "55.5")
    assert polled(board, "greenhouse")() == 21.5
    assert (board.w1_root / "28-0316a2795cff" / "temperature").read_text("ascii") == "21500\n"
    cpu = board.settings.sensors["cpu"]
    assert gpiozero.CPUTemperature(sensor_file=str(cpu.file), pin_factory=board.pin_factory).temperature == 55.5  # type: ignore[union-attr] # it is a thermometer
