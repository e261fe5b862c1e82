"""Scenarios in a running house, in real time: the same files as on the virtual clock, one after the other.

What is expected is decided by what the dispatcher tells on its feed, and by the times that it tells.

Such a house has a past. Before each scenario the broker is started, functions answer for themselves, every sensor that
was driven is brought to rest, and what is under way may end. What cannot be brought to rest, a cooldown or a `for` that
waits, is told with the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self

from bridge.clock import Clock
from bridge.config import duration
from bridge.dispatcher.feed import RING
from bridge.errors import BridgeError, ConfigError, NotRunning, Problem
from bridge.testing.feed_listener import FeedListener
from bridge.testing.scenarios.expectations import SHOWN
from bridge.testing.scenarios.heard import Heard
from bridge.testing.scenarios.run import Prepared, Result
from bridge.testing.scenarios.running import RunningHouse, refused
from bridge.testing.scenarios.timeline import Expectation, Moment
from bridge.testing.scenarios.verdicts import LATE_S, Awaited, Verdicts
from bridge.testing.sensor import rest_s, settles_s
from bridge.testing.story import Story

CONNECT_S: Final = 5.0
QUIET_S: Final = 0.3
"""When the dispatcher has told nothing for so long, nothing more comes of what was."""
ENDS_S: Final = 20.0
"""How long what is under way may take to end before a scenario."""
COOLS_S: Final = 30.0
"""A cooldown of which no more is left is waited for."""
TOLD_S: Final = 2.0
"""Whoever waits longer is told what for."""
_LOOK_S: Final = 0.05


class LiveHouse:
    """A running house for scenarios; an async context manager. `say` is told what is waited for.

    When it is left, the house is put back: the broker runs, functions answer for themselves, sensors are at rest.
    Raises NotRunning where nobody answers, at the start and whenever that turns out.
    """

    def __init__(self, control: str, dispatcher: str, clock: Clock, say: Callable[[str], None]) -> None:
        self._house = RunningHouse(control, dispatcher)
        self._clock = clock
        self._say = say
        self._heard = Heard()
        self._heard_at = clock.monotonic()
        self._gap: str | None = None
        self._listener = FeedListener(dispatcher, clock, heard=self._hear, gap=self._broke, last=RING)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._house)
            await self._house.look()  # says best who is not there
            listening = asyncio.create_task(self._listener.run(), name="scenarios listen")
            stack.push_async_callback(_ended, listening)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listener.tried.wait(), CONNECT_S)
            if not self._listener.connected:
                raise NotRunning(self._listener.problem or "the dispatcher tells nothing")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, NotRunning):
                await self._put_back()
        finally:
            await self._stack.aclose()

    async def check(self, prepared: Prepared) -> list[Problem]:
        """What of a scenario cannot be had here."""
        return refused(prepared, await self._house.look())

    async def run(self, prepared: Prepared) -> Result:
        """Let a scenario happen. Raises ConfigError for a step that cannot happen."""
        notes = await self._rest(prepared)
        cooling = await self._cool(prepared)
        since, missed = len(self._heard.lines), self._heard.missed
        began_s, began_at = self._clock.monotonic(), self._clock.now()
        expectations: list[Awaited] = []
        for moment in prepared.moments:
            await self._clock.sleep(max(0.0, began_s + moment.at_s - self._clock.monotonic()))
            self._still_there()
            if not isinstance(moment.what, Expectation):
                await self._happen(moment)
            elif not moment.ends:
                expectations.append(Awaited(moment.what, self._clock.now()))
        passed_s = self._clock.monotonic() - began_s
        await self._clock.sleep(LATE_S + _LOOK_S)
        self._still_there()
        story = Story(lambda _: None)
        story.lines.extend(self._heard.lines[since:])
        told = [one for one in self._heard.told(prepared.mappings) if one.at >= began_at]
        failures = Verdicts(prepared, told, story).failures(expectations)
        if self._heard.missed > missed:
            count = self._heard.missed - missed
            failures.append(f"{prepared.scenario.place}: {count} lines of the feed came too fast to be heard")
        notes += [note for name, note in cooling.items() if _cooled(story, name)]
        happened = "\n".join(story.happened())
        return Result(prepared.scenario, tuple(failures), round(passed_s, 3), happened, tuple(notes))

    async def _happen(self, moment: Moment) -> None:
        assert not isinstance(moment.what, Expectation)
        try:
            await self._house.let(moment.what)
        except NotRunning:
            raise
        except BridgeError as error:  # the device does not do that
            node = moment.node
            raise ConfigError([Problem(node.file, node.line, node.column, "", str(error))]) from error

    # Rest.

    async def _rest(self, prepared: Prepared) -> list[str]:
        """Bring everything to rest; what cannot be, for people."""
        await self._put_back()
        left_s = await self._settling_s(prepared)
        if left_s > TOLD_S:
            self._say(f"the sensors come to rest: {duration(round(left_s, 1))}")
        await self._clock.sleep(max(0.0, left_s))
        return [*await self._quiet(), *(f"{waits} since before" for waits in self._heard.waiting())]

    async def _cool(self, prepared: Prepared) -> dict[str, str]:
        """Wait for cooldowns that end soon; what is left of the others, by their mappings."""
        left = self._heard.cooling(prepared.mappings, self._clock.now())
        soon_s = max((left_s for left_s in left.values() if left_s <= COOLS_S), default=0.0)
        if soon_s > TOLD_S:
            self._say(f"cooldowns end: {duration(round(soon_s, 1))}")
        await self._clock.sleep(soon_s)
        left = self._heard.cooling(prepared.mappings, self._clock.now())
        return {
            name: f"{name} fired before, and {duration(round(left_s, 1))} of its cooldown were left"
            for name, left_s in left.items()
        }

    async def _put_back(self) -> None:
        """As if nobody had done anything to the house."""
        there = await self._house.look()
        if "/v1/functions" in there.posts:
            await self._house.post("/v1/functions", answers="well again")
        if "/v1/broker" in there.posts:
            await self._house.post("/v1/broker", do="start")
        for node, sensor in there.sensors():
            # Rest first: a sensor that is stuck no more sees what was done to it last.
            words = [sensor["rest"]] if sensor["seen"] not in (None, sensor["rest"]) else []
            for word in (*words, *(["unstuck"] if sensor["stuck"] else [])):
                await self._house.post("/v1/simulate", node=node, sensor=sensor["name"], value=word)

    async def _settling_s(self, prepared: Prepared) -> float:
        """How long it takes until every sensor tells that it is at rest."""
        there = await self._house.look()
        known = {
            (agent.node, name): (one, agent.virtual.get(name))
            for agent in prepared.plan.agents
            for name, one in agent.sensors.items()
        }
        left_s = 0.0
        for node, sensor in there.sensors():
            found = known.get((node, sensor["name"]))
            if found is not None:
                left_s = max(left_s, rest_s(*found) - there.nodes[node]["started_s"])
                if sensor["driven_s"] is not None:
                    left_s = max(left_s, settles_s(*found) - sensor["driven_s"])
                if sensor["warms_up_s"] > 0:  # its last pulse may be one of nothing
                    left_s = max(left_s, sensor["warms_up_s"] + settles_s(*found))
        return left_s

    async def _quiet(self) -> list[str]:
        """Wait until nothing is on its way any more; what still is after a while."""
        begun_s = self._clock.monotonic()
        said = False
        while True:
            self._still_there()
            there = await self._house.look()
            restless = [
                f"{name} has a backlog of {node['backlog']}" if node["backlog"] else f"{name}: {node['not_ready']}"
                for name, node in there.nodes.items()
                if node.get("backlog") or node.get("not_ready")
            ]
            restless += [f"{one} is under way" for one in self._heard.under_way()]
            if not restless and self._clock.monotonic() - self._heard_at >= QUIET_S:
                return []
            waited_s = self._clock.monotonic() - begun_s
            if waited_s > ENDS_S:
                return [f"{one} since before" for one in restless or ["something"]]
            if restless and waited_s > TOLD_S and not said:
                said = True
                self._say(f"waiting: {'; '.join(restless[:SHOWN])}")
            await self._clock.sleep(_LOOK_S)

    # The feed.

    def _hear(self, line: dict[str, Any]) -> None:
        self._heard_at = self._clock.monotonic()
        self._heard.take(line)

    def _broke(self, reason: str) -> None:
        self._gap = reason

    def _still_there(self) -> None:
        if self._gap is not None:
            raise NotRunning(f"what the dispatcher decided meanwhile is not known: {self._gap}")


def _cooled(story: Story, mapping: str) -> bool:
    """Whether a mapping has said no because of its cooldown."""
    return any(line.get("mapping") == mapping and line.get("clause") == "cooldown" for line in story.lines)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
