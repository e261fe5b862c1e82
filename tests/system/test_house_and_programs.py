"""A house on a virtual clock and the real programs invoke the same, whatever happens: random scenarios in both.

Real are the broker (Mosquitto), the agents and the dispatcher with their disks and connections, the gateway and the
functions' processes; only the pins are mocks. One running house serves all examples. Each has mappings with names of
its own, so that no cooldown and nothing that waits is left of the one before, and ends with every sensor at rest.

Compared are the invocations of each lane in their order, and what was posted. Times are not: both have their own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bridge.clock import RealClock
from bridge.local import Local, plan
from bridge.testing import Files, House, find
from bridge.testing.scenarios.happenings import Answers, Happening, OfBroker, Sees, happen
from bridge.testing.scenarios.running import RunningHouse
from bridge.testing.scenarios.words import answer
from tests.real_parts import require

T = TypeVar("T")

AGENTS: Final = {
    "pi-1": "front-door: {kind: pir, pin: 17, warm_up: 0s, debounce: 0s}, bell: {kind: button, pin: 22, debounce: 0s}",
    "pi-2": "gate: {kind: laser-tripwire, pin: 27, debounce: 0s}, water: {kind: digital, pin: 5, debounce: 0s},"
    " front-door: {kind: pir, pin: 17, warm_up: 0s, debounce: 0s}",
}
WORDS: Final = {
    ("pi-1", "front-door"): ("still", "motion"),
    ("pi-1", "bell"): ("release", "press"),
    ("pi-2", "gate"): ("restore", "break"),
    ("pi-2", "water"): ("off", "on"),
    ("pi-2", "front-door"): ("still", "motion"),
}
"""Of each sensor the word that brings it to rest, and the other one."""
DISPATCHER: Final = "version: 1\nstate_dir: state\nmappings: mappings.yaml\nbreaker: {failures: 100000}\n"
"""Attempts that fail on purpose in many lanes at once are no reason to park the function."""
FUNCTIONS: Final = ("first", "second")
STACK: Final = "version: 1.0\nprovider: {name: openfaas}\nfunctions:\n" + "".join(
    f"  {name}: {{lang: python3-http, handler: ./noted, image: noted, environment: {{name: {name}, file: FILE}}}}\n"
    for name in FUNCTIONS
)
HANDLER: Final = """
import json
import os


def handle(event, context):
    headers = {name.lower(): value for name, value in event.headers.items()}
    line = {"function": os.environ["name"], "headers": headers, "body": event.body.decode()}
    with open(os.environ["file"], "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\\n")  # one write: lines of two processes never mix
    return {"statusCode": 200}
"""
PATIENCE_S: Final = 60.0
"""So long a machine that is very busy may take for one example."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What a function was asked: what of it does not differ from one run to the next."""

    function: str
    mapping: str
    source: str
    payload: str

    @classmethod
    def of(cls, function: str, headers: Mapping[str, str], body: str) -> Posted:
        mapping = headers["idempotency-key"].rpartition(":")[2]
        if headers["content-type"].startswith("application/cloudevents"):
            event = json.loads(body)
            same = {name: event[name] for name in ("specversion", "type", "subject", "datacontenttype", "data")}
            return cls(function, mapping, event["source"], json.dumps(same, sort_keys=True))
        return cls(function, mapping, headers["ce-source"], f"{headers['ce-type']} {headers['content-type']} {body}")


Lanes: TypeAlias = dict[tuple[str, str], list[Posted]]


def lanes(posted: Sequence[Posted], mappings: Mapping[str, Any]) -> Lanes:
    """The invocations of each lane in their order; of a mapping without order, sorted."""
    found: Lanes = defaultdict(list)
    for one in posted:
        found[one.mapping, one.source].append(one)
    for (mapping, _), several in found.items():
        if mappings[mapping]["order"] == "none":
            several.sort(key=lambda one: (one.function, one.payload))
    return dict(found)


class Programs:
    """The real programs, on a loop of their own in another thread."""

    def __init__(self, folder: Path) -> None:
        self._mappings = folder / "config" / "mappings.yaml"
        self._noted = folder / "noted"
        self._plan = plan(folder / "config", folder / "state", "auto", "mosquitto")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="the real programs")
        self._read_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._local = self._on_loop(self._start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            self._on_loop(self._stop())
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, mappings: str, happenings: Sequence[Happening], events: int) -> list[Posted]:
        """What functions were asked in one example, which makes so many events."""
        return self._on_loop(self._run(mappings, happenings, events))

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * PATIENCE_S)

    async def _start(self) -> Local:
        local = await Local(self._plan, clock=RealClock("always")).__aenter__()
        self._house = await RunningHouse(local.control.url, local.dispatcher.url).__aenter__()
        await _eventually(lambda: not local.health.not_ready())
        # What the sensors tell when they are found at start is not of any example.
        await _eventually(lambda: _judged(local) == _accepted(local) == len(WORDS))
        return local

    async def _stop(self) -> None:
        await self._house.__aexit__()
        await self._local.__aexit__(None, None, None)

    async def _run(self, mappings: str, happenings: Sequence[Happening], events: int) -> list[Posted]:
        local, dispatcher = self._local, self._local.dispatcher
        before = _judged(local)
        assert _accepted(local) == before, "an event came when nothing happened any more"
        self._mappings.write_text(mappings, encoding="utf-8")
        await dispatcher.reload()
        assert dispatcher.mapping_problem is None
        await self._house.post("/v1/functions", answers="well again")
        for what in happenings:
            await self._house.let(what)
        await _eventually(lambda: _judged(local) - before >= events and _judged(local) == _accepted(local))
        assert _judged(local) - before == events
        await _eventually(lambda: dispatcher.ledger.open_invocations == dispatcher.ledger.waiting)
        with self._noted.open("rb") as file:
            file.seek(self._read_bytes)
            noted = file.read()
        self._read_bytes += len(noted)
        return [Posted.of(**json.loads(line)) for line in noted.splitlines()]


async def _eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "the real programs did not come to rest"
        await asyncio.sleep(0.005)


def _judged(local: Local) -> int:
    return int(local.dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_events_total") or 0)


def _accepted(local: Local) -> int:
    return sum(agent.counters.accepted for agent in local.agents.values())


def in_a_house(folder: Path, mappings: str, happenings: Sequence[Happening]) -> tuple[list[Posted], int]:
    """What functions are asked on a virtual clock, and how many events there are."""
    files = Files(
        root=folder, agents=[str(folder / "config" / "agent-*.yaml")], mappings=mappings + "\n", dispatcher=DISPATCHER
    )
    with House(find(files)) as house:
        house.settle()
        for what in happenings:
            happen(house, what)
            house.advance(0.01)
        house.advance("1m")
        posted = [
            Posted.of(one.function, {name.lower(): value for name, value in one.headers.items()}, one.body.decode())
            for one in house.invocations
            if one.outcome == "succeeded"
        ]
        return posted, len(house.events)


# Random scenarios.

places = st.sampled_from(list(WORDS))


def sees(place: tuple[str, str], active: bool) -> Sees:
    return Sees(*place, WORDS[place][active])


def fails(function: str, times: int) -> Answers:
    words = f"503 times {times}"
    return Answers(function, words, answer(words))


steps = st.builds(sees, places, st.booleans())
happening = st.one_of(steps, steps, steps, steps, st.builds(fails, st.sampled_from(FUNCTIONS), st.integers(1, 3)))
selects = st.fixed_dictionaries(
    {"event": st.sampled_from(["*", "*.detected", "motion.*", "beam.broken", "button.*", "digital.on"])},
    optional={
        "node": st.sampled_from(["pi-1", "pi-*"]),
        "sensor": st.sampled_from(["front-door", "gate", "*o*"]),
    },
)
payloads = st.sampled_from(["event", "data", {"template": "${data.kind} ${sensor} of ${node}: ${data.value}"}])
mapping = st.fixed_dictionaries(
    {
        "select": selects | st.lists(selects, min_size=2, max_size=2),
        "invoke": st.builds(
            lambda function, payload: {"function": function, "payload": payload}, st.sampled_from(FUNCTIONS), payloads
        ),
        "order": st.sampled_from(["sensor", "sensor", "sensor", "none"]),
        "retry": st.just({"attempts": 20, "first": "10ms", "max": "50ms"}),
    },
    optional={
        "when": st.sampled_from(["data.value == true", "data.value == false", "data.kind == 'pir'", "node == 'pi-2'"]),
        "cooldown": st.just("1h"),  # per sensor: which sensor is first is for no lane to say
        "for": st.just("1h"),
        "shadow": st.booleans(),
        "enabled": st.booleans(),
    },
)

EVERYTHING: Final = {
    "select": {"event": "*"},
    "invoke": {"function": "first", "payload": "event"},
    "order": "sensor",
    "retry": {"attempts": 20, "first": "10ms", "max": "50ms"},
}
ABROAD: Final = [
    OfBroker("stop"),
    *(sees(place, active) for active in (True, False, True) for place in WORDS),
    OfBroker("start"),
    *(sees(place, False) for place in WORDS),
]
"""The broker is away while every sensor sees something."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the house."""
    made = tmp_path_factory.mktemp("both")
    (made / "config").mkdir()
    (made / "functions" / "noted").mkdir(parents=True)
    (made / "noted").touch()
    texts = {
        f"config/agent-{node}.yaml": f"version: 1\nnode: {node}\nsensors: {{{sensors}}}\n"
        for node, sensors in AGENTS.items()
    }
    texts["config/mappings.yaml"] = json.dumps({"version": 1, "mappings": {"before": {**EVERYTHING, "when": "false"}}})
    texts["config/dispatcher.yaml"] = DISPATCHER
    texts["functions/stack.yml"] = STACK.replace("FILE", str(made / "noted"))
    texts["functions/noted/handler.py"] = HANDLER
    for file, text in texts.items():
        (made / file).write_text(text, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def programs(folder: Path) -> Iterator[Programs]:
    """The real programs, for all examples."""
    require("mosquitto")
    with Programs(folder) as running:
        yield running


numbers = iter(range(1_000_000))


@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mappings=st.lists(mapping, min_size=1, max_size=4), happenings=st.lists(happening, max_size=25))
@example(mappings=[EVERYTHING], happenings=ABROAD)
def test_a_house_and_the_real_programs_invoke_the_same_in_the_same_order_per_lane(
    folder: Path, programs: Programs, mappings: list[dict[str, Any]], happenings: list[Happening]
) -> None:
    example_ = next(numbers)
    named = {f"m{example_}-{number}": one for number, one in enumerate(mappings)}
    text = json.dumps({"version": 1, "mappings": named})
    scenario = [*happenings, *(sees(place, active=False) for place in WORDS)]
    virtual, events = in_a_house(folder, text, scenario)
    real = programs.run(text, scenario, events)
    assert lanes(real, named) == lanes(virtual, named)
    assert Counter(real) == Counter(virtual)
