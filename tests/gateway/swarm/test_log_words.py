"""What a function's log says while machines are away, or are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from bridge.clock import RealClock
from bridge.gateway.backends import LogQuery
from bridge.gateway.backends.swarm.logs import FunctionLog
from bridge.openfaas.deployment import LogLine
from bridge.swarm.address import EngineAddress
from bridge.swarm.engine import Engine
from bridge.swarm.last_words import last_words
from tests.gateway.swarm.test_function import Ground, task
from tests.swarm.stand_in import StandIn
from tests.swarm.test_logs import frame

AWAY = "incomplete log stream. some logs could not be retrieved for the following reasons: "


def said(number: int, text: str) -> bytes:
    """A line of task N on node N, as the engine sends it."""
    details = f"com.docker.swarm.node.id=node{number},com.docker.swarm.task.id=task{number}"
    return frame(f"2026-11-27T05:12:0{number}Z {details} {text}\n".encode())


class Swarm:
    """An engine that takes machines for away that are not, as Swarm does of those whose power has failed."""

    def __init__(self, folder: Path, *, away: tuple[int, ...], back: tuple[int, ...]) -> None:
        self.stand_in = StandIn(folder / "docker.sock")
        self.stand_in.answer = self._answer
        self._away = away
        self._back = back

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(said(1, "one"))
        if request.query["follow"] == "0":
            reasons = ", ".join(f"node node{number} is not available" for number in self._away)
            await answer.write(frame((AWAY + reasons).encode(), 3))
        else:
            for number in self._back:
                await answer.write(said(number, "back"))
        return answer

    async def log(self) -> list[LogLine]:
        """The whole log of a function with a task on each of three nodes."""
        ground = Ground(RealClock("always"))
        ground.update(*(task(number, NodeID=f"node{number}") for number in (1, 2, 3)))
        await self.stand_in.start()
        try:
            async with Engine(EngineAddress(f"unix://{self.stand_in.socket}"), timeout_s=5.0) as engine:
                await engine.connect()
                log = FunctionLog(engine, ground.function, LogQuery("echo"), RealClock("always"), 100)
                return [line async for line in log.read()]
        finally:
            await ground.background.close()
            await self.stand_in.stop()


async def test_a_machine_that_is_back_is_in_the_log_although_the_engine_calls_it_away(tmp_path: Path) -> None:
    assert [line.text for line in await Swarm(tmp_path, away=(2,), back=(2,)).log()] == ["one", "back"]


@pytest.mark.parametrize("back", [(), (2,)])
async def test_a_machine_that_is_away_is_told_at_the_end_of_what_the_others_said(
    tmp_path: Path, back: tuple[int, ...]
) -> None:
    *lines, last = [line.text for line in await Swarm(tmp_path, away=(2, 3), back=back).log()]
    assert lines == ["one", *("back" for _ in back)]
    assert last.startswith("[swarm] ")
    assert "node3 is not available" in last


async def test_last_words_are_heard_from_a_machine_that_is_back(tmp_path: Path) -> None:
    swarm = Swarm(tmp_path, away=(2,), back=(2,))
    await swarm.stand_in.start()
    try:
        async with Engine(EngineAddress(f"unix://{swarm.stand_in.socket}"), timeout_s=5.0) as engine:
            await engine.connect()
            assert "back" in await last_words(engine, task(2, NodeID="node2"))
    finally:
        await swarm.stand_in.stop()
