"""The invoker against a real HTTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.clock import RealClock
from bridge.core.event import CONTENT_TYPE, Event, parse
from bridge.core.invocation import Invocation
from bridge.core.retry import Outcome, Verdict
from bridge.dispatcher.invoker import HttpInvoker, retry_after
from bridge.dispatcher.settings import GatewaySettings
from tests.dispatcher.conftest import FRONT_DOOR, motion, until


class Functions:
    """A gateway of functions that answer by their names, and keep the last request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.headers), await request.read()))
        match request.match_info["name"]:
            case "slow":
                await asyncio.sleep(30)
            case "busy":
                return web.Response(status=429, headers={"Retry-After": "7"}, text="later\nplease")
            case "tomorrow":
                date = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
                return web.Response(status=503, headers={"Retry-After": date})
            case "moved":
                return web.Response(status=302, headers={"Location": "/function/fine"})
            case "internal":
                return web.Response(status=503, headers={"X-OpenFaaS-Internal": "gateway"})
            case "broken":
                assert request.transport is not None
                request.transport.close()
            case "large":
                return web.Response(body=b"x" * 5_000_000)
            case "half":
                answer = web.StreamResponse(headers={"Content-Length": "100"})
                await answer.prepare(request)
                await answer.write(b"half")
                assert request.transport is not None
                request.transport.close()
                return answer
            case name if name.startswith("status-"):
                return web.Response(status=int(name.removeprefix("status-")), text=f"I say {name}")
            case _:
                pass
        return web.Response(text="done")


@pytest.fixture
async def functions() -> AsyncIterator[Functions]:
    functions = Functions()
    app = web.Application()
    app.router.add_post("/function/{name}", functions.answer)
    app.router.add_post("/async-function/{name}", functions.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    functions.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield functions
    await runner.cleanup()


def invocation(function: str, **changed: object) -> Invocation:
    return Invocation(**{"id": "event-1:m", "mapping": "m", "function": function, "lane": "m|x", **changed})  # type: ignore[arg-type] # a test's keywords


EVENT: Event = parse(motion(1), FRONT_DOOR)


async def outcome_of(invoker: HttpInvoker, wanted: Invocation) -> Outcome:
    told = asyncio.get_running_loop().create_future()
    invoker.invoke(wanted, EVENT, 1, told.set_result)
    assert not told.done(), "told before invoke returned"
    outcome: Outcome = await told
    return outcome


async def attempt(functions: Functions, wanted: Invocation) -> Outcome:
    async with HttpInvoker(GatewaySettings(functions.url), RealClock(), connections=2) as invoker:
        return await outcome_of(invoker, wanted)


async def test_the_payload_event_posts_the_cloud_event_byte_for_byte_with_its_identity_in_headers(
    functions: Functions,
) -> None:
    outcome = await attempt(functions, invocation("fine", headers=(("X-Mine", "yes"),)))
    assert (outcome.verdict, outcome.status) == (Verdict.SUCCEEDED, 200)
    ((path, headers, body),) = functions.requests
    assert (path, body) == ("/function/fine", EVENT.body)
    assert headers["Content-Type"] == CONTENT_TYPE
    assert headers["X-Event-Id"] == "event-1"
    assert headers["Idempotency-Key"] == "event-1:m"
    assert headers["traceparent"].startswith("00-")
    assert headers["X-Mine"] == "yes"


async def test_the_payload_data_posts_the_data_with_the_attributes_as_headers(functions: Functions) -> None:
    await attempt(functions, invocation("fine", payload="data"))
    ((_, headers, body),) = functions.requests
    assert b'"sensor":"front-door"' in body
    assert headers["ce-type"] == "io.gpio-bridge.motion.detected"
    assert headers["ce-sequence"] == "00000000000000000001"
    assert headers["Content-Type"] == "application/json"


async def test_mode_async_goes_to_the_gateways_queue(functions: Functions) -> None:
    outcome = await attempt(functions, invocation("fine", mode="async"))
    assert outcome.verdict is Verdict.SUCCEEDED
    assert functions.requests[0][0] == "/async-function/fine"


@pytest.mark.parametrize(
    ("function", "verdict", "status"),
    [
        ("status-204", Verdict.SUCCEEDED, 204),
        ("status-400", Verdict.REFUSED, 400),
        ("moved", Verdict.REFUSED, 302),
        ("status-401", Verdict.PARKED, 401),
        ("status-404", Verdict.PARKED, 404),
        ("internal", Verdict.PARKED, 503),
        ("status-408", Verdict.RETRYABLE, 408),
        ("busy", Verdict.RETRYABLE, 429),
        ("status-500", Verdict.RETRYABLE, 500),
        ("broken", Verdict.RETRYABLE, None),
        ("half", Verdict.RETRYABLE, None),
        ("large", Verdict.SUCCEEDED, 200),
    ],
)
async def test_rule_11_what_an_answer_means(
    functions: Functions, function: str, verdict: Verdict, status: int | None
) -> None:
    outcome = await attempt(functions, invocation(function))
    assert (outcome.verdict, outcome.status) == (verdict, status)


async def test_a_refusal_is_told_with_the_first_line_of_its_body(functions: Functions) -> None:
    outcome = await attempt(functions, invocation("busy"))
    assert outcome.reason == "HTTP 429: later"
    assert outcome.body == "later\nplease"
    assert outcome.retry_after_s == 7


async def test_a_date_in_retry_after_is_understood(functions: Functions) -> None:
    outcome = await attempt(functions, invocation("tomorrow"))
    assert outcome.retry_after_s == pytest.approx(86400, abs=60)


async def test_a_function_that_does_not_answer_is_given_up_at_its_timeout(functions: Functions) -> None:
    outcome = await attempt(functions, invocation("slow", timeout_s=0.1))
    assert outcome.verdict is Verdict.RETRYABLE
    assert outcome.reason == "no answer within 0.1 s"


async def test_a_gateway_that_is_not_there_is_told_with_its_address() -> None:
    async with HttpInvoker(GatewaySettings("http://127.0.0.1:1"), RealClock(), connections=1) as invoker:
        outcome = await outcome_of(invoker, invocation("fine"))
    assert outcome.status is None
    assert outcome.verdict is Verdict.PARKED
    assert outcome.reason == "cannot connect to http://127.0.0.1:1: Connection refused"


async def test_basic_authentication_is_sent_where_it_is_set(functions: Functions, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n", encoding="utf-8")
    settings = GatewaySettings(functions.url, username="admin", password_file=password)
    async with HttpInvoker(settings, RealClock(), connections=1) as invoker:
        await outcome_of(invoker, invocation("fine"))
    assert functions.requests[0][1]["Authorization"] == "Basic YWRtaW46c2VjcmV0"


async def test_an_invocation_with_a_header_that_breaks_out_of_its_line_is_refused_and_nothing_is_sent(
    functions: Functions,
) -> None:
    outcome = await attempt(functions, invocation("fine", headers=(("X-Mine", "a\r\nEvil: yes"),)))
    assert outcome.verdict is Verdict.REFUSED
    assert outcome.reason == "cannot be sent: the header 'X-Mine' holds a line break or NUL"
    assert functions.requests == []


async def test_what_is_given_up_is_told_to_nobody(functions: Functions) -> None:
    told: list[Outcome] = []
    async with HttpInvoker(GatewaySettings(functions.url), RealClock(), connections=2) as invoker:
        invoker.invoke(invocation("fine"), EVENT, 1, told.append)
        invoker.invoke(invocation("fine", headers=(("X-Mine", "\n"),)), EVENT, 1, told.append)
        invoker.give_up()
        assert (await outcome_of(invoker, invocation("fine"))).status == 200
        invoker.invoke(invocation("slow"), EVENT, 1, told.append)
        await until(lambda: len(functions.requests) == 2, "under way")
    assert told == []


async def test_a_thousand_attempts_under_way_need_no_task(functions: Functions) -> None:
    told: list[Outcome] = []
    async with HttpInvoker(GatewaySettings(functions.url), RealClock(), connections=2) as invoker:
        await outcome_of(invoker, invocation("fine"))
        await outcome_of(invoker, invocation("fine"))
        before = len(asyncio.all_tasks())
        for _ in range(1000):
            invoker.invoke(invocation("fine", timeout_s=60.0), EVENT, 1, told.append)
        assert len(asyncio.all_tasks()) <= before + 2  # one for each connection that is being made
        await until(lambda: len(told) == 1000, "all told")
    assert {outcome.verdict for outcome in told} == {Verdict.SUCCEEDED}


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert retry_after("12", now) == 12
    assert retry_after(format_datetime(now + timedelta(seconds=30), usegmt=True), now) == 30
    assert retry_after(format_datetime(now - timedelta(seconds=30), usegmt=True), now) == 0
    assert retry_after("soon", now) is None
    assert retry_after(None, now) is None


@given(
    st.text(st.characters(max_codepoint=255))
    | st.from_regex(r"wed, [0-9]{1,30} oct [0-9]{1,30} 07:28:[0-9]{0,30} [+-][0-9]{1,30}", fullmatch=True)
)
@example("²")
@example("1¹")
@example("9" * 5000)
@example("wed, 21 oct 2015 07:28:00 +99999999999999999")
def test_rule_11_any_retry_after_is_a_time_from_now_on_or_none(value: str) -> None:
    seconds = retry_after(value, datetime(2026, 11, 22, tzinfo=UTC))
    assert seconds is None or seconds >= 0
