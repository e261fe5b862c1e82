"""A gateway whose connections behave as a test says, and a way to wait for what a pool tells."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bridge.dispatcher.http.answer import Answer, Failed
from bridge.dispatcher.http.pool import Pool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
REQUEST = b"POST /function/f HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


class Peer:
    """The gateway's side of one connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader = reader
        self.writer = writer

    async def request(self) -> bytes | None:
        """The next request, whole; None when there is no other."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await self._reader.readexactly(length)

    async def answer(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        await self._reader.read()


Behaviour = Callable[[Peer], Awaitable[None]]


class Server:
    """Counts connections and requests; a connection ends when its behaviour does."""

    def __init__(self, behave: Behaviour | None) -> None:
        self.behave = behave or self.polite
        self.requests: list[tuple[int, bytes]] = []
        """Number of the connection, and the request."""
        self.connections = 0
        self.most_at_once = 0
        self._open = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await self.behave(Peer(self.connections, reader, writer))
        except ConnectionError:
            pass  # the pool has closed it, which is what is tested
        finally:
            self._open -= 1
            writer.close()

    async def polite(self, peer: Peer) -> None:
        """Answer every request."""
        while request := await peer.request():
            self.requests.append((peer.number, request))
            await peer.answer(OK)


@asynccontextmanager
async def serving(
    behave: Behaviour | None = None, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server on a free port; without a behaviour it is polite."""
    server = Server(behave)
    listener = await asyncio.start_server(server.serve, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for _ in range(5):  # who has just been let in is met, or nobody would close his connection
            await asyncio.sleep(0)
        serving_tasks = [task for task in asyncio.all_tasks() if "Server.serve" in repr(task.get_coro())]
        for task in serving_tasks:
            task.cancel()
        await asyncio.gather(*serving_tasks, return_exceptions=True)
        await listener.wait_closed()


def begin(pool: Pool, request: bytes = REQUEST, timeout_s: float = 60.0) -> asyncio.Future[Answer | Failed]:
    """Post; the future gets what is told, and complains when it is told twice or too soon."""
    told: asyncio.Future[Answer | Failed] = asyncio.get_running_loop().create_future()
    pool.post(request, timeout_s, lambda result, duration_s: told.set_result(result))
    assert not told.done(), "told before post returned"
    return told


async def post(pool: Pool, request: bytes = REQUEST, timeout_s: float = 60.0) -> Answer:
    """Post, and expect an answer."""
    result = await begin(pool, request, timeout_s)
    assert isinstance(result, Answer), result
    return result


async def failure(pool: Pool, request: bytes = REQUEST, timeout_s: float = 60.0) -> Failed:
    """Post, and expect none."""
    result = await begin(pool, request, timeout_s)
    assert isinstance(result, Failed), result
    return result
