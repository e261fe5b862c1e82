"""The health check of a function's service: its command against real servers, with whatever an image has."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from bridge.errors import FunctionError
from bridge.gateway.backends.swarm.probe import command, health_check
from bridge.gateway.settings import HealthSettings
from bridge.openfaas.deployment import Deployment
from bridge.runtime.http import Request, Response, Server
from tests.real_parts import require_none_missing


def test_settings_and_annotations_decide_what_is_run() -> None:
    settings = HealthSettings(every_s=7.0, retries=2)
    check = health_check(Deployment("f"), settings)
    assert check is not None
    assert (check.test, check.every_s, check.retries) == (("CMD-SHELL", command("/_/health")), 7.0, 2)
    own = health_check(Deployment("f", annotations={"io.gpio-bridge.health": "test -e /ready"}), settings)
    assert own is not None
    assert own.test == ("CMD-SHELL", "test -e /ready")
    none = health_check(Deployment("f", annotations={"io.gpio-bridge.health": "none"}), settings)
    assert none is not None
    assert none.test == ("NONE",)
    assert health_check(Deployment("f", annotations={"io.gpio-bridge.health": "image"}), settings) is None
    assert health_check(Deployment("f"), HealthSettings(enabled=False)) is None


def test_a_path_is_taken_over_and_nothing_hides_in_it() -> None:
    key = "com.openfaas.health.http.path"
    check = health_check(Deployment("f", annotations={key: "/ready?x=1"}), HealthSettings())
    assert check is not None
    assert "http://127.0.0.1:8080/ready?x=1" in check.test[1]
    for path in ("ready", "/a b", "/'; reboot; '", "/$(id)", "/\n"):
        with pytest.raises(FunctionError, match="is no path"):
            health_check(Deployment("f", annotations={key: path}), HealthSettings())


async def run(script: str, tools: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", script, env={"PATH": str(tools)}, stderr=asyncio.subprocess.DEVNULL
    )
    return await asyncio.wait_for(process.wait(), 60)


@pytest.fixture(params=["curl", "wget", "python3"])
def tools(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with one of the programs to ask with, and grep."""
    for name in (request.param, "grep"):
        found = sys.executable if name == "python3" else shutil.which(name)
        require_none_missing(None if found else f"{name} is missing; install: sudo apt-get install {name}")
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec {found} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("status", "well"), [(200, True), (404, True), (401, True), (500, False), (503, False)])
async def test_an_answer_below_500_is_well_whatever_it_is_asked_with(tools: Path, status: int, well: bool) -> None:
    async def answer(request: Request) -> Response:
        del request
        return Response(status, b"x")

    async with Server(answer, "127.0.0.1", 0) as server:
        script = command("/_/health").replace("8080", str(server.port))
        assert (await run(script, tools) == 0) is well


async def test_nobody_who_listens_is_not_well(tools: Path) -> None:
    async with Server(_never, "127.0.0.1", 0) as server:
        port = server.port
    assert await run(command("/_/health").replace("8080", str(port)), tools) != 0


async def test_an_image_that_has_nothing_to_ask_with_is_taken_for_well(tmp_path: Path) -> None:
    assert await run(command("/_/health"), tmp_path) == 0


async def test_the_watchdogs_lock_file_is_enough(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    shutil_path = shutil.which("false")
    assert shutil_path is not None
    (tmp_path / "curl").symlink_to(shutil_path)
    script = command("/_/health").replace("/tmp/.lock", str(lock))
    assert await run(script, tmp_path) != 0
    lock.touch()
    assert await run(script, tmp_path) == 0


async def _never(request: Request) -> Response:
    raise AssertionError(request)
