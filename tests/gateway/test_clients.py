"""Clients that are slow, hostile, or simply large."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.gateway.settings import TimeoutSettings
from tests.gateway.test_invoke import SEEN, raw
from tests.gateway.test_supervision import PROGRAM
from tests.gateway.workbench import Bench, until

MIB = 1024 * 1024
QUICK = TimeoutSettings(idle_s=0.4, read_s=0.4, write_s=0.6, drain_s=0.5)


async def ended(bench: Bench, request: bytes, *, within_s: float = 30.0) -> bytes:
    """What comes back for bytes on the wire until the gateway closes, which it has to in time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(request)
    try:
        async with asyncio.timeout(within_s):
            return await reader.read()
    finally:
        writer.close()


async def test_a_client_that_never_finishes_its_head_is_cut_off(idle_bench: Bench) -> None:
    await idle_bench.start(timeouts=QUICK)
    for beginning in (b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "):
        assert await ended(idle_bench, beginning) == b""


async def test_a_client_that_sends_its_head_a_byte_at_a_time_has_no_more_time_for_it(idle_bench: Bench) -> None:
    await idle_bench.start(timeouts=QUICK)
    reader, writer = await asyncio.open_connection("127.0.0.1", idle_bench.gateway.port)
    async with asyncio.timeout(30):
        for byte in itertools.chain(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ", itertools.repeat(ord("x"))):
            if reader.at_eof() or writer.is_closing():
                break
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.05)
    writer.close()


async def test_a_body_that_stops_or_trickles_gets_408_and_frees_the_replica(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=QUICK)
    await bench.deploy("echo")
    head = b"POST /function/echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    for length in (100, 100_000):
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        writer.write(head % length + b"abc")
        assert await asyncio.wait_for(reader.read(12), 30) == b"HTTP/1.1 408"
        writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(head % 100_000)
    answering = asyncio.create_task(reader.read(12))
    began = time.monotonic()
    while not answering.done():
        writer.write(b"x")
        await asyncio.sleep(0.1)
        assert time.monotonic() - began < 30.0, "a byte now and then kept the call alive"
    assert await answering == b"HTTP/1.1 408"
    writer.close()
    backend: Any = bench.gateway.backend
    await until(
        lambda: all(each.in_flight == 0 for each in backend._deployed["echo"].function.replicas.values()), "all is free"
    )


async def test_a_client_that_takes_nothing_of_a_large_answer_is_cut_off(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=QUICK)
    await bench.deploy("large", "def handle(event, context):\n    return b'x' * 30_000_000\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(b"GET /function/large HTTP/1.1\r\nHost: a\r\n\r\n")
    backend: Any = bench.gateway.backend
    (replica,) = backend._deployed["large"].function.replicas.values()
    await until(lambda: replica.in_flight == 1, "the call is in flight")
    await until(lambda: replica.in_flight == 0, "the call was cut off")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(30_000_000)
    writer.close()


async def test_more_clients_than_the_bound_get_503_at_once_and_a_place_is_free_again(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(max_connections=5)
    held = [await asyncio.open_connection("127.0.0.1", bench.gateway.port) for _ in range(5)]
    await asyncio.sleep(0.05)
    answer = await ended(bench, b"")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"X-OpenFaaS-Internal: gateway" in head
    assert b"Content-Length: %d\r\n" % len(body) in head
    held.pop()[1].close()

    async def served() -> bool:
        answer = await ended(bench, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return answer.startswith(b"HTTP/1.1 200")

    await until(served, "there is a place again")
    for _, writer in held:
        writer.close()


async def test_two_hundred_slow_clients_hold_up_nobody_else(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=TimeoutSettings(drain_s=0.2))
    await bench.deploy("echo")
    slow = [await asyncio.open_connection("127.0.0.1", bench.gateway.port) for _ in range(200)]
    for number, (_, writer) in enumerate(slow):
        writer.write(b"POST /function/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n" + b"\r\n" * (number % 2))
    await asyncio.sleep(0.2)
    async with asyncio.timeout(30):  # the slow ones are given twice as long
        assert await bench.invoke("echo", b"quick") == (200, "quick")
    for _, writer in slow:
        writer.close()


SPLIT = (
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"X-Folded: a\r\n b\r\n",
    b" X-Leading: a\r\n",
    b"X-Nul: a\x00b\r\n",
    b"X-Return: a\rb\r\n",
    b"No-Colon\r\n",
)


async def test_a_head_that_hides_a_second_request_is_refused_and_the_second_never_answered(bench: Bench) -> None:
    await bench.deploy("echo")
    hidden = b"0\r\n\r\nGET /function/echo/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    for fields in SPLIT:
        answer = await raw(bench, b"POST /function/echo HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n" + hidden)
        assert answer.split()[1] == b"400", (fields, answer)
        assert b"X-OpenFaaS-Internal: gateway" in answer
        assert answer.count(b"HTTP/1.") == 1, (fields, answer)


async def test_a_whole_address_in_the_request_line_is_read_as_its_path(bench: Bench) -> None:
    """RFC 9112 section 3.2.2; a gateway is no proxy to anywhere else."""
    await bench.deploy("seen", SEEN)
    for target in ("http://evil.example/function/seen/x", "http://u:p@evil.example:1/function/seen/x"):
        answer = await raw(bench, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"] == "/x"
    for target in ("http://evil.example/", "ftp://a/function/seen", "*", "evil.example:443"):
        method = "CONNECT" if target.endswith("443") else "GET"
        answer = await raw(bench, f"{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in (b"307", b"400", b"404", b"405"), (target, answer)


async def test_fields_for_the_next_hop_only_do_not_reach_the_function(bench: Bench) -> None:
    await bench.deploy("seen", SEEN)
    fields = {
        "Connection": "close, X-Hop",
        "X-Hop": "1",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eDp5",
        "Upgrade": "h2c",
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Host": "house.example",
        "X-Kept": "1",
    }
    async with bench.request("GET", "/function/seen", headers=fields) as answer:
        seen = {name.lower(): value for name, value in (await answer.json())["headers"].items()}
    assert seen["x-kept"] == "1"
    assert (seen["x-forwarded-for"], seen["x-forwarded-host"]) == ("203.0.113.7", "house.example")
    assert not {"x-hop", "keep-alive", "te", "proxy-authorization", "upgrade"} & set(seen)


async def test_a_packed_body_arrives_as_it_was_packed(bench: Bench) -> None:
    await bench.deploy("echo")
    packed = gzip.compress(b"a" * 100_000)
    for body in (packed, packed * 400):
        async with bench.request(
            "POST", "/function/echo", data=body, headers={"Content-Encoding": "gzip"}, skip_auto_headers=["Accept"]
        ) as answer:
            assert await answer.read() == body


async def test_a_long_query_and_a_long_field_arrive(bench: Bench) -> None:
    await bench.deploy("seen", SEEN)
    long = "x" * 20_000
    async with bench.request("GET", f"/function/seen?q={long}", headers={"X-Long": long}) as answer:
        seen = await answer.json()
    assert seen["query"] == {"q": long}
    assert {name.lower(): value for name, value in seen["headers"].items()}["x-long"] == long
    assert (await raw(bench, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")).split()[1] == b"400"


async def test_a_function_that_never_answers_is_cut_off_after_its_time(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=TimeoutSettings(upstream_s=0.4, drain_s=0.5))
    await bench.deploy("mute")
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    backend: Any = bench.gateway.backend
    (replica,) = backend._deployed["mute"].function.replicas.values()
    replica.port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(30):
        assert (await bench.invoke("mute", b"x"))[0] == 504
        await left.wait()  # the function sees that nobody waits any more
    server.close()


async def test_a_hundred_megabytes_pass_without_being_held_and_more_gets_413(idle_bench: Bench) -> None:
    """In a process of its own, so that its memory can be told."""
    bench = idle_bench
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(bench.folder / "state"), stdout=subprocess.PIPE
    )
    try:
        assert gateway.stdout is not None
        url = (await asyncio.wait_for(gateway.stdout.readline(), 40)).decode().strip()
        body = {"service": "count", "image": "local", "envProcess": "wc -c"}
        async with bench.session.post(f"{url}/system/functions", json=body) as answer:
            assert answer.status == 202

        async def bytes_of(size: int) -> AsyncIterator[bytes]:
            for _ in range(size // MIB):
                yield bytes(MIB)
            yield bytes(size % MIB)

        before = peak_bytes(gateway.pid)
        async with bench.session.post(f"{url}/function/count", data=bytes_of(100 * MIB)) as answer:
            assert (answer.status, (await answer.text()).strip()) == (200, str(100 * MIB))
        assert peak_bytes(gateway.pid) - before < 16 * MIB
        async with bench.session.post(f"{url}/function/count", data=bytes_of(100 * MIB + 1)) as answer:
            assert answer.status == 413
        assert peak_bytes(gateway.pid) - before < 16 * MIB
    finally:
        gateway.kill()
        await gateway.wait()


def peak_bytes(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
