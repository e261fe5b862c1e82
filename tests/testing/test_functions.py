"""How functions of a house answer, and what production makes of it: retries, parked functions, dead letters."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.errors import FunctionNotFound, FunctionUnavailable
from bridge.testing import Call, House
from tests.testing.conftest import Build
from tests.testing.test_house import mappings

STACK = """
version: 1.0
provider: {name: openfaas}
functions:
  hello:
    lang: python3-http
    handler: ./hello
    image: hello
    environment: {greeting: good evening}
    secrets: [pin]
  other:
    lang: python3-http
    handler: ./other
    image: other
  slow: {lang: python3-http, handler: ./slow, image: slow}
  broken: {lang: python3-http, handler: ./broken, image: broken}
  count: {lang: dockerfile, handler: ./slow, image: count, fprocess: wc}
"""
HELLO = """
import json, os
from pathlib import Path
from . import shared
import shared as same

seen = []

def handle(event, context):
    seen.append(event.body)
    secret = (Path(os.environ["secret_path"]) / "pin").read_text()
    return {"statusCode": 201, "body": json.dumps([os.environ["greeting"], secret, shared.NAME, same.NAME, len(seen)])}
"""
OTHER = """
import os
import shared

def handle(event, context):
    assert "greeting" not in os.environ
    return {"statusCode": 500 if shared.NAME != "other" else 200, "body": shared.NAME}
"""
SLOW = """
import asyncio

async def handle(event, context):
    await asyncio.sleep(7)
    return {"statusCode": 200, "body": "at last"}
"""


@pytest.fixture
def stack(tmp_path: Path) -> str:
    files = {
        "stack.yml": STACK,
        "hello/handler.py": HELLO,
        "hello/shared.py": 'NAME = "hello"\n',
        "other/handler.py": OTHER,
        "other/shared.py": 'NAME = "other"\n',
        "slow/handler.py": SLOW,
        "broken/handler.py": "raise OSError('no such luck')\n",
    }
    for name, text in files.items():
        path = tmp_path / "functions" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return "functions/stack.yml"


def rings(*functions: str) -> str:
    """A mapping file by which the doorbell invokes each of these."""
    listed = [f"  {name}: {{select: {{event: button.pressed}}, invoke: {name}}}" for name in functions]
    return "\n".join(("version: 1\nmappings:", *listed)) + "\n"


def motion(house: House) -> None:
    house.pi("pi-1").sensor("front-door").motion()


def test_an_attempt_that_fails_is_tried_again_and_its_pauses_are_those_of_the_policy(build: Build) -> None:
    house = build(mappings("retry: {attempts: 4, first: 1m, max: 10m}"))
    house.function("hello").answers(503, "try later", times=2)
    motion(house)
    assert (house.invocations.only().outcome, house.invocations.only().status) == ("retrying", 503)
    assert house.invocations.only().reason == "HTTP 503: try later"

    house.advance("30m")

    invocation = house.invocations.only()
    assert [made.status for made in invocation.attempts] == [503, 503, 200]
    pauses = [
        later.at - earlier.at for earlier, later in zip(invocation.attempts, invocation.attempts[1:], strict=False)
    ]
    assert timedelta(0) < pauses[0] <= timedelta(minutes=1)
    assert timedelta(0) < pauses[1] <= timedelta(minutes=2)


def test_retry_after_is_heeded(build: Build) -> None:
    house = build(mappings("retry: {attempts: 2, first: 1s}"))
    house.function("hello").answers(429, headers={"Retry-After": "300"}, times=1)
    motion(house)
    house.advance("299s")
    assert len(house.invocations.only().attempts) == 1
    house.advance("2s")
    assert house.invocations.only().outcome == "succeeded"


def test_a_mapping_that_gives_up_leaves_a_dead_letter_and_tells_on_failure(build: Build) -> None:
    house = build(mappings("retry: {attempts: 2, first: 1s}", "on_failure: page-someone"))
    house.function("hello").answers(500)
    motion(house)
    house.advance("1m")

    assert house.invocations.of("hello").only().outcome == "dead"
    assert "gave up after 2 attempts" in house.invocations.of("hello").only().reason
    (letter,) = house.dead_letters
    assert (letter["function"], letter["attempts"], letter["status"]) == ("hello", 2, 500)
    assert house.invocations.of("page-someone").only().payload["reason"] == letter["reason"]


def test_a_function_that_refuses_is_not_asked_again(build: Build) -> None:
    house = build(mappings())
    house.function("hello").answers(422, "no")
    motion(house)
    house.advance("1h")
    assert len(house.invocations.only().attempts) == 1
    assert house.invocations.only().outcome == "dead"


def test_a_function_that_hangs_is_given_up_after_the_mappings_timeout(build: Build) -> None:
    house = build(
        mappings("retry: {attempts: 2, first: 1s, max: 1s}").replace(
            "invoke: hello", "invoke: {function: hello, timeout: 5s}"
        )
    )
    house.function("hello").hangs(times=1)
    motion(house)
    assert house.invocations.only().outcome == "running"
    house.advance("4s")
    assert house.invocations.only().outcome == "running"
    house.advance("3s")
    first, second = house.invocations.only().attempts
    assert (first.reason, second.status) == ("no answer within 5 s", 200)
    assert first.ended_at == first.at + timedelta(seconds=5)


def test_a_slow_answer_holds_up_its_own_lane_alone(build: Build) -> None:
    house = build(rings("slow", "quick"))
    house.function("slow").answers(after="5s")
    bell = house.pi("pi-1").sensor("doorbell")
    bell.press().release().press()
    assert house.invocations.functions() == ["slow", "quick", "quick"]
    house.advance("10s")
    slow = house.invocations.of("slow")
    assert slow[1].at == slow[0].at + timedelta(seconds=5)


def test_a_gateway_that_cannot_be_reached_uses_up_no_attempt(build: Build) -> None:
    house = build(mappings("retry: {attempts: 2, first: 1s}"))
    house.function("hello").unreachable()
    motion(house)
    house.advance("1h")
    assert house.invocations.only().outcome == "parked"
    assert "cannot connect" in house.invocations.only().reason
    house.function("hello").recovers()
    house.advance("10m")
    assert house.invocations.only().outcome == "succeeded"


def test_a_function_that_is_not_deployed_is_parked_until_it_is(build: Build) -> None:
    house = build(mappings())
    house.function("hello").unknown(times=2)
    motion(house)
    assert house.invocations.only().outcome == "parked"
    house.advance("10m")
    assert house.invocations.only().outcome == "succeeded"


def test_answers_come_in_the_order_they_were_told(build: Build) -> None:
    house = build(mappings())
    house.function("hello").answers_in_turn(500, 502).hangs(times=1).answers(503).answers(204)
    motion(house)
    house.advance("5m")
    assert [made.status for made in house.invocations.only().attempts] == [500, 502, None, 204]


@pytest.mark.parametrize(
    ("given", "status", "body"),
    [
        (None, 200, b""),
        (202, 202, b""),
        ("text", 200, b"text"),
        (b"\xff", 200, b"\xff"),
        ({"a": 1}, 200, b'{"a":1}'),
        ([1], 200, b"[1]"),
        ((409, "no"), 409, b"no"),
        ((201, None), 201, b""),
    ],
)
def test_a_callable_stands_in_for_a_function(build: Build, given: object, status: int, body: bytes) -> None:
    asked: list[Call] = []

    def answer(call: Call) -> object:
        asked.append(call)
        return given

    house = build(mappings())
    house.function("hello").calls(answer)
    motion(house)
    (made,) = house.invocations.only().attempts
    assert (made.status, made.answer) == (status, body)
    assert (asked[0].event.sensor, asked[0].attempt) == ("front-door", 1)
    assert asked[0].payload == house.invocations.only().payload


def test_a_callable_that_raises_is_a_500_with_what_it_said(build: Build) -> None:
    house = build(mappings("retry: {attempts: 1}"))
    house.function("hello").calls(lambda call: 1 / 0)
    motion(house)
    assert house.invocations.only().status == 500
    assert "ZeroDivisionError: division by zero" in house.invocations.only().reason


def test_a_function_runs_for_real_with_its_environment_and_secrets(build: Build, stack: str) -> None:
    house = build(mappings(), functions=stack)
    before = (
        dict(os.environ),
        list(sys.path),
        {name for name in sys.modules if name.split(".")[0] in ("function", "shared")},
    )
    house.function("hello").runs(secrets={"pin": "1234"})
    motion(house)
    house.pi("pi-1").sensor("front-door").still().motion()
    answers = [one.attempts[0].answer for one in house.invocations]
    assert answers == [
        b'["good evening", "1234", "hello", "hello", 1]',
        b'["good evening", "1234", "hello", "hello", 2]',
    ]
    assert house.invocations[0].status == 201
    after = (
        dict(os.environ),
        list(sys.path),
        {name for name in sys.modules if name.split(".")[0] in ("function", "shared")},
    )
    assert after == before


def test_two_functions_with_modules_of_the_same_name_do_not_meet(build: Build, stack: str) -> None:
    house = build(rings("hello", "other"), functions=stack)
    house.function("hello").runs(secrets={"pin": "1"}, environment={"greeting": "hi"})
    house.function("other").runs()
    house.pi("pi-1").sensor("doorbell").press().release().press()
    assert [one.attempts[0].answer for one in house.invocations.of("other")] == [b"other", b"other"]
    assert house.invocations.of("hello")[1].attempts[0].answer == b'["hi", "1", "hello", "hello", 2]'


def test_a_function_that_waits_takes_virtual_time(build: Build, stack: str) -> None:
    house = build(mappings(), functions=stack)
    house.function("hello").answers()
    house.function("slow").runs()
    house.replace_mappings(mappings().replace("hello", "slow"))
    motion(house)
    assert house.invocations.only().outcome == "running"
    house.advance("8s")
    (made,) = house.invocations.only().attempts
    assert made.answer == b"at last"
    assert made.ended_at == made.at + timedelta(seconds=7)


def test_a_streamed_answer_is_taken_whole_and_its_place_is_free_again(build: Build, stack: str, tmp_path: Path) -> None:
    (tmp_path / "functions" / "slow" / "handler.py").write_text(
        "def handle(req):\n    yield 'at '\n    yield b'last'\n"
    )
    (tmp_path / "functions" / "stack.yml").write_text(
        STACK.replace("image: slow}", "image: slow, environment: {max_inflight: 1}}"), encoding="utf-8"
    )
    house = build(mappings().replace("hello", "slow"), functions=stack)
    house.function("slow").runs()
    for _ in range(2):
        house.pi("pi-1").sensor("front-door").still().motion()
    assert [one.attempts[0].answer for one in house.invocations] == [b"at last", b"at last"]


def test_a_function_that_cannot_run_says_why(build: Build, stack: str) -> None:
    house = build(rings("nothing"), functions=stack)
    with pytest.raises(FunctionNotFound, match="there is no function nothing in the stack file; it has hello, other"):
        house.function("nothing").runs()
    with pytest.raises(FunctionUnavailable, match="hello wants the secret pin; give it with runs"):
        house.function("hello").runs()
    with pytest.raises(FunctionUnavailable, match=r"broken cannot be loaded: importing .*handler.py failed: OSError"):
        house.function("broken").runs()
    with pytest.raises(FunctionUnavailable, match=r"count is a command, not a handler.py"):
        house.function("count").runs()
