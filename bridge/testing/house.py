"""A house: every program of a site in one process, on a virtual clock; what the pytest plugin and scenarios stand on.

What runs is what runs in production: the agents with their filters and outboxes, on virtual boards, and the dispatcher
with its ledger, its journal and its traces. Replaced are three things alone: the broker (in memory), the clock, and the
gateway behind the invoker. Disks are used on the loop itself, so that two runs are the same to the last id.

Here is what a test asks, and time; the programs themselves are in programs.py.

A house begins to live when something is first asked of it. It has then been running for a while, with no mapping in
force: sensors have warmed up and told what they found, and nothing has fired. From there on a test takes over. Without
a mapping file it stays like that.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import orjson

from bridge.agent.agent import Agent
from bridge.clock import VirtualClock
from bridge.config import compose
from bridge.core.event import Event
from bridge.core.mapping import MappingSet
from bridge.core.plan import Judgement, explain
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.errors import BridgeError, ConfigError
from bridge.mapping_file import decode_mappings
from bridge.mapping_file.timezone import local_timezone
from bridge.mqtt.transport import Message
from bridge.testing.broker import RECONNECT_S, Broker
from bridge.testing.files import HousePlan
from bridge.testing.functions import Function, Recorder
from bridge.testing.handlers import Handlers
from bridge.testing.invocations import Invocations
from bridge.testing.loop import VirtualLoop
from bridge.testing.names import Names
from bridge.testing.pi import VirtualPi
from bridge.testing.programs import Programs
from bridge.testing.sensor import rest_s
from bridge.testing.story import Story, why_not
from bridge.testing.virtual_time import Span, VirtualTime, span_s
from bridge.virtual.board import VirtualBoard

T = TypeVar("T")

START: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
"""When a test begins that says nothing else."""

_CONFIRMED_S: Final = 1.5
"""How long after a commit a quiet house has nothing on its way any more: confirmations go out once a second."""
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a disk in memory; our folder in it is our own


class House:
    """One house; a context manager. Its methods are for ordinary functions: they drive the loop themselves.

    Called inside of a running loop (an asynchronous test), they do so on a thread of their own, and still return when
    everything has happened.
    """

    def __init__(self, plan: HousePlan, *, seed: int = 0, start: datetime = START) -> None:
        self.plan = plan
        self._seed = seed
        self._clock = VirtualClock(start)
        self._loop: VirtualLoop | None = None
        self._elsewhere: ThreadPoolExecutor | None = None
        self._begun = False
        self._closed = False
        self._folder: Path | None = None
        self._mappings = plan.mappings
        self._known: Names | None = None
        self._programs: Programs
        self._broker: Broker
        self._pis = {agent.node: VirtualPi(agent, self) for agent in plan.agents}
        self._time = VirtualTime(self._clock, self.advance, lambda: self._begun)
        self._handlers = Handlers(plan.functions, lambda: self._state / "secrets")
        self._recorder = Recorder(self._clock, self._handlers.load)
        self._story = Story(self._recorder.known)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What a test asks.

    @property
    def time(self) -> VirtualTime:
        """The clock: the fixture `virtual_clock`."""
        return self._time

    def pi(self, name: str) -> VirtualPi:
        """The virtual Pi of this node. Raises LookupError that says which there are."""
        if name not in self._pis:
            raise LookupError(f"there is no node {name}; there are {', '.join(self._pis)}")
        return self._pis[name]

    @property
    def pis(self) -> Mapping[str, VirtualPi]:
        """All virtual Pis by their names."""
        return self._pis

    def board(self, node: str) -> VirtualBoard:
        """A node's mock pins, and what is wired to them."""
        self._begin()
        return self._programs.boards[node]

    def agent(self, node: str) -> Agent:
        """A node's agent itself. Raises BridgeError after `kill_agent`."""
        self._begin()
        if node not in self._programs.agents:
            raise BridgeError(f"the agent of {node} is not running")
        return self._programs.agents[node]

    @property
    def broker(self) -> Broker:
        """The broker in memory: `stop()`, `start()`, `forget()`."""
        self._begin()
        return self._broker

    @property
    def dispatcher(self) -> Dispatcher:
        """The dispatcher itself. Raises BridgeError after `kill_dispatcher`."""
        self._begin()
        if self._programs.dispatcher is None:
            raise BridgeError("the dispatcher is not running")
        return self._programs.dispatcher

    @property
    def invocations(self) -> Invocations:
        """Everything that functions were asked since the test began."""
        return Invocations(lambda: self._recorder.recorded, self._why_nothing, self._names)

    @property
    def events(self) -> list[Event]:
        """Every sensor's event that the broker has got since the test began."""
        self._begin()
        return self._programs.ear.events

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """What the dispatcher decided since the test began, as `gpio-bridge up --json` prints it."""
        self._begin()
        return self._story.lines

    @property
    def dead_letters(self) -> list[dict[str, Any]]:
        """What was given up, oldest first: `reason`, `mapping`, `function`, `attempts`, `event`, ..."""
        return self._complete(self.dispatcher.dead_letters())

    def function(self, name: str) -> Function:
        """The function of this name, to tell it how to answer. Raises LookupError when there is no such function."""
        self._names().check_function(name)
        return self._recorder.function(name)

    def why(self, mapping: str) -> str:
        """Why a mapping did not fire, the newest reason first. Raises LookupError when there is no such mapping."""
        if mapping not in self.dispatcher.mappings.mappings:
            self._names().check_mapping(mapping)
        reasons = self._story.reasons(mapping)
        if reasons:
            return "\n".join(reasons)
        if fired := len(self.invocations.by(mapping)):
            return f"it has said no to nothing, and fired {fired} times"
        return why_not(self._story, self.events, [mapping], self._judge).removeprefix("; ")

    def happened(self) -> str:
        """What happened since the test began, one line each, for people."""
        return "\n".join(self._story.happened()) if self._begun else ""

    def publish(
        self,
        topic: str,
        payload: str | bytes | dict[str, Any] | list[Any],
        *,
        qos: Literal[0, 1] = 1,
        retain: bool = False,
    ) -> None:
        """Publish as any other MQTT device does; a dict or a list goes as JSON.

        Raises ConnectionError when the broker is not there.
        """
        self._begin()
        body = payload if isinstance(payload, bytes) else None
        if body is None:
            body = payload.encode() if isinstance(payload, str) else orjson.dumps(payload)
        message = Message(topic, body, qos=qos, retain=retain)
        self._do(lambda: self._programs.ear.publish(message))

    # Time.

    def advance(self, span: Span) -> None:
        """Let time pass; everything that is due happens, in its order."""
        self._begin()
        passed_s = span_s(span)
        self._on_loop(lambda loop: loop.pass_until(self._clock.monotonic() + passed_s))

    def settle(self) -> None:
        """Let everything happen that is due now, without time passing."""
        self.advance(0.0)

    # Programs that stop, die and start.

    def restart_dispatcher(self, *, wait: bool = True) -> None:
        """Stop the dispatcher, unless it is dead already, and start it on the same state folder."""
        self._begin()
        self._complete(self._programs.restart_dispatcher())
        self.advance(RECONNECT_S if wait else 0.0)

    def kill_dispatcher(self) -> None:
        """Kill the dispatcher: what it had not written is lost, what it had under way has no outcome."""
        killed = self.dispatcher
        self._do(lambda: self._programs.kill(killed))
        self._story.cut_off(self._recorder.recorded)

    def restart_agent(self, node: str) -> None:
        """Stop a node's agent, unless it is dead already, and start it: the same pins, the same state folder."""
        self._begin()
        self._complete(self._programs.restart_agent(node))
        self.settle()

    def kill_agent(self, node: str) -> None:
        """Kill a node's agent: what it had not written is lost, and what happens at its pins is seen by nobody."""
        killed = self.agent(node).settings.node
        self._do(lambda: self._programs.kill_agent(killed))

    def replace_mappings(self, text: str) -> None:
        """Save another mapping file while everything runs. Raises ConfigError when the dispatcher refuses it."""
        dispatcher = self.dispatcher
        self._programs.write_mappings(text)
        self._complete(dispatcher.reload())
        if dispatcher.mapping_problem is not None:
            raise ConfigError(dispatcher.mapping_problem.problems)
        self._mappings, self._known = text, None
        self.settle()

    def close(self) -> None:
        """Stop everything; the house cannot be used afterwards."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._loop is not None:
                self._close_loop(self._loop)
        finally:
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
            if self._elsewhere is not None:
                self._elsewhere.shutdown()

    def _close_loop(self, loop: VirtualLoop) -> None:
        try:
            self._complete(self._programs.stop())
        finally:
            self._programs.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            self._on_loop(lambda loop: loop.pass_until(self._clock.monotonic()))
            loop.close()

    # Starting.

    def _begin(self) -> None:
        """Live until now, with nothing to fire."""
        if self._loop is not None or self._closed:
            return
        self._loop = VirtualLoop(self._clock)
        self._programs = Programs(self.plan, self._state, self._clock, self._recorder, self._story, seed=self._seed)
        self._broker = Broker(self._programs.broker, self._do, self.advance)
        rest = self._rest_s()
        self._clock.set(self._clock.now() - timedelta(seconds=rest), synchronized=self._clock.synchronized())
        self._complete(self._programs.start())
        confirmed = self._confirmed_s()
        self.advance(rest - confirmed)
        if self.plan.mappings is not None:
            self.replace_mappings(self.plan.mappings)
        self.advance(confirmed)
        self._recorder.forget()
        self._story.lines.clear()
        self._programs.ear.events.clear()
        self._begun = True

    @property
    def _state(self) -> Path:
        """The folder of everything that the programs keep."""
        if self._folder is None:
            within = _MEMORY if _MEMORY.is_dir() else None
            self._folder = Path(tempfile.mkdtemp(prefix="gpio-bridge-house-", dir=within))
        return self._folder

    def _rest_s(self) -> float:
        rests = (
            rest_s(sensor, agent.virtual.get(name))
            for agent in self.plan.agents
            for name, sensor in agent.sensors.items()
        )
        return max(rests, default=0.0) + 2 * self._confirmed_s()

    def _confirmed_s(self) -> float:
        own = self.plan.dispatcher
        return _CONFIRMED_S + (own.commit_every_s if own is not None else 0.0)

    # Why.

    def _names(self) -> Names:
        """What there is by the mapping file as it stands, also before the house begins to live."""
        if self._known is None:
            text, name = self._mappings, self.plan.mappings_name
            mappings = MappingSet()
            if text is not None:
                mappings = decode_mappings(compose(text, name), local_timezone=local_timezone(), root=self.plan.root)
            self._known = Names.of(mappings, self.plan.functions)
        return self._known

    def _why_nothing(self, function: str | None, mapping: str | None) -> str:
        if not self._begun:
            return "; nothing has happened yet"
        dispatcher = self._programs.dispatcher
        if dispatcher is None:
            return "; the dispatcher is not running"
        wanted = [
            one.name
            for one in dispatcher.mappings.mappings.values()
            if function in (None, one.function) and mapping in (None, one.name)
        ]
        if not wanted:
            return f"; no mapping invokes {function}" if function is not None else f"; there is no mapping {mapping}"
        return why_not(self._story, self.events, wanted, self._judge)

    def _judge(self, event: Event) -> tuple[Judgement, ...]:
        dispatcher = self.dispatcher
        return explain(event, dispatcher.mappings, dispatcher.ledger.state, received_at=self._clock.now())

    # The loop.

    def _do(self, call: Callable[[], object]) -> None:
        """Make a call on the loop, and let follow what follows at once."""

        async def made() -> None:
            call()

        self._complete(made())
        self.settle()

    def _complete(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or self._loop.is_closed():
            work.close()
        return self._on_loop(lambda loop: loop.complete(work))

    def _on_loop(self, drive: Callable[[VirtualLoop], T]) -> T:
        if self._loop is None or self._loop.is_closed():
            raise BridgeError("this house is closed")
        work = partial(drive, self._loop)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            result = work()
        else:
            self._elsewhere = self._elsewhere or ThreadPoolExecutor(1, thread_name_prefix="a house")
            result = self._elsewhere.submit(work).result()
        self._programs.raise_failure()
        return result
