"""Whatever happens, every accepted event is delivered or counted."""

import asyncio
import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.agent.outbox import Priority
from tests.agent.outbox.world import World, one

pytestmark = pytest.mark.timeout(300)  # it waits for the disk some thousand times, and others may use that too


class OutboxMachine(RuleBasedStateMachine):
    """Whatever happens, every accepted event is delivered, in order and in the same bytes, or counted as dropped."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world: World | None = None
        self.promised: dict[str, str] = {}
        self.boots = itertools.count(2)
        self.boot = "boot-1"
        self.open: list[tuple[tuple[str, ...], asyncio.Future[tuple[str, ...]]]] = []
        self.bounded = False

    def run(self, work: object) -> None:
        self.loop.run_until_complete(work)  # type: ignore[arg-type] # any coroutine
        for sensors, future in list(self.open):
            if future.done() and not future.cancelled() and future.exception() is None:
                self.promised.update(zip(future.result(), sensors, strict=True))
                self.open.remove((sensors, future))

    @precondition(lambda self: self.world is None)
    @rule(
        limit=st.sampled_from([1, 3, 50]),
        bound=st.sampled_from([3, 8, 1000]),
        policy=st.sampled_from(["oldest", "newest"]),
        log_bytes=st.sampled_from([8192, 65536]),
    )
    def begin(self, limit: int, bound: int, policy: str, log_bytes: int) -> None:
        path = Path(self.folder.name) / "outbox.db"
        self.world = World(path, in_flight=limit, max_events=bound, policy=policy, log_bytes=log_bytes)
        self.bounded = bound < 1000
        self.run(self.world.__aenter__())
        self.run(self.world.connect())

    @precondition(lambda self: self.world is not None)
    @rule(
        sensors=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6),
        priority=st.sampled_from(["normal", "normal", "alarm"]),
        wait=st.booleans(),
    )
    def accept(self, sensors: list[str], priority: Priority, wait: bool) -> None:
        world = self.world
        assert world is not None

        async def accept() -> None:
            future = world.outbox.accept([one(sensor, priority=priority) for sensor in sensors])
            self.open.append((tuple(sensors), future))
            if wait:
                await future
            await world.clock.settle()

        self.run(accept())

    @precondition(lambda self: self.world is not None)
    @rule()
    def confirm(self) -> None:
        world = self.world
        assert world is not None

        async def confirm() -> None:
            world.confirm()
            await world.clock.settle()

        self.run(confirm())

    @precondition(lambda self: self.world is not None)
    @rule(seconds=st.sampled_from([1, 7, 40]))
    def wait(self, seconds: int) -> None:
        world = self.world
        assert world is not None

        async def wait() -> None:
            await world.clock.advance(seconds)
            await world.outbox.journal.flush()
            await world.clock.settle()

        self.run(wait())

    @precondition(lambda self: self.world is not None)
    @rule(arrived=st.booleans())
    def disconnect(self, arrived: bool) -> None:
        world = self.world
        assert world is not None

        async def drop() -> None:
            world.broker.drop("agent", arrived=arrived)
            await world.clock.settle()

        self.run(drop())

    @precondition(lambda self: self.world is not None)
    @rule()
    def forget(self) -> None:
        world = self.world
        assert world is not None

        async def forget() -> None:
            world.broker.forget()
            await world.clock.settle()

        self.run(forget())

    @precondition(lambda self: self.world is not None)
    @rule(how=st.sampled_from(["restart", "kill"]), boot=st.booleans())
    def end(self, how: str, boot: bool) -> None:
        world = self.world
        assert world is not None
        if boot:
            self.boot = f"boot-{next(self.boots)}"
        if how == "kill":
            self.open.clear()  # what had not returned by now was not promised
        self.run(world.kill(self.boot) if how == "kill" else world.restart(self.boot))
        assert not self.open
        self.run(world.connect())

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        if self.world is not None:
            assert self.bounded or self.world.dispatcher.disordered == 0

    def teardown(self) -> None:
        world = self.world
        if world is not None:
            try:
                self.run(world.finish())
                dispatcher = world.dispatcher
                for runs in dispatcher.known.values():
                    assert len(runs.runs) == 1
                    assert runs.runs[0][0] == 1
                delivered = {event.id for event in dispatcher.events}
                missing = len(self.promised.keys() - delivered)
                dropped = sum(last - first + 1 for runs in dispatcher.dropped.values() for first, last in runs)
                assert missing <= dropped
                assert self.bounded or not dropped
                assert dropped <= sum(world.outbox.counters.dropped.values())
            finally:
                self.run(world.__aexit__())
        self.loop.close()
        self.folder.cleanup()


OutboxMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEveryAcceptedEvent = OutboxMachine.TestCase
