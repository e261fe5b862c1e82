"""The client: posts a body over kept-alive connections, so many in flight, with one of several HTTP clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from benchmarks.figures import percentile
from benchmarks.roles.conversation import Answer, Command, converse, say

Post = Callable[[], Awaitable[int]]
_TIMEOUT_S = 60.0


async def _httpx(url: str, body: bytes, in_flight: int) -> AsyncIterator[Post]:
    import httpx  # noqa: PLC0415 - only the client that is measured is in memory

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_S, trust_env=False) as client:

        async def post() -> int:
            return (await client.post(url, content=body)).status_code

        yield post


async def _aiohttp(url: str, body: bytes, in_flight: int) -> AsyncIterator[Post]:
    import aiohttp  # noqa: PLC0415 - only the client that is measured is in memory

    connector, timeout = aiohttp.TCPConnector(limit=in_flight), aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client:

        async def post() -> int:
            async with client.post(url, data=body) as answer:
                await answer.read()
                return answer.status

        yield post


async def _ours(url: str, body: bytes, in_flight: int) -> AsyncIterator[Post]:
    """The dispatcher's client; a future for each request is the price of measuring it like the others."""
    from bridge.clock import RealClock  # noqa: PLC0415 - only the client that is measured is in memory
    from bridge.dispatcher.http import answer  # noqa: PLC0415
    from bridge.dispatcher.http.pool import Pool  # noqa: PLC0415
    from bridge.dispatcher.http.request import Origin, Requests  # noqa: PLC0415

    parts = urlsplit(url)
    place, _, name = parts.path.strip("/").partition("/")
    origin, loop = Origin(f"{parts.scheme}://{parts.netloc}"), asyncio.get_running_loop()
    requests, headers = Requests(origin), {"Content-Type": "application/octet-stream"}
    async with Pool(origin, RealClock(), connections=in_flight, connect_timeout_s=_TIMEOUT_S) as pool:

        async def post() -> int:
            answered = loop.create_future()

            def told(result: answer.Answer | answer.Failed, _: float) -> None:
                answered.set_result(result)

            pool.post(requests.post(place, name, headers, body), _TIMEOUT_S, told)
            result: answer.Answer | answer.Failed = await answered
            if isinstance(result, answer.Failed):
                raise ConnectionError(result.reason)
            return result.status

        yield post


async def _bare(url: str, body: bytes, in_flight: int) -> AsyncIterator[Post]:
    """HTTP/1.1 on asyncio's streams, as little as works with a length that is told: the floor."""
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    free = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(in_flight)]
    opened = list(free)

    async def post() -> int:
        reader, writer = free.pop()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, length = head.partition(b"\r\ncontent-length:")
        if not found:
            raise ConnectionError("the answer does not tell its length")
        await reader.readexactly(int(length.partition(b"\r\n")[0]))
        free.append((reader, writer))
        return int(head[9:12])

    try:
        yield post
    finally:
        for _, writer in opened:
            writer.close()


LIBRARIES: Final[dict[str, Callable[[str, bytes, int], AsyncIterator[Post]]]] = {
    "httpx": _httpx,
    "aiohttp": _aiohttp,
    "ours": _ours,
    "bare": _bare,
}


async def measure(command: Command) -> Answer:
    """Post `requests` times, after some to warm up; seconds, processor seconds and latencies of all that follow."""
    in_flight, total = int(command["in_flight"]), int(command["requests"])
    opened = asynccontextmanager(LIBRARIES[command["library"]])
    async with opened(command["url"], b"x" * int(command["bytes"]), in_flight) as post:
        latencies: list[float] = []

        async def work(left: list[None]) -> None:
            while left:
                left.pop()
                began = time.perf_counter()
                status = await post()
                latencies.append(time.perf_counter() - began)
                if status != 200:
                    raise ConnectionError(f"{command['url']} answered {status}")

        for count in (max(in_flight, total // 20), total):
            latencies.clear()
            left = [None] * count
            began, cpu = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight):
                    group.create_task(work(left))
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {
        "seconds": seconds,
        "cpu_s": cpu_s,
        "p50_s": percentile(latencies, 50),
        "p99_s": percentile(latencies, 99),
    }


async def main() -> None:
    """Answer until the input ends."""
    say(ready=True)
    await converse(measure)


if __name__ == "__main__":
    asyncio.run(main())
