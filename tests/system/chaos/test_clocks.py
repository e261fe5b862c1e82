"""Jumps of the wall clock under mappings that look at time: nothing fires, is lost or grows too old by a jump alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.real_parts import require_none_missing
from tests.system.chaos import clocks
from tests.system.chaos.clocks import DAY_S, WallClock
from tests.system.processes import Program, until
from tests.system.programs import Call, Site, wait_s

pytestmark = pytest.mark.real("mosquitto")

FOR_S = 4.0
SEEN_S = 0.5
"""What a program does by itself now and then it has done after this, too."""
SENSORS = {
    name: {"kind": "pir", "pin": pin, "warm_up": "0s", "hold": "0s"}
    for name, pin in (("stays", 17), ("hot", 27), ("old", 22), ("moved", 23))
}
DETECTED = {"event": "motion.detected"}
MAPPINGS = {
    "for": {"select": {"sensor": "stays", **DETECTED}, "for": f"{FOR_S:g}s", "invoke": "seen"},
    "cooldown": {"select": {"sensor": "hot", **DETECTED}, "cooldown": "1h", "invoke": "seen"},
    "max-age": {
        "select": {"sensor": "old", **DETECTED},
        "max_age": "1m",
        "invoke": "other",
        "retry": {"attempts": 100, "first": "100ms", "max": "200ms"},
    },
    "plain": {"select": {"sensor": "moved", **DETECTED}, "invoke": "seen"},
}


class Clocked:
    """A site whose agent and dispatcher each have a wall clock of their own."""

    def __init__(self, folder: Path) -> None:
        self.clocks = {name: WallClock(folder, name) for name in ("agent-pi-1", "dispatcher")}
        self.site = Site(
            folder,
            agents={"pi-1": {"sensors": SENSORS, **self.clocks["agent-pi-1"].settings}},
            mappings=MAPPINGS,
            functions=("seen", "other"),
            dispatcher=self.clocks["dispatcher"].settings,
        )
        for program in (self.site.dispatcher, self.site.agent):
            program.variables |= self.clocks[program.name].variables

    def jump(self, program: Program, by_s: float) -> None:
        self.clocks[program.name].jump(by_s)
        wait_s(SEEN_S)

    def seen(self, sensor: str) -> None:
        """The sensor sees something once more."""
        self.site.agent.drive(sensor, "off")
        self.site.agent.drive(sensor, "on")

    def calls(self, mapping: str) -> list[Call]:
        return [call for call in self.site.calls() if call.mapping == mapping]

    def told(self) -> str:
        return self.site.told()


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[Clocked]:
    require_none_missing(clocks.why_not())
    made = Clocked(tmp_path)
    with made.site:
        yield made


def happened_at(call: Call) -> datetime:
    return datetime.fromisoformat(call.body["time"])


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_jump_of_the_dispatchers_clock_neither_fires_nor_loses_nor_expires_anything(
    clocked: Clocked, by_s: float
) -> None:
    site = clocked.site
    site.gateway.order("500", "other")
    began = time.monotonic()
    for sensor in ("stays", "hot", "old"):
        clocked.seen(sensor)
    until(lambda: site.dispatcher.gauge("waiting") == 1, "its `for` waits", told=clocked.told)
    until(lambda: clocked.calls("cooldown") and clocked.calls("max-age"), "the others are under way")

    clocked.jump(site.dispatcher, by_s)
    assert clocked.calls("for") == [], "it has fired early"
    until(lambda: clocked.calls("for"), "it fires when it held", told=clocked.told)
    assert time.monotonic() - began >= FOR_S
    clocked.seen("hot")
    clocked.seen("moved")
    until(lambda: clocked.calls("plain"), "what comes after the jump arrives", told=clocked.told)
    site.gateway.order("ok", "other")
    until(lambda: [call.answer for call in clocked.calls("max-age")][-1:] == ["ok"], "nothing grew too old")
    clocked.jump(site.dispatcher, 0)
    site.quiet()
    assert len(clocked.calls("cooldown")) == 1, "it still cools down"
    assert len(clocked.calls("for")) == 1
    counted = site.dispatcher.metrics().items()
    drops = [name for name, count in counted if name.startswith("gpio_bridge_events_dropped_total{") and count]
    assert drops == []


def test_what_a_dispatcher_whose_clock_is_behind_receives_waits_no_longer_than_its_for(clocked: Clocked) -> None:
    site = clocked.site
    clocked.jump(site.dispatcher, -DAY_S)
    began = time.monotonic()
    clocked.seen("stays")
    until(lambda: clocked.calls("for"), "it fires", told=clocked.told)
    assert time.monotonic() - began >= FOR_S - 0.1


def test_a_jump_of_the_agents_clock_loses_nothing_and_is_over_when_it_is_right_again(clocked: Clocked) -> None:
    site = clocked.site
    clocked.seen("hot")
    until(lambda: clocked.calls("cooldown"), "it fires")
    clocked.jump(site.agent, -DAY_S)
    clocked.seen("moved")
    clocked.seen("hot")
    until(lambda: len(clocked.calls("cooldown")) == 2, "by event time an hour has passed", told=clocked.told)
    until(lambda: clocked.calls("plain"), "it arrives", told=clocked.told)
    off = happened_at(clocked.calls("plain")[0]) - datetime.now(UTC)
    assert abs(off - timedelta(days=-1)) < timedelta(seconds=30), "the clock of the agent did jump"

    clocked.jump(site.agent, 0)
    clocked.seen("moved")
    clocked.seen("hot")
    until(lambda: len(clocked.calls("plain")) == 2, "it arrives", told=clocked.told)
    site.quiet()
    assert len(clocked.calls("cooldown")) == 2, "by event time it cools down since the first"


def test_rule_4_an_agent_that_boots_in_1970_tells_the_right_time_of_what_waited(clocked: Clocked) -> None:
    site, agent = clocked.site, clocked.site.agent
    agent.kill()
    clocked.clocks[agent.name].start_in_1970()
    agent.start()
    agent.ready()
    clocked.seen("moved")
    until(lambda: clocked.calls("plain"), "it arrives", told=clocked.told)
    first: dict[str, Any] = clocked.calls("plain")[0].body
    assert (first["timesynced"], first["time"][:4]) == (False, "1970")

    site.broker.stop()
    at = datetime.now(UTC)
    clocked.seen("moved")
    clocked.clocks[agent.name].set_right()
    wait_s(SEEN_S)
    site.broker.start()
    until(lambda: len(clocked.calls("plain")) == 2, "it arrives", told=clocked.told)
    second: dict[str, Any] = clocked.calls("plain")[1].body
    assert second["timesynced"] is True
    assert abs(datetime.fromisoformat(second["time"]) - at) < timedelta(seconds=5), "corrected before it was sent"
