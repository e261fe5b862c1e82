"""The sink: an HTTP server that plays the gateway and answers at once (or after `--delay-ms`), and notes what came."""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import time
from collections.abc import Callable
from datetime import datetime

from benchmarks.roles.conversation import Answer, Command, converse, say

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIME = re.compile(rb'"time":"([^"]+)"')
_SOURCE = re.compile(rb'"source":"([^"]+)"')
_SEQUENCE = re.compile(rb'"sequence":"(\d+)"')
_KEY = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)


class Sink:
    """What arrived since the last `reset`: when, and the request as it was."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.arrived: list[tuple[int, bytes]] = []
        self._wanted = 0
        self._enough = asyncio.Event()

    def note(self, at_ns: int, request: bytes) -> None:
        """A request is complete."""
        self.arrived.append((at_ns, request))
        if len(self.arrived) == self._wanted:
            self._enough.set()

    async def answer(self, command: Command) -> Answer:
        """`reset`; `wait` for a count; `report` what came."""
        match command["do"]:
            case "reset":
                self.arrived.clear()
                gc.collect()
                return {}
            case "wait":
                return await self._wait(command["count"], command["within_s"])
            case "report":
                return self._report()
            case other:
                raise ValueError(f"a sink cannot {other}")

    async def _wait(self, count: int, within_s: float) -> Answer:
        self._enough.clear()
        self._wanted = count
        if len(self.arrived) < count:
            try:
                async with asyncio.timeout(within_s):
                    await self._enough.wait()
            except TimeoutError:
                pass  # the count says it
        last_ns = self.arrived[min(count, len(self.arrived)) - 1][0] if self.arrived else 0
        return {"count": len(self.arrived), "last_ns": last_ns}

    def _report(self) -> Answer:
        """Latencies from the events' own time, distinct invocations, and how many came before an earlier one's."""
        latencies, keys, highest, disorder = [], set(), dict[bytes, int](), 0
        for at_ns, request in self.arrived:
            key = _KEY.search(request)
            again = key is not None and key[1] in keys
            if key is not None:
                keys.add(key[1])
            time_ = _TIME.search(request)
            if time_ is not None:
                latencies.append(at_ns / 1e9 - datetime.fromisoformat(time_[1].decode()).timestamp())
            source, sequence = _SOURCE.search(request), _SEQUENCE.search(request)
            if source is not None and sequence is not None and not again:
                number = int(sequence[1])
                disorder += number < highest.get(source[1], 0)
                highest[source[1]] = max(number, highest.get(source[1], 0))
        return {"latencies_s": latencies, "distinct": len(keys), "out_of_order": disorder}


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
            length = _LENGTH.search(self._buffer, 0, head)
            end = head + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < end:
                return
            self._sink.note(at_ns, bytes(self._buffer[:end]))
            del self._buffer[:end]
            if self._sink.delay_s:
                asyncio.get_running_loop().call_later(self._sink.delay_s, self._write, _ANSWER)
            else:
                self._write(_ANSWER)


async def main(delay_s: float) -> None:
    """Listen on a free port, and say which."""
    sink = Sink(delay_s)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(sink), "127.0.0.1", 0)
    say(port=server.sockets[0].getsockname()[1])
    await converse(sink.answer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay-ms", type=float, default=0.0)
    gc.disable()  # a collection would show up as somebody else's latency
    asyncio.run(main(parser.parse_args().delay_ms / 1000))
