"""Asynchronous calls: accepted, made, tried again, called back, and kept over a kill."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.gateway.settings import AsyncSettings, TimeoutSettings
from bridge.runtime.http import Request, Response, Server
from tests.gateway.workbench import Bench, until

QUICK = AsyncSettings(attempts=4, first_s=0.05, max_s=0.1)
APPEND = """
import os
def handle(event, context):
    with open(os.environ['OUT'], 'a') as file:
        file.write(event.body.decode() + '\\n')
    return {'statusCode': 201, 'body': event.body + b'!', 'headers': {'X-Mine': 'm'}}
"""


class Listener:
    """Takes callbacks; answers the first `failures` of them with 500."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.failures = 0

    async def __call__(self, request: Request) -> Response:
        self.got.append(request)
        if self.failures:
            self.failures -= 1
            return Response(500)
        return Response(200)


@pytest.fixture
async def listener() -> AsyncIterator[tuple[Listener, str]]:
    listener = Listener()
    async with Server(listener, "127.0.0.1", 0) as server:
        yield listener, f"http://127.0.0.1:{server.port}/back"


async def test_a_call_is_accepted_made_and_called_back(bench: Bench, listener: tuple[Listener, str]) -> None:
    heard, url = listener
    out = bench.folder / "out"
    await bench.deploy("append", APPEND, envVars={"OUT": str(out)})
    async with bench.request(
        "POST", "/async-function/append.openfaas-fn/p?q=1", data=b"hi", headers={"X-Callback-Url": url}
    ) as answer:
        assert (answer.status, await answer.read()) == (202, b"")
        call_id = answer.headers["X-Call-Id"]
    await until(lambda: heard.got, "the callback came")
    (request,) = heard.got
    assert (request.method, request.body) == ("POST", b"hi!")
    assert request.header("X-Function-Name") == "append"
    assert request.header("X-Function-Status") == "201"
    assert request.header("X-Call-Id") == call_id
    assert request.header("X-Mine") == "m"
    assert float(request.header("X-Duration-Seconds") or "") > 0
    assert out.read_text(encoding="utf-8") == "hi\n"


async def test_other_methods_unknown_functions_and_bad_callbacks_are_refused(bench: Bench) -> None:
    await bench.deploy("echo")
    assert (await bench.call("GET", "/async-function/echo"))[0] == 405
    assert (await bench.call("POST", "/async-function/nobody"))[0] == 404
    for url in ("ftp://a/b", "nonsense", "http://", "/relative"):
        assert (await bench.call("POST", "/async-function/echo", headers={"X-Callback-Url": url}))[0] == 400
    assert (await bench.call("POST", "/async-function/echo", data=b"x" * 1_048_576 + b""))[0] == 202


async def test_a_body_beyond_the_bound_gets_413(idle_bench: Bench) -> None:
    await idle_bench.start(asynchronous=dataclasses.replace(QUICK, max_body_bytes=10))
    await idle_bench.deploy("echo")
    assert (await idle_bench.call("POST", "/async-function/echo", data=b"x" * 11))[0] == 413


async def test_a_failed_callback_is_tried_again(idle_bench: Bench, listener: tuple[Listener, str]) -> None:
    bench, (heard, url) = idle_bench, listener
    heard.failures = 2
    await bench.start(asynchronous=QUICK)
    await bench.deploy("echo")
    await bench.call("POST", "/async-function/echo", headers={"X-Callback-Url": url})
    await until(lambda: len(heard.got) == 3, "the third attempt came")


async def test_a_call_that_asks_for_patience_is_tried_again_and_a_500_is_an_answer(
    idle_bench: Bench, listener: tuple[Listener, str]
) -> None:
    bench, (heard, url) = idle_bench, listener
    await bench.start(asynchronous=QUICK)
    code = "count = 0\ndef handle(event, context):\n    global count\n    count += 1\n"
    code += "    return {'statusCode': int(event.body) if count < 3 else 200, 'body': str(count)}\n"
    await bench.deploy("moody", code)
    await bench.call("POST", "/async-function/moody", data=b"429", headers={"X-Callback-Url": url})
    await until(lambda: heard.got, "the callback came")
    assert (heard.got[0].header("X-Function-Status"), heard.got[0].body) == ("200", b"3")
    await bench.deploy("moody2", code)
    await bench.call("POST", "/async-function/moody2", data=b"500", headers={"X-Callback-Url": url})
    await until(lambda: len(heard.got) == 2, "the second callback came")
    assert (heard.got[1].header("X-Function-Status"), heard.got[1].body) == ("500", b"1")


async def test_a_function_that_cannot_be_reached_is_called_back_with_503(
    idle_bench: Bench, listener: tuple[Listener, str]
) -> None:
    bench, (heard, url) = idle_bench, listener
    await bench.start(asynchronous=dataclasses.replace(QUICK, attempts=2))
    await bench.deploy("broken", "import nowhere\n", ready=False)
    await bench.call("POST", "/async-function/broken", headers={"X-Callback-Url": url})
    await until(lambda: heard.got, "the callback came")
    assert heard.got[0].header("X-Function-Status") == "503"


async def test_a_full_queue_refuses_and_a_slow_function_does_not_hold_up_the_others(idle_bench: Bench) -> None:
    bench = idle_bench
    drain = TimeoutSettings(drain_s=0.2)
    await bench.start(asynchronous=dataclasses.replace(QUICK, concurrency=2, max_calls=5), timeouts=drain)
    out = bench.folder / "out"
    await bench.deploy(
        "slow", "import time\ndef handle(event, context):\n    time.sleep(30)\n", envVars={"exec_timeout": "60s"}
    )
    await bench.deploy("append", APPEND, envVars={"OUT": str(out)})
    for _ in range(4):
        assert (await bench.call("POST", "/async-function/slow"))[0] == 202
    assert (await bench.call("POST", "/async-function/append", data=b"past"))[0] == 202
    await until(lambda: out.exists() and out.read_text(encoding="utf-8") == "past\n", "the other function was called")

    async def refused() -> bool:
        return (await bench.call("POST", "/async-function/slow"))[0] == 503

    await until(refused, "the queue is full")


async def test_accepted_calls_survive_a_gateway_that_forgets_to_stop(bench: Bench, tmp_path: Path) -> None:
    """The journal as a kill leaves it: calls stored, none of them made."""
    out = bench.folder / "out"
    go = bench.folder / "go"
    code = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists():\n    time.sleep(0.01)\n{APPEND}"
    await bench.deploy("append", code, ready=False, envVars={"OUT": str(out)})
    answers = await asyncio.gather(*(bench.call("POST", "/async-function/append", data=b"%d" % n) for n in range(20)))
    assert {status for status, _ in answers} == {202}
    copy = tmp_path / "copy"
    with sqlite3.connect(bench.settings.state_dir / "async.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    go.touch()
    await until(lambda: out.exists() and len(out.read_text(encoding="utf-8").split()) == 20, "all were made")
    await bench.stop()
    out.unlink()
    for part in bench.settings.state_dir.glob("async.db*"):
        part.unlink()
    copy.rename(bench.settings.state_dir / "async.db")
    await bench.start()
    await until(lambda: out.exists() and len(out.read_text(encoding="utf-8").split()) == 20, "all were made again")
    assert sorted(out.read_text(encoding="utf-8").split(), key=int) == [str(n) for n in range(20)]
