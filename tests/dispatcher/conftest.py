"""A dispatcher over an in-memory broker, with an invoker that records and answers as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

from bridge.clock import RealClock, Timer
from bridge.core.event import Event, Observation, encode
from bridge.core.invocation import Invocation
from bridge.core.retry import Outcome, Verdict
from bridge.core.topics import SensorEventTopic, Topics
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.invoker import Done
from bridge.dispatcher.settings import DispatcherSettings, HttpSettings
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Delivery, Message, Subscription, Transport

TOPICS = Topics()
ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 3, first: 10ms, max: 20ms}
"""
"""One mapping, with three quick attempts."""
OK = Outcome(verdict=Verdict.SUCCEEDED, status=200, reason="", duration_s=0.001)


def failing(status: int | None, verdict: Verdict = Verdict.RETRYABLE) -> Outcome:
    return Outcome(verdict=verdict, status=status, reason=f"HTTP {status}", duration_s=0.001)


async def until(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    """Wait for a condition; the deadline is only for a failing test."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - the condition is any state of the program
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {what}") from None


class RecordingInvoker:
    """Answers with `answer(invocation, attempt)`; keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.answer: Callable[[Invocation, int], Outcome] = lambda invocation, attempt: OK
        self.hold: asyncio.Event | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.give_up()

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        self.calls.append((invocation.id, invocation.function, attempt))
        task = asyncio.create_task(self._attempt(invocation, attempt, done))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def give_up(self) -> None:
        for task in self._under_way:
            task.cancel()

    async def _attempt(self, invocation: Invocation, attempt: int, done: Done) -> None:
        if self.hold is not None:
            await self.hold.wait()
        done(self.answer(invocation, attempt))

    @property
    def ids(self) -> list[str]:
        return [id_ for id_, _, _ in self.calls]


@dataclass
class Client:
    """Another MQTT client: publishes, and keeps what it receives."""

    transport: Transport = field(init=False)
    messages: list[Message] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.ready.set()

    def disconnected(self, generation: int, reason: str) -> None:
        self.ready.clear()

    def received(self, batch: Sequence[Delivery]) -> None:
        self.messages.extend(delivery.message for delivery in batch)
        self.transport.acknowledge(batch)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.transport.publish(Message(topic, payload, retain=retain))


def motion(sequence: int, *, name: str = "motion.detected", time: datetime | None = None, **changed: Any) -> bytes:
    """An event of pi-1's front door as its agent sends it."""
    seen = Observation(
        kind="pir",
        name=name,
        value=name == "motion.detected",
        unit=None,
        initial=False,
        time=time or datetime.now(UTC),
        timesynced=True,
    )
    id_ = changed.pop("id", f"event-{sequence}")
    return encode(seen, at=FRONT_DOOR, id=id_, epoch=changed.pop("epoch", "abcd"), sequence=sequence)


_topic = TOPICS.parse(TOPICS.event("home", "pi-1", "front-door"))
assert isinstance(_topic, SensorEventTopic)
FRONT_DOOR = _topic


class LaterClock(RealClock):
    """The machine's clock, ahead by what a test says."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        return super().call_at(when - self.ahead_s, callback)


class Site:
    """A broker, a client, and a dispatcher that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.clock = RealClock("always")
        self.broker = MemoryBroker(self.clock)
        self.invoker = RecordingInvoker()
        self.client = Client()
        self.folder = folder
        self.mapping_file = folder / "mappings.yaml"
        self.settings = DispatcherSettings(
            state_dir=folder / "state", mappings=self.mapping_file, http=HttpSettings(port=0)
        )
        self.mint_id: Any = None
        self._stack = AsyncExitStack()
        self.dispatcher: Dispatcher

    def write_mappings(self, text: str) -> None:
        fresh = self.mapping_file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.mapping_file)

    async def start(self, *, subscribed: bool = True) -> Dispatcher:
        self._stack = AsyncExitStack()
        dispatcher = Dispatcher(
            self.settings, clock=self.clock, connect=self.broker.connect, invoker=self.invoker, mint_id=self.mint_id
        )
        self.dispatcher = await self._stack.enter_async_context(dispatcher)
        if subscribed:
            await until(lambda: "subscriptions" not in dispatcher.health.not_ready(), "subscribed")
        return dispatcher

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    site.client.transport = site.broker.connect("a-client", site.client)
    async with site.client.transport:
        await site.client.ready.wait()
        await site.client.transport.subscribe([Subscription(TOPICS.confirm("home", "+"))])
        try:
            yield site
        finally:
            await site.stop()


@pytest.fixture
def clock(site: Site) -> LaterClock:
    site.clock = LaterClock("always")
    return site.clock
