"""One function's replicas on real sockets: who is called, who is waited for, and when that is in vain."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bridge.clock import RealClock, VirtualClock
from bridge.errors import EngineUnavailable, FunctionUnavailable
from bridge.gateway.backends.swarm.function import SwarmFunction
from bridge.gateway.backends.swarm.translation import PORT
from bridge.gateway.background import Background
from bridge.gateway.settings import SwarmSettings
from bridge.openfaas.deployment import Deployment
from bridge.runtime.http import Request, Response, Server
from bridge.swarm.networks import Network
from bridge.swarm.services import read_service
from bridge.swarm.tasks import Task, read_task
from tests.gateway.workbench import until
from tests.swarm import documents

NETWORK = Network(documents.NETWORK, "functions")
DEPLOYMENT = Deployment("echo", "example/echo:1")


def task(number: int, host: str = "", **parts: Any) -> Task:
    """A task at an address of this machine's; without one it is not on the network."""
    attached = [{"Network": {"ID": NETWORK.id}, "Addresses": [f"{host}/24"]}] if host else []
    return read_task(documents.task(number, NetworksAttachments=attached, **parts))


class Ground:
    """A function with what it needs, and what it asked for."""

    def __init__(self, clock: RealClock | VirtualClock, **settings: Any) -> None:
        self.background = Background()
        self.looks = 0
        self.wakes = 0
        self.wake_error: Exception | None = None
        self.woken = asyncio.Event()
        self.function = SwarmFunction(
            "echo",
            settings=SwarmSettings(**{"start_s": 3.0, **settings}),
            clock=clock,
            background=self.background,
            wake=self._wake,
            look=self._look,
            engine_node=lambda: "node1",
        )

    def _look(self) -> None:
        self.looks += 1

    async def _wake(self, function: SwarmFunction) -> None:
        self.wakes += 1
        await self.woken.wait()
        if self.wake_error is not None:
            raise self.wake_error
        self.update(replicas=1)

    def update(self, *tasks: Task, replicas: int = 1, **parts: Any) -> None:
        service = read_service(documents.service(replicas=replicas, **parts))
        self.function.update(service, DEPLOYMENT, tasks, NETWORK)

    async def ready(self, count: int) -> None:
        await until(lambda: self.function.available == count, f"{count} answer")


@pytest.fixture
async def ground() -> AsyncIterator[Ground]:
    ground = Ground(RealClock("always"))
    yield ground
    await ground.background.close()


@contextlib.asynccontextmanager
async def answering(host: str, status: int = 200) -> AsyncIterator[None]:
    async def answer(request: Request) -> Response:
        del request
        return Response(status, b"")

    async with Server(answer, host, PORT):
        yield


_LOOPBACK = f"127.77.{os.getpid() % 250}"
"""Addresses of our own: the port is that of functions, and tests of another checkout may run at the same time."""
A, B = f"{_LOOPBACK}.1", f"{_LOOPBACK}.2"


async def test_a_call_waits_for_the_first_answer_and_then_the_least_busy_gets_it(ground: Ground) -> None:
    ground.update(task(1, A), task(2, B), replicas=2)
    waiting = asyncio.create_task(ground.function.acquire())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    assert ground.looks
    async with answering(A), answering(B):
        first = await waiting
        assert (first.host, first.port, first.instance[:6]) in ((A, PORT, "echo.1"), (B, PORT, "echo.1"))
        await ground.ready(2)
        second = await ground.function.acquire()
        assert {first.host, second.host} == {A, B}
        second.release()
        third = await ground.function.acquire()
        assert third.host == second.host
        first.release()
        third.release()
    assert [replica.in_flight for replica in ground.function.replicas.values()] == [0, 0]


async def test_a_suspect_replica_gets_no_call_until_it_answers_again(ground: Ground) -> None:
    ground.update(task(1, A), task(2, B), replicas=2)
    async with answering(B):
        async with answering(A):
            await ground.ready(2)
        leases = [await ground.function.acquire() for _ in range(2)]
        next(lease for lease in leases if lease.host == A).suspect()
        assert ground.function.unsettled_since is not None
        assert {(await ground.function.acquire()).host for _ in range(4)} == {B}
        async with answering(A):
            await ground.ready(2)
            assert {(await ground.function.acquire()).host for _ in range(4)} == {A}


async def test_a_replica_whose_container_was_heard_to_end_is_called_no_more_whatever_the_engine_still_says(
    ground: Ground,
) -> None:
    async with answering(A), answering(B):
        ground.update(task(1, A), task(2, B), replicas=2)
        await ground.ready(2)
        ground.function.hear("task1", started=False)
        ground.update(task(1, A), task(2, B), replicas=2)
        assert {(await ground.function.acquire()).host for _ in range(3)} == {B}


async def test_a_replica_whose_container_is_about_to_end_gets_no_new_call_until_it_should_have_ended() -> None:
    clock = VirtualClock()
    ground = Ground(clock, stop_grace_s=5.0)
    async with answering(A), answering(B):
        ground.update(task(1, A), task(2, B), replicas=2)
        await ground.ready(2)
        ground.function.hear_end("task1")
        ground.function.hear_end("task1")
        ground.function.hear_end("unknown")
        ground.update(task(1, A), task(2, B), replicas=2)
        assert {(await ground.function.acquire()).host for _ in range(3)} == {B}
        assert ground.function.unsettled_since is not None
        # Whoever sent the signal did not end it.
        await clock.advance(15.0)
        ground.update(task(1, A), task(2, B), replicas=2)
        await ground.ready(2)
    await ground.background.close()


async def test_a_container_of_the_engines_own_machine_is_asked_once_it_was_heard_to_start(ground: Ground) -> None:
    async with answering(A), answering(B):
        ground.update(task(1, A, state="starting"), task(2, B, state="starting", NodeID="elsewhere"), replicas=2)
        await ground.ready(1)
        assert (await ground.function.acquire()).host == B
        ground.function.hear("task1", started=True)
        await ground.ready(2)


async def test_a_task_that_shall_end_gets_no_new_call_and_those_it_has_go_on(ground: Ground) -> None:
    async with answering(A), answering(B):
        ground.update(task(1, A))
        await ground.ready(1)
        lease = await ground.function.acquire()
        ground.update(task(1, A, DesiredState="shutdown"), task(2, B))
        await ground.ready(1)
        assert (await ground.function.acquire()).host == B
        lease.release()


async def test_many_who_wait_at_zero_cause_one_scaling_and_one_who_leaves_does_not_stop_it(ground: Ground) -> None:
    ground.update(replicas=0)
    waiting = [asyncio.create_task(ground.function.acquire()) for _ in range(5)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    await asyncio.sleep(0.01)
    ground.woken.set()
    async with answering(A):
        await until(lambda: ground.function.wanted == 1, "it is scaled up")
        ground.update(task(1, A))
        leases = await asyncio.gather(*waiting[1:])
    assert [lease.host for lease in leases] == [A] * 4
    assert ground.wakes == 1


async def test_when_it_cannot_be_scaled_up_all_who_wait_are_told_why(ground: Ground) -> None:
    ground.update(replicas=0)
    ground.wake_error = EngineUnavailable("the engine is away")
    ground.woken.set()
    told = await asyncio.gather(*(ground.function.acquire() for _ in range(3)), return_exceptions=True)
    assert {type(each) for each in told} == {FunctionUnavailable}
    assert "cannot be scaled up from zero: the engine is away" in str(told[0])


FAILED = {"state": "failed", "err": "bad", "DesiredState": "shutdown"}


async def test_waiting_ends_when_new_tasks_fail_again_and_again_and_not_at_the_first(ground: Ground) -> None:
    ground.update(task(1, **FAILED), task(2, state="preparing"))
    ground.function.last_words["task3"] = "Traceback"
    waiting = asyncio.create_task(ground.function.acquire())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    ground.update(task(1, **FAILED), task(3, **FAILED), task(4, state="preparing"))
    with pytest.raises(
        FunctionUnavailable, match=r"no replica of echo runs: bad \(failed\); its last lines: Traceback"
    ):
        await waiting


async def test_failures_from_before_the_last_change_do_not_count(ground: Ground) -> None:
    old = {**FAILED, "CreatedAt": "2026-11-27T04:00:00Z"}
    ground.update(task(1, **old), task(2, **old), task(3, state="preparing"))
    waiting = asyncio.create_task(ground.function.acquire())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()


async def test_a_task_that_no_machine_takes_is_not_waited_for_long() -> None:
    pending = task(1, state="pending", err="no suitable node")
    clock = VirtualClock(pending.created_at + timedelta(seconds=1))
    ground = Ground(clock)
    ground.update(pending)
    waiting = asyncio.create_task(ground.function.acquire())
    await clock.settle()
    assert not waiting.done()
    await clock.advance(5)
    ground.function.stir()
    with pytest.raises(FunctionUnavailable, match="no suitable node"):
        await waiting
    await ground.background.close()


async def test_waiting_ends_in_time_with_the_reason_as_far_as_it_is_known() -> None:
    ground = Ground(RealClock("always"), start_s=0.2)
    ground.update(task(1, state="preparing"))
    with pytest.raises(FunctionUnavailable, match=r"ready within 0\.2 s: it is still starting"):
        await ground.function.acquire()
    await ground.background.close()


async def test_who_waits_for_a_function_that_is_removed_is_told(ground: Ground) -> None:
    ground.update(task(1, state="preparing"))
    waiting = asyncio.create_task(ground.function.acquire())
    await asyncio.sleep(0)
    ground.function.forget()
    with pytest.raises(FunctionUnavailable, match="was removed"):
        await waiting


async def test_a_new_replica_that_is_not_well_is_called_only_when_swarm_has_called_it_running_for_a_while() -> None:
    clock = VirtualClock()
    ground = Ground(clock)
    async with answering(A, 503):
        ground.update(task(1, A))
        for _ in range(20):
            await clock.advance(0.1)
            await asyncio.sleep(0.005)
        assert ground.function.available == 0

        async def called_after_a_while() -> bool:
            await clock.advance(0.1)
            return ground.function.available == 1

        await until(called_after_a_while, "it is called all the same")
    await ground.background.close()


async def test_the_virtual_address_is_called_where_that_is_wanted() -> None:
    ground = Ground(RealClock("always"), endpoint_mode="vip")
    async with answering(A):
        ground.update(task(1, A), Endpoint={"VirtualIPs": [{"NetworkID": NETWORK.id, "Addr": "10.9.9.9/24"}]})
        await ground.ready(1)
        assert (await ground.function.acquire()).host == "10.9.9.9"
        ground.update(task(1, A))
        assert (await ground.function.acquire()).host == A, "a service without one is called by its tasks"
    await ground.background.close()


PROBLEMS: tuple[tuple[list[Task], dict[str, Any], str | None], ...] = (
    ([task(1)], {}, "its tasks are not on the network functions"),
    ([], {"replicas": 0}, None),
    ([task(1, **FAILED)], {"replicas": 0}, None),
    ([task(1, **FAILED), task(2, state="preparing")], {}, "bad (failed)"),
    (
        [task(1, state="failed", err="task: non-zero exit (137): dockerexec: unhealthy container")],
        {},
        "set the annotation",
    ),
    ([], {"UpdateStatus": {"State": "paused", "Message": "why"}}, "its update stopped half-way: why"),
    (
        [task(1, A, **FAILED), task(2, A)],
        {"UpdateStatus": {"State": "rollback_completed", "Message": "early termination of task task1"}},
        "the last update failed, the version before it serves: bad (failed)",
    ),
    (
        [task(2, A)],
        {"UpdateStatus": {"State": "rollback_completed", "Message": "early termination of task gone"}},
        "the last update failed, the version before it serves: early termination of task gone",
    ),
)


@pytest.mark.parametrize(("tasks", "parts", "words"), PROBLEMS)
async def test_what_is_wrong_is_said_in_words(
    ground: Ground, tasks: list[Task], parts: dict[str, Any], words: str | None
) -> None:
    ground.update(*tasks, **parts)
    problem = ground.function.problem
    assert (problem is None) is (words is None)
    assert words is None or words in str(problem)


async def test_tasks_that_run_and_do_not_answer_are_told_after_a_while() -> None:
    clock = VirtualClock()
    ground = Ground(clock)
    ground.update(task(1, A))
    assert ground.function.problem is None
    await clock.advance(11)
    assert f"do not answer at {A}:{PORT}: is the gateway on the network functions" in str(ground.function.problem)
    await ground.background.close()


async def test_why_an_update_failed_is_told_until_the_next_one_although_the_swarm_has_forgotten_it(
    ground: Ground,
) -> None:
    function = ground.function

    def update(state: str, *tasks: Task) -> str | None:
        ground.update(*tasks, UpdateStatus={"State": state, "Message": state})
        return function.problem

    old, failed = task(1, A), task(2, **FAILED)
    update("updating", old, failed)
    function.last_words["task2"] = "no such module"
    told = "the last update failed, the version before it serves: bad (failed); its last lines: no such module"
    assert update("rollback_started", old) == told
    assert update("rollback_completed", old, task(3, A)) == told
    assert update("updating", old, task(4, A)) is None
    assert "bad" not in str(update("rollback_started", old))
    update("updating", old, failed)
    assert update("completed", task(4, A)) is None
    assert "bad" not in str(update("rollback_completed", task(4, A)))
    assert function.last_words == {}
