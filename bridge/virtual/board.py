"""A virtual Pi's board: mock pins, chips and a 1-Wire bus, with a device behind each sensor of one agent."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bridge.agent.board import read_text
from bridge.agent.models import Ds18b20, HcSr04, HcSr501, Ldr, Mcp3008, ModelSettings
from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.analog import Analog
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.distance import Distance
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.thermometer import Thermometer
from bridge.agent.settings import AgentSettings
from bridge.clock import VirtualClock
from bridge.virtual.adc import noise
from bridge.virtual.devices import STICKING, Device, Level, NotAccepted
from bridge.virtual.devices.device import Voltage
from bridge.virtual.devices.level import PushButton
from bridge.virtual.devices.light import ChargedBeam, LightBeam, charging, divided
from bridge.virtual.devices.motion import MotionDetector
from bridge.virtual.devices.obstacle import Echoing, Obstacle
from bridge.virtual.devices.quantity import analog, cpu_temperature, tmp36
from bridge.virtual.devices.thermometer import OneWireThermometer
from bridge.virtual.factory import PI_5, ChargingPin, EchoPin, TriggerPin, VirtualFactory, WiredPin
from bridge.virtual.one_wire import OneWireBus
from bridge.virtual.timers import ClockTimers, ThreadTimers, Timers

P = TypeVar("P", bound=WiredPin)


class VirtualBoard:
    """The board of one virtual Pi; carries out the agent's `Board`. Close it after the agent has stopped.

    `settings` is what the agent is to be started with: as given, with paths into /sys replaced by the board's own.
    On a virtual clock the world answers at once and on the calling thread: an echo is back, or will never be, when the
    ping has gone out; what devices do by themselves they do when that clock says so. `within` is where its folder is
    made.
    """

    def __init__(
        self, settings: AgentSettings, *, virtual_clock: VirtualClock | None = None, within: Path | None = None
    ) -> None:
        self._threads = virtual_clock is None
        # One thread for all pins: two people's wishes happen one after the other, and never on the loop's thread.
        self._driver = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"pins of {settings.node}")
        self._timers: Timers = ThreadTimers(self._driver) if virtual_clock is None else ClockTimers(virtual_clock)
        self.pin_factory: Any = VirtualFactory(self._timers.now_s, settings.pins.revision or PI_5)
        info = self.pin_factory.board_info
        self.description = f"virtual Raspberry Pi {info.model} rev {info.pcb_revision} ({info.revision})"
        self._folder = tempfile.TemporaryDirectory(prefix="gpio-bridge-virtual-", dir=within)
        self.w1_root = Path(self._folder.name) / "w1" / "devices"
        self._one_wire = OneWireBus(self.w1_root, now_s=self._timers.now_s, threads=self._threads)
        self._took_s = 0.0
        self._devices: dict[str, Device] = {}
        self._stuck: dict[str, Callable[[], None] | None] = {}
        """The sensors that are stuck, and what was done to each last, which is so when it is stuck no more."""
        self._driven: dict[str, tuple[str, float]] = {}
        self.start()
        sensors: dict[str, SensorSettings] = {}
        for name, sensor in settings.sensors.items():
            sensors[name] = self._moved(name, sensor)
            self._devices[name] = self._wired(name, sensors[name], settings.virtual.get(name))
        self.settings = dataclasses.replace(settings, sensors=sensors)

    @property
    def devices(self) -> Mapping[str, Device]:
        """What is wired to the pins, by the sensor's name."""
        return self._devices

    def accepts(self, sensor: str) -> tuple[str, ...]:
        """What `drive` takes for a sensor, as a person reads it."""
        return (*self._devices[sensor].accepts, *STICKING)

    def start(self) -> None:
        """Its agent starts, for the first time or again."""
        self._started_s = self._timers.now_s()

    def started_s(self) -> float:
        """How long ago its agent started."""
        return self._timers.now_s() - self._started_s

    def is_stuck(self, sensor: str) -> bool:
        """Whether a sensor keeps what it has, whatever is done to it."""
        return sensor in self._stuck

    def driven(self, sensor: str) -> tuple[str, float] | None:
        """What a sensor was made to see last, and how many seconds ago; None when it never was."""
        found = self._driven.get(sensor)
        return None if found is None else (found[0], self._timers.now_s() - found[1])

    def warms_up_s(self, sensor: str) -> float:
        """How much longer a sensor's device warms up."""
        device = self._devices[sensor]
        return device.warms_up_s if isinstance(device, MotionDetector) else 0.0

    async def drive(self, sensor: str, value: str) -> None:
        """Make a sensor see something; returns when its pins have changed. Raises NotAccepted.

        Called on the loop; the pins change on the driver's thread.
        """
        await asyncio.get_running_loop().run_in_executor(self._driver, self.drive_now, sensor, value)

    def drive_now(self, sensor: str, value: str) -> None:
        """As `drive`, on the calling thread."""
        device = self._devices.get(sensor)
        if device is None:
            raise NotAccepted(f"there is no sensor {sensor}; there are {', '.join(self._devices) or 'none'}")
        match word := value.strip().lower():
            case "stuck" | "unstuck" if isinstance(device, MotionDetector):
                device.stick(stuck=word == "stuck")
                return
            case "stuck":
                self._stuck.setdefault(sensor, None)
                return
            case "unstuck":
                catch_up = self._stuck.pop(sensor, None)
                if catch_up is not None:
                    catch_up()
                    self._driven[sensor] = self._driven[sensor][0], self._timers.now_s()
                return
        try:
            change = device.understand(value)
        except NotAccepted as error:
            raise NotAccepted(f"{sensor} {error}") from None
        if sensor in self._stuck:
            if not change.passing:
                self._stuck[sensor] = change.end
        else:
            change.make()
        self._driven[sensor] = value, self._timers.now_s()

    def takes(self, seconds: float) -> float:
        return seconds if self._threads else 0.0

    def lasted(self, seconds: float) -> None:
        if not self._threads:
            self._took_s += seconds

    def read_text(self, file: Path) -> str:
        if self._threads or not file.is_relative_to(self.w1_root):
            return read_text(file)
        reading = self._one_wire.read(file)
        self._took_s += reading.took_s
        return reading.text

    def took_s(self) -> float:
        took_s, self._took_s = self._took_s, 0.0
        return took_s

    def close(self) -> None:
        self._timers.close()
        self._driver.shutdown()
        self._one_wire.close()
        self.pin_factory.close()
        self._folder.cleanup()

    def _moved(self, name: str, sensor: SensorSettings) -> SensorSettings:
        """The sensor with the file it reads inside the board's folder."""
        if isinstance(sensor, Thermometer) and sensor.sensor == "cpu":
            return dataclasses.replace(sensor, file=Path(self._folder.name) / f"{name}-temp")
        return sensor

    def _wired(self, name: str, sensor: SensorSettings, model: ModelSettings | None) -> Device:
        match sensor:
            case Pir() if isinstance(model, HcSr501):
                pin = self._pin(sensor.pin.bcm, WiredPin)
                return MotionDetector(name, pin, model, self._timers, active_high=not sensor.active_low)
            case Pir():
                return self._level(name, sensor, {"motion": True, "still": False})
            case Digital():
                return self._level(name, sensor, {"on": True, "off": False})
            case Button():
                pin = self._pin(sensor.pin.bcm, WiredPin)
                return PushButton(name, pin, active_high=not sensor.active_low)
            case LaserTripwire():
                return self._tripwire(name, sensor, model)
            case Thermometer():
                return self._thermometer(name, sensor, model)
            case Analog():
                input_ = self._input(name, sensor.channel, sensor.chip_select, model)
                return analog(input_, unit=sensor.unit, factor=sensor.factor, offset=sensor.offset)
            case Distance():
                echo = self._pin(sensor.echo.bcm, EchoPin)
                trigger = self._pin(sensor.trigger.bcm, TriggerPin)
                trigger.echo, trigger.at_once = echo, not self._threads
                if isinstance(model, HcSr04):
                    return Echoing(echo, model, self._timers.now_s)
                return Obstacle(echo, high=sensor.reach)

    def _level(self, name: str, sensor: Pir | Digital, words: Mapping[str, bool]) -> Device:
        return Level(name, self._pin(sensor.pin.bcm, WiredPin), words, active_high=not sensor.active_low)

    def _tripwire(self, name: str, sensor: LaserTripwire, model: ModelSettings | None) -> Device:
        if sensor.wiring == "mcp3008":
            assert sensor.channel is not None
            input_ = self._input(name, sensor.channel, sensor.chip_select, model)
            if isinstance(model, Ldr):
                return divided(model, input_)
            light = (1 + sensor.broken_below + sensor.hysteresis) / 2
            return LightBeam(input_, light=light, dark=sensor.broken_below / 2)
        assert sensor.pin is not None
        if sensor.wiring == "rc":
            pin = self._pin(sensor.pin.bcm, ChargingPin)
            pin.at_once = not self._threads
            return charging(model, pin) if isinstance(model, Ldr) else ChargedBeam(pin)
        # `active_low` tells of the receiver whether its output is low while it sees the laser.
        words = {"break": True, "restore": False}
        return Level(name, self._pin(sensor.pin.bcm, WiredPin), words, active_high=sensor.active_low)

    def _thermometer(self, name: str, sensor: Thermometer, model: ModelSettings | None) -> Device:
        if sensor.sensor == "ds18b20":
            assert sensor.device is not None
            part = model if isinstance(model, Ds18b20) else None
            return OneWireThermometer(self._one_wire.thermometer(sensor.device, model=part))
        if sensor.sensor == "tmp36":
            assert sensor.channel is not None
            return tmp36(self._input(name, sensor.channel, sensor.chip_select, model))
        return cpu_temperature(sensor.file)

    def _pin(self, bcm: int, cls: Callable[..., P]) -> P:
        pin: P = self.pin_factory.pin(bcm, pin_class=cls)
        return pin

    def _input(self, name: str, channel: int, chip_select: int, model: ModelSettings | None) -> Voltage:
        voltage = Voltage()
        steps = model.noise if isinstance(model, Mcp3008 | Ldr) else 0
        # CE0 is GPIO8 and CE1 GPIO7 on every 40-pin header.
        self.pin_factory.chip(8 - chip_select).wire(channel, voltage.ratio, noise(name, steps))
        return voltage
