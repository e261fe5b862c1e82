"""The demonstration: every sensor of every virtual Pi is made to see something, and its function must really run.

What is waited for is the dispatcher's word that a function answered, and then the gateway's own count of its calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.analog import Analog
from bridge.agent.sensors.button import Button
from bridge.agent.sensors.digital import Digital
from bridge.agent.sensors.distance import Distance
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.pir import Pir
from bridge.agent.sensors.thermometer import Thermometer
from bridge.local import Local
from bridge.ulid import made_at
from bridge.virtual.rest import rest_word

MARGIN_S = 15.0
"""Beyond a sensor's own delays: starting a function's process takes a second or two on a slow machine."""
_COUNT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A function that was invoked and answered with success."""

    event: str
    mapping: str
    function: str
    status: int
    ms: float


@dataclass(slots=True)
class Step:
    """One sensor, what it is made to see, and what came of it."""

    node: str
    sensor: str
    kind: str
    value: str
    rest: str
    """What it sees when nothing happens, so that the next thing to happen is seen again."""
    deadline_s: float
    event: str = ""
    answers: list[Answer] = field(default_factory=list)
    why_not: str = "no event came"
    driven_at: datetime | None = None
    """Events made before the sensor was driven, such as the level found at start, do not count."""
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def passed(self) -> bool:
        """Whether at least one function was invoked and answered with success."""
        return bool(self.answers)


def steps(local: Local, margin_s: float = MARGIN_S) -> list[Step]:
    """One step for each sensor of each virtual Pi."""

    def step(node: str, name: str, sensor: SensorSettings) -> Step:
        value, needs_s = _stimulus(sensor)
        return Step(node, name, sensor.KIND, value, rest_word(sensor), needs_s + margin_s)

    return [
        step(node, name, sensor)
        for node, board in local.boards.items()
        for name, sensor in board.settings.sensors.items()
    ]


async def run(local: Local, done: Callable[[Step], None] = lambda _: None, *, margin_s: float = MARGIN_S) -> list[Step]:
    """Drive all sensors at once and wait for their functions; `done` hears of each step as it ends.

    A function may take `margin_s` beyond what its sensor needs by its settings.
    """
    planned = steps(local, margin_s)
    before = await _calls(local)
    watching = asyncio.create_task(_watch(local, planned), name="demo watches")
    try:
        await _settled(local, margin_s)
        await asyncio.gather(*(_step(local, step, done) for step in planned))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await _counted(local, planned, before)
    await asyncio.gather(*(local.boards[step.node].drive(step.sensor, step.rest) for step in planned))
    return planned


def table(planned: Sequence[Step]) -> str:
    """The outcome for people."""
    rows = [("", "SENSOR", "SAW", "EVENT", "FUNCTION", "STATUS", "MS")]
    for step in planned:
        who = (f"{step.node}/{step.sensor}", step.value)
        if not step.passed:
            rows.append(("MISSING", *who, step.event or "-", step.why_not, "", ""))
        for answer in step.answers:
            called = f"{answer.function} ({answer.mapping})"
            rows.append(("ok", *who, answer.event, called, str(answer.status), f"{answer.ms:.0f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:<{widths[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows)


def _stimulus(sensor: SensorSettings) -> tuple[str, float]:
    """What to make a sensor see, and how long it may take until it says so."""
    match sensor:
        case Pir():
            return "motion", sensor.warm_up_s + sensor.debounce_s
        case LaserTripwire():
            return "break", sensor.debounce_s
        case Button():
            return "press", sensor.debounce_s
        case Digital():
            return "on", sensor.delayed_on_s
        case Thermometer():
            above = 31.0 if sensor.high is None else sensor.high + 5
            return f"{above:g}", (1 + sensor.median) * sensor.every_s
        case Analog():
            return f"{sensor.offset + 0.8 * sensor.factor:g}", (1 + sensor.median) * sensor.every_s
        case Distance():
            near = 20.0 if sensor.near is None else max(2.0, sensor.near / 2)
            return f"{near:g}", (1 + sensor.median) * sensor.every_s


async def _step(local: Local, step: Step, done: Callable[[Step], None]) -> None:
    step.driven_at = datetime.now(UTC)
    await local.boards[step.node].drive(step.sensor, step.value)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(step.answered.wait(), step.deadline_s)
    done(step)


async def _watch(local: Local, planned: Sequence[Step]) -> None:
    """Note in the steps what the dispatcher tells."""
    by_sensor: dict[tuple[object, object], Step] = {(step.node, step.sensor): step for step in planned}
    async for lines in local.dispatcher.feed.follow():
        for line in lines:
            step = by_sensor.get((line.get("node"), line.get("sensor")))
            if step is not None and _since(step, line.get("event_id")):
                _note(step, line)


def _since(step: Step, event_id: object) -> bool:
    """Whether the event was made after the sensor was driven: its id begins with its time, in milliseconds (ULID)."""
    if step.driven_at is None or not isinstance(event_id, str):
        return False
    return made_at(event_id) >= step.driven_at.replace(microsecond=step.driven_at.microsecond // 1000 * 1000)


def _note(step: Step, line: dict[str, object]) -> None:
    status = line.get("status")
    match line.get("type"):
        case "event":
            step.why_not = f"no mapping fires for {line.get('event')}"
            step.event = step.event or str(line.get("event"))
        case "attempt":
            step.why_not = f"{line.get('function')} has not answered"
        case "retry" | "deadletter":
            step.why_not = f"{line.get('function')}: {line.get('reason')}"
        case "invocation" if isinstance(status, int) and 200 <= status < 300:
            took_s = line.get("duration_s")
            took_ms = took_s * 1000 if isinstance(took_s, float) else 0.0
            event, mapping, function = (str(line.get(name)) for name in ("event", "mapping", "function"))
            step.answers.append(Answer(event, mapping, function, status, took_ms))
            step.answered.set()
        case _:
            pass


async def _settled(local: Local, margin_s: float) -> None:
    """Wait until every program is ready and no sensor warms up: before that, a sensor says nothing on purpose."""
    waits = [
        sensor.warm_up_s
        for board in local.boards.values()
        for sensor in board.settings.sensors.values()
        if isinstance(sensor, Pir)
    ]
    deadline = asyncio.get_running_loop().time() + max(waits, default=0.0) + margin_s
    while asyncio.get_running_loop().time() < deadline:
        states = [known.state.health for agent in local.agents.values() for known in agent.sensors.values()]
        if not local.health.not_ready() and all(health == "ok" for health in states):
            return
        await asyncio.sleep(0.05)


async def _calls(local: Local) -> dict[str, int]:
    """How often each function was called, by the gateway's own count."""
    async with httpx.AsyncClient(base_url=local.gateway.url, trust_env=False, timeout=5.0) as client:
        answer = await client.get("/system/functions")
        answer.raise_for_status()
        return {found["name"]: int(found.get("invocationCount", 0)) for found in answer.json()}


async def _counted(local: Local, planned: Sequence[Step], before: dict[str, int]) -> None:
    """Believe an answer only if the gateway counted a call of that function; its count may lag a moment."""
    wanted = {answer.function for step in planned for answer in step.answers}
    deadline = asyncio.get_running_loop().time() + _COUNT_S
    while True:
        now = await _calls(local)
        lacking = {name for name in wanted if now.get(name, 0) <= before.get(name, 0)}
        if not lacking or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.1)
    for step in planned:
        kept = [answer for answer in step.answers if answer.function not in lacking]
        if step.answers and not kept:
            step.why_not = "the gateway has counted no call"
        step.answers[:] = kept
