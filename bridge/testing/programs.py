"""The programs of a house: started, stopped, killed, watched. Everything here runs on the house's loop.

Order of starting: the broker; the dispatcher, so that it has subscribed before anything is said; the agents. Stopping
is the way back, as in bridge/local.py.
"""

from __future__ import annotations

import asyncio
import string
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, Final

from bridge.agent.agent import Agent
from bridge.clock import VirtualClock
from bridge.core.topics import Topics, client_id
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.mqtt.memory import MemoryBroker
from bridge.testing.ear import Ear
from bridge.testing.files import HousePlan, placed
from bridge.testing.functions import Recorder
from bridge.testing.story import Story
from bridge.ulid import mint
from bridge.virtual.board import VirtualBoard

AT_REST: Final = """
version: 1
mappings:
  nothing-fires-before-the-test:
    select: {event: "*"}
    when: "false"
    invoke: nobody
"""
"""The mapping file of a house before its test: events are taken in and remembered, and nothing is invoked."""

_EPOCH_LETTERS: Final = string.ascii_lowercase + string.digits


class Programs:
    """Agents on their boards and a dispatcher, around a broker in memory. `seed` makes their ids and their jitter."""

    def __init__(
        self, plan: HousePlan, state: Path, clock: VirtualClock, recorder: Recorder, story: Story, *, seed: int
    ) -> None:
        self.broker = MemoryBroker(clock)
        self.ear = Ear(self.broker, Topics(plan.root))
        self.boards: dict[str, VirtualBoard] = {}
        self.agents: dict[str, Agent] = {}
        """Those that were not killed."""
        self.dispatcher: Dispatcher | None = None
        """None when it was killed."""
        self._agents_settings, self._dispatcher_settings = placed(plan, state)
        self._state = state
        self._clock = clock
        self._recorder = recorder
        self._story = story
        self._random = Random(seed)  # noqa: S311 - jitter and ids that are the same in every run
        self._watchers: dict[object, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None

    async def start(self) -> None:
        """Start everything, with no mapping in force."""
        await self.ear.transport.__aenter__()
        self.write_mappings(AT_REST)
        await self._start_dispatcher()
        for settings in self._agents_settings:
            self.boards[settings.node] = VirtualBoard(settings, virtual_clock=self._clock, within=self._state)
            await self._start_agent(settings.node)

    async def stop(self) -> None:
        """Stop everything; the boards are closed afterwards."""
        for agent in self.agents.values():
            await self._stop(agent)
        if self.dispatcher is not None:
            await self._stop(self.dispatcher)
        await self.ear.transport.__aexit__()

    def close(self) -> None:
        """Let go of the pins."""
        for board in self.boards.values():
            board.close()

    async def restart_agent(self, node: str) -> None:
        """Stop an agent, unless it is dead, and start it on the same board and the same state folder."""
        if node in self.agents:
            await self._stop(self.agents.pop(node))
        await self._start_agent(node)

    def kill_agent(self, node: str) -> None:
        """Kill an agent where it stands."""
        agent = self.agents.pop(node)
        self._watchers.pop(agent).cancel()
        self.broker.kill(client_id(agent.settings.site, "agent", node))
        agent.abandon()

    async def restart_dispatcher(self) -> None:
        """Stop the dispatcher, unless it is dead, and start it on the same state folder."""
        stopping, self.dispatcher = self.dispatcher, None
        if stopping is not None:
            await self._stop(stopping)
        await self._start_dispatcher()

    def kill(self, dispatcher: Dispatcher) -> None:
        """Kill the dispatcher where it stands."""
        self.dispatcher = None
        self._watchers.pop(dispatcher).cancel()
        self.broker.kill(client_id(dispatcher.settings.site, "dispatcher"))
        dispatcher.abandon()

    def write_mappings(self, text: str) -> None:
        """Save a mapping file; it is in force when the dispatcher has read it."""
        (self._state / "mappings.yaml").write_text(text, encoding="utf-8")

    def raise_failure(self) -> None:
        """Raise what a program failed with since the last time, if any."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    async def _start_dispatcher(self) -> None:
        dispatcher = Dispatcher(
            self._dispatcher_settings,
            clock=self._clock,
            connect=self.broker.connect,
            invoker=self._recorder,
            randomness=Random(self._random.random()),  # noqa: S311 - jitter
            mint_id=self._mint_id,
        )
        await dispatcher.__aenter__()
        keep_trace, keep = dispatcher.feed.keep, self._story.keep

        def keep_both(row: tuple[Any, ...]) -> None:
            keep(row)
            if keep_trace is not None:
                keep_trace(row)

        dispatcher.feed.keep = keep_both
        self.dispatcher = dispatcher
        self._watch(dispatcher, dispatcher.failed())

    async def _start_agent(self, node: str) -> None:
        board = self.boards[node]
        agent = Agent(
            board.settings,
            clock=self._clock,
            connect=self.broker.connect,
            board=board,
            mint_id=self._mint_id,
            epoch="".join(self._random.choice(_EPOCH_LETTERS) for _ in range(8)),
        )
        self.agents[node] = await agent.__aenter__()
        self._watch(agent, agent.failed())

    async def _stop(self, program: Agent | Dispatcher) -> None:
        self._watchers.pop(program).cancel()
        await program.__aexit__(None, None, None)

    def _watch(self, program: object, failed: Coroutine[Any, Any, None]) -> None:
        """A program that fails fails the test."""

        def note(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and self._failure is None:
                self._failure = task.exception()

        self._watchers[program] = asyncio.get_running_loop().create_task(failed, name="the house watches")
        self._watchers[program].add_done_callback(note)

    def _mint_id(self) -> str:
        return mint(self._clock.now(), self._random.randbytes(10))
