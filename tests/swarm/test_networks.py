"""The functions' network, found by its exact name or made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from bridge.errors import EngineError
from bridge.swarm.engine import Engine
from bridge.swarm.networks import Network, ensure_overlay
from tests.swarm.stand_in import StandIn


def network(name: str, driver: str = "overlay", scope: str = "swarm") -> dict[str, Any]:
    return {"Id": f"id-{name}", "Name": name, "Driver": driver, "Scope": scope}


class Networks:
    """An engine's networks; `rival` makes the wanted one just before we do."""

    def __init__(self, *known: dict[str, Any], rival: bool = False, forgets: bool = False) -> None:
        self.known = list(known)
        self.rival = rival
        self.forgets = forgets
        self.made: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            (part,) = json.loads(request.query["filters"])["name"]
            return web.json_response([each for each in self.known if part in each["Name"]])
        body = json.loads(await request.text())
        self.made.append(body)
        if not self.forgets:
            self.known.append(network(body["Name"]))
        if self.rival:
            return web.json_response({"message": "already exists"}, status=409)
        return web.json_response({"Id": "x"})


async def test_the_network_is_found_by_its_exact_name(engine: Engine, stand_in: StandIn) -> None:
    networks = stand_in.answer = Networks(network("functions-2"), network("functions"))
    await engine.connect()
    assert await ensure_overlay(engine, "functions") == Network("id-functions", "functions")
    assert networks.made == []


async def test_one_whose_addresses_are_not_allotted_yet_is_an_overlay(engine: Engine, stand_in: StandIn) -> None:
    stand_in.answer = Networks(network("functions", "", ""))
    await engine.connect()
    assert (await ensure_overlay(engine, "functions")).id == "id-functions"


@pytest.mark.parametrize("rival", [False, True])
async def test_a_missing_one_is_made_attachable_by_us_or_by_who_was_quicker(
    engine: Engine, stand_in: StandIn, rival: bool
) -> None:
    networks = stand_in.answer = Networks(network("functions-2"), rival=rival)
    await engine.connect()
    assert (await ensure_overlay(engine, "functions")).id == "id-functions"
    (made,) = networks.made
    assert (made["Driver"], made["Attachable"]) == ("overlay", True)


async def test_a_network_of_one_machine_is_refused_with_what_to_do(engine: Engine, stand_in: StandIn) -> None:
    stand_in.answer = Networks(network("functions", "bridge", "local"))
    await engine.connect()
    with pytest.raises(EngineError, match="docker network rm functions"):
        await ensure_overlay(engine, "functions")


async def test_a_network_that_is_not_there_after_all_is_told(engine: Engine, stand_in: StandIn) -> None:
    stand_in.answer = Networks(forgets=True)
    await engine.connect()
    with pytest.raises(EngineError, match="is not there"):
        await ensure_overlay(engine, "functions")
