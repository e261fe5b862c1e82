"""Pages of other origins in a browser."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.gateway.settings import BasicAuthSettings
from tests.gateway.workbench import Bench

PAGE = "https://house.example"
ASKS = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

OWN = """
def handle(event, context):
    return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "mine"}}
"""


def granted(answer: Any) -> Any:
    return answer.headers.get("Access-Control-Allow-Origin")


@pytest.fixture
async def guarded(idle_bench: Bench) -> Bench:
    (idle_bench.folder / "basic-auth-user").write_text("admin", encoding="utf-8")
    (idle_bench.folder / "basic-auth-password").write_text("p", encoding="utf-8")
    login = BasicAuthSettings(enabled=True, secret_mount_path=idle_bench.folder)
    await idle_bench.start(cors_origins=(PAGE,), basic_auth=login)
    return idle_bench


async def test_by_default_no_page_of_another_origin_is_let_in(bench: Bench) -> None:
    for method, path in (("GET", "/system/functions"), ("OPTIONS", "/system/functions"), ("GET", "/healthz")):
        async with bench.request(method, path, headers=ASKS) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]
            assert answer.status == (405 if method == "OPTIONS" else 200)


async def test_a_page_that_may_asks_without_a_password_and_then_still_needs_one(guarded: Bench) -> None:
    async with guarded.request("OPTIONS", "/system/functions", headers=ASKS) as answer:
        assert answer.status == 204
        assert granted(answer) == PAGE
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Vary"] == "Origin"
    async with guarded.request("GET", "/system/functions", headers={"Origin": PAGE}) as answer:
        assert (answer.status, granted(answer)) == (401, PAGE)


async def test_another_page_is_not_let_in(guarded: Bench) -> None:
    for origin in ("https://evil.example", "null", "http://house.example"):
        async with guarded.request("OPTIONS", "/system/functions", headers=ASKS | {"Origin": origin}) as answer:
            assert (answer.status, granted(answer)) == (401, None)


async def test_a_log_carries_the_grant_too_and_functions_say_for_themselves(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(cors_origins=("*",))
    await bench.deploy("own", OWN)
    async with bench.request("GET", "/system/logs?name=own", headers={"Origin": PAGE}) as answer:
        assert (answer.status, granted(answer)) == (200, PAGE)
    async with bench.request("OPTIONS", "/function/own", headers=ASKS) as answer:
        assert (answer.status, granted(answer)) == (200, "mine")
    async with bench.request("POST", "/async-function/own", headers={"Origin": PAGE}) as answer:
        assert (answer.status, granted(answer)) == (202, PAGE)
