"""The sink: an HTTP server that plays the gateway and answers at once (or after `--delay-ms`), and notes what came.

With `--count` it forgets every request once it has counted it, so that a million leave nothing behind here. `fail`
makes it answer 500 for a while; such a request does not count as arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Callable

from benchmarks.roles.conversation import Answer, Command, converse, say
from benchmarks.roles.tally import LENGTH, Tally, latency_s

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_FAILURE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nno"


class Sink:
    """What arrived since the last `reset`: when, and the request as it was (or, counting, only how many and how)."""

    def __init__(self, delay_s: float, *, counting: bool) -> None:
        self.delay_s = delay_s
        self._counting = counting
        self._arrived: list[tuple[int, bytes]] = []
        self._tally = Tally()
        self._count = 0
        self._last_ns = 0
        self._wanted = 0
        self._enough = asyncio.Event()
        self._fails_until = 0.0

    def note(self, at_ns: int, request: bytes) -> bytes:
        """A request is complete. The answer to it."""
        if self._fails_until and time.monotonic() < self._fails_until:
            return _FAILURE
        self._count += 1
        self._last_ns = at_ns
        if self._counting:
            self._tally.add(request)
        else:
            self._arrived.append((at_ns, request))
        if self._count == self._wanted:
            self._enough.set()
        return _ANSWER

    async def answer(self, command: Command) -> Answer:
        """`reset`; `wait` for a count; `fail` for a while; `report` what came."""
        match command["do"]:
            case "reset":
                self._arrived.clear()
                self._tally, self._count, self._last_ns = Tally(), 0, 0
                gc.collect()
                return {}
            case "wait":
                return await self._wait(command["count"], command["within_s"])
            case "fail":
                self._fails_until = time.monotonic() + command["for_s"]
                return {}
            case "report":
                return self._report()
            case other:
                raise ValueError(f"a sink cannot {other}")

    async def _wait(self, count: int, within_s: float) -> Answer:
        """When the `count`-th came (or the last one, when fewer did or a counting sink is asked), and how many did."""
        self._enough.clear()
        self._wanted = count
        if self._count < count:
            try:
                async with asyncio.timeout(within_s):
                    await self._enough.wait()
            except TimeoutError:
                pass  # the count says it
        last_ns = self._arrived[min(count, len(self._arrived)) - 1][0] if self._arrived else self._last_ns
        return {"count": self._count, "last_ns": last_ns}

    def _report(self) -> Answer:
        """Latencies from the events' own time, distinct events, and how many came before an earlier one's."""
        tally, latencies = self._tally if self._counting else Tally(), []
        for at_ns, request in self._arrived:
            tally.add(request)
            latency = latency_s(at_ns, request)
            if latency is not None:
                latencies.append(latency)
        if tally.unnamed:
            raise ValueError(f"{tally.unnamed} requests name no event")
        return {
            "latencies_s": latencies,
            "distinct": tally.distinct,
            "repeated": tally.repeated,
            "out_of_order": tally.out_of_order,
        }


class _Connection(asyncio.Protocol):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()
        self._write: Callable[[bytes], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        at_ns = time.time_ns()
        self._buffer += data
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            answer = self._sink.note(at_ns, bytes(self._buffer[:end]))
            del self._buffer[:end]
            if self._sink.delay_s:
                asyncio.get_running_loop().call_later(self._sink.delay_s, self._write, answer)
            else:
                self._write(answer)


async def main(delay_s: float, *, counting: bool) -> None:
    """Listen on a free port, and say which."""
    sink = Sink(delay_s, counting=counting)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(sink), "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await converse(sink.answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--count", action="store_true")
    arguments = parser.parse_args()
    gc.disable()  # a collection would show up as somebody else's latency
    asyncio.run(main(arguments.delay_ms / 1000, counting=arguments.count))
