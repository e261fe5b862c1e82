"""Changes of services while others change them too."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from bridge.errors import EngineError
from bridge.swarm.engine import Engine
from bridge.swarm.revision import change, with_replicas
from bridge.swarm.services import read_service
from tests.swarm import documents
from tests.swarm.stand_in import StandIn


class Services:
    """One service that somebody else changes before the first `races` updates of ours."""

    def __init__(self, races: int = 0) -> None:
        self.document = documents.service(replicas=1)
        self.races = races
        self.updates = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return web.json_response(self.document)
        self.updates += 1
        version: dict[str, int] = self.document["Version"]
        if self.races:
            self.races -= 1
            version["Index"] += 1
            self.document["Spec"]["Labels"]["raced"] = "yes"
        if int(request.query["version"]) != version["Index"]:
            message = "rpc error: code = Unknown desc = update out of sequence"
            return web.json_response({"message": message}, status=500)
        self.document["Spec"] = json.loads(await request.text())
        version["Index"] += 1
        return web.json_response({})


async def scaled(engine: Engine, replicas: int) -> bool:
    return await change(engine, "id-echo", lambda service: with_replicas(service, replicas))


async def test_a_change_that_lost_a_race_is_made_anew_on_the_newest_version(engine: Engine, stand_in: StandIn) -> None:
    services = stand_in.answer = Services(races=3)
    await engine.connect()
    assert await scaled(engine, 4)
    spec: dict[str, Any] = services.document["Spec"]
    assert (spec["Mode"], spec["Labels"], services.updates) == ({"Replicated": {"Replicas": 4}}, {"raced": "yes"}, 4)


async def test_a_race_that_never_ends_is_given_up(engine: Engine, stand_in: StandIn) -> None:
    services = stand_in.answer = Services(races=100)
    await engine.connect()
    with pytest.raises(EngineError, match="out of sequence"):
        await scaled(engine, 4)
    assert services.updates == 8


async def test_what_is_so_already_is_not_changed(engine: Engine, stand_in: StandIn) -> None:
    services = stand_in.answer = Services()
    await engine.connect()
    assert not await scaled(engine, 1)
    assert services.updates == 0


def test_a_global_service_has_no_number_to_change() -> None:
    assert with_replicas(read_service(documents.service(mode={"Global": {}})), 3) is None
