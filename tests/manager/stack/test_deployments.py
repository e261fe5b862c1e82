"""What is told of deployments that were asked for over the API."""

from __future__ import annotations

import asyncio

import pytest

from bridge.clock import RealClock
from bridge.errors import StackError
from bridge.manager.stack.deployments import Deployment, Deployments, Tell, UnderWay
from tests.dispatcher.conftest import until


async def test_one_tells_its_lines_while_it_goes_on_and_then_how_it_ended() -> None:
    deployments, go_on, ended = Deployments(RealClock("always")), asyncio.Event(), list[Deployment]()

    async def work(tell: Tell) -> None:
        tell("echo", "0/1")
        await go_on.wait()
        tell("echo", "1/1")

    begun = deployments.begin("house", "deploy", "anna", work, ended.append)
    await asyncio.sleep(0)
    shown = begun.document()
    assert (shown["state"], shown["ended_at"]) == ("running", None)
    assert [(one["part"], one["text"]) for one in shown["lines"]] == [("echo", "0/1")]
    with pytest.raises(UnderWay, match="house is being deployed; wait"):
        deployments.begin("house", "remove", "eve", work, ended.append)
    other = deployments.begin("garden", "deploy", "eve", work, ended.append)
    go_on.set()
    await until(lambda: len(ended) == 2, "both have ended")
    assert [one.state for one in (begun, other)] == ["succeeded", "succeeded"]
    assert deployments.last("house") is begun
    deployments.refuse_under_way("house")


async def test_one_that_fails_tells_each_reason_and_one_that_breaks_does_not_say_how() -> None:
    deployments, ended = Deployments(RealClock("always")), list[Deployment]()

    async def refuses(_: Tell) -> None:
        raise StackError("services.a: no\nservices.b: neither")

    async def breaks(_: Tell) -> None:
        raise KeyError("password")

    deployments.begin("house", "deploy", "anna", refuses, ended.append)
    deployments.begin("garden", "deploy", "anna", breaks, ended.append)
    await until(lambda: len(ended) == 2, "both have ended")
    assert [(one.state, one.errors) for one in ended] == [
        ("failed", ("services.a: no", "services.b: neither")),
        ("failed", ("the manager failed at it; its log has the reason",)),
    ]


async def test_only_the_last_hundred_stacks_are_remembered() -> None:
    deployments, ended = Deployments(RealClock("always")), list[Deployment]()

    async def work(_: Tell) -> None:
        return

    for number in range(103):
        deployments.begin(f"s{number}", "deploy", "anna", work, ended.append)
        await asyncio.sleep(0)
    assert deployments.last("s2") is None
    assert deployments.last("s3") is not None


async def test_what_is_under_way_is_given_up_when_the_manager_stops() -> None:
    deployments, ended = Deployments(RealClock("always")), list[Deployment]()

    async def hangs(_: Tell) -> None:
        await asyncio.Event().wait()

    deployments.begin("house", "deploy", "anna", hangs, ended.append)
    await asyncio.sleep(0)
    await deployments.close()
    assert ended == []
    deployments.refuse_under_way("house")
