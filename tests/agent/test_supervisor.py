from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bridge.agent.board import read_text
from bridge.agent.metrics import Metrics
from bridge.agent.readers import LoopReader
from bridge.agent.sensors.interpreters import Levels, Numbers
from bridge.agent.sensors.plan import Aspect, Edges, Plan, Polled
from bridge.agent.supervisor import Supervisor
from bridge.clock import VirtualClock
from bridge.core.event import Observation, Value
from bridge.core.filters import Chain, Debounce, Hold, Range, Report, Threshold, WarmUp
from bridge.core.filters.threshold import Band
from bridge.errors import SensorError

Until = Callable[[Callable[[], object]], Awaitable[None]]

MOTION = ("motion.detected", "motion.ended")
BANDS = {Band.HIGH: "temperature.high", Band.LOW: "temperature.low", Band.NORMAL: "temperature.normal"}


class NoBoard:
    """The plans of these tests open no pins."""

    pin_factory: Any = None
    description = "none"
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


class Told:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[Observation] = []
        self.states: list[tuple[Value, str, str | None]] = []
        self.sensor: Supervisor | None = None

    def observed(self, sensor: str, seen: Observation, now: float) -> None:
        self.events.append(seen)

    def state_changed(self, sensor: str) -> None:
        assert self.sensor is not None
        state = self.sensor.state
        self.states.append((state.value, state.health, state.reason))

    @property
    def names(self) -> list[str]:
        return [f"{seen.name}{' (initial)' if seen.initial else ''}" for seen in self.events]


class Contact:
    """A pin: `set` changes it on the calling thread, as a driver would."""

    def __init__(self, *, level: bool = False) -> None:
        self.now = level
        self.opened = 0
        self.closed = 0
        self.broken: Exception | None = None
        self.between: list[bool] = []
        self._changed: Callable[[bool], None] = lambda _: None

    def open(self, board: Any, changed: Callable[[bool], None]) -> Contact:
        self.opened += 1
        if self.broken is not None:
            raise self.broken
        self._changed = changed
        for level in self.between:
            self.set(level=level)
        return self

    def level(self) -> bool:
        return self.now

    def close(self) -> None:
        self.closed += 1

    def set(self, *, level: bool) -> None:
        self.now = level
        self._changed(level)


class Thermometer:
    """A device whose next readings are given; what is an exception is raised."""

    def __init__(self, *readings: float | Exception) -> None:
        self.readings = list(readings)
        self.opened = 0
        self.closed = 0

    def open(self, board: Any) -> Thermometer:
        self.opened += 1
        return self

    def read(self) -> float:
        reading = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]
        if isinstance(reading, Exception):
            raise reading
        return reading

    def close(self) -> None:
        self.closed += 1


def contact_plan(contact: Contact, *, warm_up_s: float = 0, hold_s: float = 0) -> Plan:
    passing = Chain(Debounce(0.05), Hold(hold_s)) if hold_s else Debounce(0.05)
    return Plan(Edges(contact.open), Levels(MOTION, passing, WarmUp(warm_up_s) if warm_up_s else None), None, MOTION)


def thermometer_plan(thermometer: Thermometer, delta: float = 0.5) -> Plan:
    bands = Threshold(high=70, hysteresis=2)
    numbers = Numbers("temperature.changed", "Cel", Range(-55, 125), Report(delta), bands, BANDS)
    return Plan(Polled(thermometer.open, every_s=10, timeout_s=5), numbers, "Cel", ("temperature.changed",))


@asynccontextmanager
async def running(
    plan: Plan, clock: VirtualClock, known: Mapping[Aspect, tuple[str, Value]] | None = None
) -> AsyncIterator[tuple[Supervisor, Told]]:
    told = Told()
    sensor = told.sensor = Supervisor(
        "it", "kind", plan, board=NoBoard(), clock=clock, reader=LoopReader(clock, lambda: 0.0), sink=told,
        metrics=Metrics(), known=known or {},
    )  # fmt: skip
    task = asyncio.ensure_future(sensor.run())
    await clock.settle()
    try:
        yield sensor, told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_level_found_at_the_first_start_is_an_initial_event() -> None:
    async with running(contact_plan(Contact(level=True)), VirtualClock()) as (_, told):
        assert told.names == ["motion.detected (initial)"]
        assert told.states == [(True, "ok", None)]


async def test_a_level_found_as_it_was_known_is_no_event_but_a_state() -> None:
    known: dict[Aspect, tuple[str, Value]] = {"level": ("motion.ended", False)}
    async with running(contact_plan(Contact()), VirtualClock(), known) as (_, told):
        assert told.names == []
        assert told.states == [(False, "ok", None)]


async def test_a_level_that_changed_while_the_agent_was_away_is_an_initial_event() -> None:
    known: dict[Aspect, tuple[str, Value]] = {"level": ("motion.ended", False)}
    async with running(contact_plan(Contact(level=True)), VirtualClock(), known) as (_, told):
        assert told.names == ["motion.detected (initial)"]


async def test_an_edge_carries_the_time_at_which_the_driver_saw_it() -> None:
    clock, contact = VirtualClock(), Contact()
    async with running(contact_plan(contact), clock) as (_, told):
        await clock.advance(7)
        seen_at = clock.now()
        thread = threading.Thread(target=lambda: contact.set(level=True))
        thread.start()
        thread.join()
        await clock.advance(1)

        assert told.events[-1].name == "motion.detected"
        assert told.events[-1].time == seen_at
        assert not told.events[-1].initial


async def test_edges_between_the_arming_and_the_first_look_are_not_lost() -> None:
    clock, contact = VirtualClock(), Contact()
    contact.between = [True]
    async with running(contact_plan(contact), clock) as (_, told):
        await clock.advance(1)
        assert told.names == ["motion.detected (initial)"]
        contact.set(level=False)
        await clock.advance(1)
        assert told.names == ["motion.detected (initial)", "motion.ended"]


async def test_a_sensor_that_warms_up_tells_nothing_until_then() -> None:
    clock, contact = VirtualClock(), Contact()
    async with running(contact_plan(contact, warm_up_s=60), clock) as (_, told):
        contact.set(level=True)
        await clock.advance(59)
        assert told.names == []
        assert told.states == [(None, "warming_up", None)]

        await clock.advance(1)
        assert told.names == ["motion.detected (initial)"]
        assert told.states[1:] == [(True, "ok", None)]


async def test_a_hold_ends_by_the_clock() -> None:
    clock, contact = VirtualClock(), Contact()
    async with running(contact_plan(contact, hold_s=10), clock) as (_, told):
        contact.set(level=True)
        await clock.advance(1)
        contact.set(level=False)
        await clock.advance(9.9)
        assert told.names[-1] == "motion.detected"
        await clock.advance(0.2)
        assert told.names[-1] == "motion.ended"


async def test_a_pin_that_cannot_be_opened_is_a_fault_told_once_and_tried_again_with_growing_pauses() -> None:
    clock, contact = VirtualClock(), Contact()
    contact.broken = SensorError("GPIO busy")
    async with running(contact_plan(contact), clock) as (sensor, told):
        await clock.advance(1 + 2 + 4 + 8 + 16 + 32 + 60 + 60)
        assert contact.opened == 9
        assert told.names == ["sensor.fault"]
        assert told.events[0].value == "GPIO busy"
        assert sensor.state.health == "fault"
        assert sensor.stuck() is None

        contact.broken = None
        await clock.advance(60)
        assert told.names == ["sensor.fault", "sensor.recovered", "motion.ended (initial)"]
        assert told.states[-1] == (False, "ok", None)


async def test_an_error_that_nobody_foresaw_is_a_fault_too() -> None:
    clock = VirtualClock()
    thermometer = Thermometer(ZeroDivisionError("surprise"), 20.0)
    async with running(thermometer_plan(thermometer), clock) as (_, told):
        assert [told.names, told.events[0].value] == [["sensor.fault"], "ZeroDivisionError: surprise"]
        await clock.advance(1)
        assert told.names[1:3] == ["sensor.recovered", "temperature.changed (initial)"]


async def test_readings_are_events_when_they_differ_enough_and_tell_their_band() -> None:
    clock = VirtualClock()
    thermometer = Thermometer(20.0, 20.2, 20.6, 71.0, 69.0, 68.0)
    async with running(thermometer_plan(thermometer), clock) as (sensor, told):
        await clock.advance(30)
        assert sensor.state.level == "temperature.high"
        await clock.advance(20)

    assert [(seen.name, seen.value, seen.unit) for seen in told.events] == [
        ("temperature.changed", 20.0, "Cel"),
        ("temperature.normal", 20.0, "Cel"),
        ("temperature.changed", 20.6, "Cel"),
        ("temperature.changed", 71.0, "Cel"),
        ("temperature.high", 71.0, "Cel"),
        ("temperature.changed", 69.0, "Cel"),
        ("temperature.changed", 68.0, "Cel"),
        ("temperature.normal", 68.0, "Cel"),
    ]
    assert [seen.initial for seen in told.events] == [True, True, *[False] * 6]


async def test_a_failed_reading_is_a_fault_at_once_and_no_stale_value_stays() -> None:
    clock = VirtualClock()
    thermometer = Thermometer(20.0, SensorError("CRC NO"), 20.1)
    async with running(thermometer_plan(thermometer), clock) as (_, told):
        await clock.advance(10)
        assert told.states[1:] == [(None, "fault", "CRC NO")]

        await clock.advance(1)
        assert told.names[2:] == ["sensor.fault", "sensor.recovered"]
        assert told.states[2:] == [(20.1, "ok", None)]
        assert thermometer.opened == 2
        assert thermometer.closed == 1


async def test_implausible_readings_make_a_sensor_suspect_and_many_in_a_row_faulty() -> None:
    clock = VirtualClock()
    thermometer = Thermometer(20.0, 200.0, 200.0, 200.0, 200.0, 200.0, 200.0, 21.0)
    async with running(thermometer_plan(thermometer), clock) as (_, told):
        await clock.advance(10)
        assert told.states[-1][:2] == (20.0, "suspect")
        await clock.advance(30)
        assert told.names[2:] == []
        await clock.advance(20)
        assert told.names[2:] == ["sensor.fault"]
        assert told.states[-1][:2] == (None, "fault")
        await clock.advance(10)
        assert told.names[2:] == ["sensor.fault", "sensor.recovered", "temperature.changed (initial)"]


async def test_what_the_last_event_before_the_start_said_is_compared_with_what_is_found() -> None:
    plan = thermometer_plan(Thermometer(20.3))
    async with running(plan, VirtualClock(), plan.interpreter.known("temperature.changed", 20.0)) as (sensor, told):
        assert told.names == []
        assert sensor.state.value == 20.3

    plan = thermometer_plan(Thermometer(71.0))
    async with running(plan, VirtualClock(), plan.interpreter.known("temperature.changed", 20.0)) as (_, told):
        assert told.names == ["temperature.changed (initial)", "temperature.high (initial)"]


async def test_a_number_inside_the_hysteresis_leaves_the_band_open() -> None:
    plan = thermometer_plan(Thermometer(69.0))

    assert plan.interpreter.known("temperature.changed", 69.0) == {"measure": ("temperature.changed", 69.0)}
    assert plan.interpreter.known("temperature.high", 69.0)["level"] == ("temperature.high", 69.0)
    assert plan.interpreter.known("temperature.changed", 67.0)["level"] == ("temperature.normal", 67.0)


async def test_a_supervisor_that_does_not_come_back_is_stuck() -> None:
    clock = VirtualClock()

    class Never(LoopReader):
        async def read(self, reading: Callable[[], Any], timeout_s: float) -> Any:
            await asyncio.Event().wait()

    sensor = Supervisor(
        "it", "kind", thermometer_plan(Thermometer(20.0)), board=NoBoard(), clock=clock,
        reader=Never(clock, lambda: 0.0), sink=Told(), metrics=Metrics(), known={},
    )  # fmt: skip
    task = asyncio.ensure_future(sensor.run())
    await clock.advance(30)
    assert sensor.stuck() is None
    await clock.advance(10)
    assert sensor.stuck() == "it has made no sign for 35s"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_silence_lasts_from_the_last_event_whatever_is_read_meanwhile() -> None:
    clock, contact = VirtualClock(), Contact()
    async with running(contact_plan(contact), clock) as (sensor, told):
        assert told.names == ["motion.ended (initial)"]
        await clock.advance(3600)
        assert sensor.silent_s == 3600
        contact.set(level=True)
        await clock.advance(5)
        assert 4.9 < sensor.silent_s <= 5

    plan = thermometer_plan(Thermometer(20.0))
    before: dict[Aspect, tuple[str, Value]] = {
        "measure": ("temperature.changed", 20.0),
        "level": ("temperature.normal", 20.0),
    }
    async with running(plan, clock, before) as (sensor, told):
        await clock.advance(600)
        assert (told.names, sensor.silent_s) == ([], 600)


async def test_a_silence_goes_on_over_a_restart() -> None:
    clock = VirtualClock()
    sensor = Supervisor(
        "it", "kind", contact_plan(Contact()), board=NoBoard(), clock=clock, reader=LoopReader(clock, lambda: 0.0),
        sink=Told(), metrics=Metrics(), known={}, quiet_s=86400.0,
    )  # fmt: skip
    assert sensor.silent_s == 86400


async def test_an_active_level_is_counted_and_rest_is_not() -> None:
    clock, contact = VirtualClock(), Contact()
    async with running(contact_plan(contact), clock) as (sensor, _):
        await clock.advance(7200)
        assert sensor.unchanged_s == 0
        contact.set(level=True)
        await clock.advance(100)
        assert 99.9 < sensor.unchanged_s <= 100
        contact.set(level=False)
        await clock.advance(100)
        assert sensor.unchanged_s == 0


async def test_a_number_that_stays_the_same_to_its_last_digit_is_counted_also_where_it_makes_no_event() -> None:
    clock, thermometer = VirtualClock(), Thermometer(20.0)
    async with running(thermometer_plan(thermometer), clock) as (sensor, _):
        await clock.advance(595)
        assert sensor.unchanged_s == 595
        thermometer.readings = [20.0625]
        await clock.advance(20)
        assert sensor.unchanged_s == 15
        thermometer.readings = [SensorError("unplugged")]
        await clock.advance(10)
        assert sensor.unchanged_s == 0


async def test_a_high_temperature_is_no_active_level() -> None:
    clock, thermometer = VirtualClock(), Thermometer(80.0, 80.1, 80.2, 80.3)
    async with running(thermometer_plan(thermometer), clock) as (sensor, told):
        await clock.advance(25)
        assert "temperature.high (initial)" in told.names
        assert sensor.unchanged_s == 5
