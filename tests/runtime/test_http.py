"""The HTTP server over real sockets: well-behaved clients, slow ones, rude ones."""

import asyncio
import contextlib
import http.client
import itertools
import logging
import socket
from collections.abc import AsyncIterator

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.runtime.http import Handler, Request, Response, Server

HOST = "127.0.0.1"
DEADLINE_S = 60.0
"""Only for failing: what nobody limits further waits longer for its clients."""


def server(handler: Handler, *, max_body_bytes: int = 1024, read_timeout_s: float = 600.0, **limits: float) -> Server:
    return Server(
        handler,
        HOST,
        0,
        max_body_bytes=max_body_bytes,
        read_timeout_s=read_timeout_s,
        keepalive_timeout_s=limits.get("keepalive_timeout_s", 600.0),
        write_timeout_s=limits.get("write_timeout_s", 600.0),
        max_connections=int(limits.get("max_connections", 100)),
    )


async def echo(request: Request) -> Response:
    return Response(200, request.body, (("Content-Type", request.header("content-type", "none") or ""),))


async def tell(request: Request) -> Response:
    lines = [request.method, request.target, request.path, request.query, *(f"{k}={v}" for k, v in request.headers)]
    return Response(200, "\n".join(lines).encode())


class Client:
    """A socket and h11's client side, so that answers are read by somebody else's rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._http = h11.Connection(h11.CLIENT)

    @classmethod
    async def to(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection(HOST, port))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def rest(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # it may have been reset, which some tests are about
            await self.writer.wait_closed()

    async def ask(
        self, method: str = "GET", target: str = "/", body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()
    ) -> tuple[h11.Response, bytes]:
        lines = [("Host", "x"), ("Content-Length", str(len(body))), *headers]
        self.send(self._http.send(h11.Request(method=method, target=target, headers=lines)))
        self.send(self._http.send(h11.Data(data=body)))
        self.send(self._http.send(h11.EndOfMessage()))
        response: h11.Response | None = None
        pieces = b""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self.reader.read(65536))
                elif isinstance(event, h11.Response):
                    response = event
                elif isinstance(event, h11.Data):
                    pieces += event.data
                else:
                    assert isinstance(event, h11.EndOfMessage)
                    break
        assert response is not None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return response, pieces


async def raw(port: int, data: bytes) -> bytes:
    """All that comes back for some bytes until the server closes."""
    client = await Client.to(port)
    try:
        client.send(data)
        return await client.rest()
    finally:
        await client.close()


def header(response: h11.Response, name: bytes) -> list[bytes]:
    return [value for key, value in response.headers if key == name]


async def test_a_request_is_handed_over_with_everything_it_says() -> None:
    async with server(tell) as running:
        answer = await raw(
            running.port,
            b"GET /a%20b/c?x=1&y=%C3%A9 HTTP/1.1\r\nHost: h\r\nX-Twice: one\r\nX-Twice: two\r\n"
            b"Connection: close\r\n\r\n",
        )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body.decode().split("\n") == [
        "GET",
        "/a%20b/c?x=1&y=%C3%A9",
        "/a%20b/c",
        "x=1&y=%C3%A9",
        "host=h",
        "x-twice=one",
        "x-twice=two",
        "connection=close",
    ]


async def test_a_target_in_absolute_form_has_the_path_of_its_url() -> None:
    async with server(tell) as running:
        answer = await raw(running.port, b"GET http://h:1/p?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2].split(b"\n")[1:4] == [b"http://h:1/p?q", b"/p", b"q"]


async def test_a_target_that_is_no_url_is_a_bad_request() -> None:
    async with server(tell) as running:
        answer = await raw(running.port, b"GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_one_connection_serves_many_requests() -> None:
    async with server(echo) as running:
        client = await Client.to(running.port)
        for number in range(50):
            _, body = await client.ask("POST", "/", str(number).encode())
            assert body == str(number).encode()
        assert running.connections == 1
        await client.close()


async def test_pipelined_requests_are_answered_one_at_a_time_and_in_order() -> None:
    at_work = 0
    most = 0

    async def slower_first(request: Request) -> Response:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        for _ in range(5 - int(request.path[1:])):
            await asyncio.sleep(0)
        at_work -= 1
        return Response(200, request.path.encode())

    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(5))
    last = b"GET /5 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    async with server(slower_first) as running:
        answer = await raw(running.port, requests + last)
    assert [part[:2] for part in answer.split(b"\r\n\r\n")[1:]] == [b"/0", b"/1", b"/2", b"/3", b"/4", b"/5"]
    assert most == 1


async def test_pipelined_bytes_beyond_the_first_request_wait_in_the_socket() -> None:
    release = asyncio.Event()

    async def waiting(request: Request) -> Response:
        await release.wait()
        return Response(200, request.path.encode())

    async with server(waiting, max_body_bytes=10_000_000) as running:
        client = await Client.to(running.port)
        client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
        client.send(
            b"POST /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8000000\r\n\r\n" + bytes(8_000_000)
        )
        with pytest.raises(TimeoutError):  # the server doesn't read on, so the client can't get rid of it
            async with asyncio.timeout(0.2):
                await client.writer.drain()
        release.set()
        answer = await client.rest()
        await client.close()
    assert b"\r\n\r\n/1" in answer
    assert answer.endswith(b"\r\n\r\n/2")


async def test_every_byte_value_passes_unchanged_in_both_directions() -> None:
    body = bytes(range(256)) * 4
    async with server(echo) as running:
        client = await Client.to(running.port)
        response, answer = await client.ask("POST", "/", body, (("Content-Type", "application/octet-stream"),))
        await client.close()
    assert answer == body
    assert header(response, b"content-type") == [b"application/octet-stream"]
    assert header(response, b"content-length") == [b"1024"]
    assert len(header(response, b"date")) == 1


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=50), max_size=8), cuts=st.lists(st.integers(1, 400), max_size=6))
def test_a_chunked_request_arrives_whole_however_it_is_cut(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    data += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})

    async def run() -> bytes:
        async with server(echo) as running:
            client = await Client.to(running.port)
            for start, end in itertools.pairwise(edges):
                client.send(data[start:end])
                await client.writer.drain()
                await asyncio.sleep(0)
            answer = await client.rest()
            await client.close()
            return answer

    assert asyncio.run(run()).partition(b"\r\n\r\n")[2] == b"".join(pieces)


async def test_a_client_that_expects_it_is_told_to_continue_before_it_sends_its_body() -> None:
    async with server(echo) as running:
        client = await Client.to(running.port)
        client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        async with asyncio.timeout(DEADLINE_S):
            told = await client.reader.readuntil(b"\r\n\r\n")
        client.send(b"ok")
        answer = await client.rest()
        await client.close()
    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.endswith(b"\r\n\r\nok")


async def test_an_expectant_client_with_too_large_a_body_is_refused_before_it_sends() -> None:
    async with server(echo) as running:
        answer = await raw(
            running.port, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000),
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4C4B40\r\n"
        + bytes(5_000_000)
        + b"\r\n0\r\n\r\n",
    ],
    ids=["length told", "chunked"],
)
async def test_too_large_a_body_is_refused_and_the_client_that_goes_on_sending_still_reads_why(
    request_bytes: bytes,
) -> None:
    async with server(echo) as running:
        answer = await raw(running.port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"1024 bytes" in answer


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", b"501"),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 300_000, b"431"),
        (b"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", b"501"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
    ids=["words", "no host", "two lengths", "coding", "space", "bad chunk", "headers too long", "connect", "tls"],
)
async def test_what_is_no_http_is_refused_and_the_server_lives_on(request_bytes: bytes, status: bytes) -> None:
    async with server(echo) as running:
        answer = await raw(running.port, request_bytes)
        assert answer.split(b" ", 2)[1] == status
        assert b"connection: close" in answer.lower()
        client = await Client.to(running.port)
        assert (await client.ask("POST", "/", b"still here"))[1] == b"still here"
        await client.close()


async def test_a_request_that_ends_in_the_middle_gets_no_handler() -> None:
    handled = False

    async def handler(request: Request) -> Response:
        nonlocal handled
        handled = True
        return Response()

    async with server(handler) as running:
        client = await Client.to(running.port)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        client.writer.write_eof()
        answer = await client.rest()
        await client.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not handled


async def test_a_client_that_closes_its_sending_side_still_gets_its_answer() -> None:
    async with server(echo) as running:
        client = await Client.to(running.port)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        client.writer.write_eof()
        assert (await client.rest()).endswith(b"\r\n\r\nhi")
        await client.close()


async def test_a_client_that_drips_its_request_is_told_408_however_steadily_it_drips() -> None:
    async with server(echo, read_timeout_s=0.2) as running:
        client = await Client.to(running.port)

        async def drip() -> None:
            for byte in itertools.cycle(b"GET / HTTP/1.1\r\nX: " + b"a" * 200):
                client.send(bytes([byte]))
                await asyncio.sleep(0.01)

        dripping = asyncio.create_task(drip())
        answer = await client.rest()
        dripping.cancel()
        await client.close()
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_body_that_stops_coming_is_told_408() -> None:
    async with server(echo, read_timeout_s=0.1) as running:
        answer = await raw(running.port, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_the_time_to_read_does_not_run_while_the_handler_works() -> None:
    async def slow(request: Request) -> Response:
        await asyncio.sleep(0.5)
        return Response(200, request.body)

    async with server(slow, read_timeout_s=0.4, keepalive_timeout_s=0.4) as running:
        client = await Client.to(running.port)
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
        for _ in range(3):  # the server begins to wait for the rest
            await asyncio.sleep(0)
        client.send(b"cd")
        assert (await client.rest()).endswith(b"\r\n\r\nabcd")
        await client.close()


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with server(echo, keepalive_timeout_s=0.4) as running:
        assert await raw(running.port, b"") == b""
        client = await Client.to(running.port)
        await client.ask("POST", "/", b"x")
        assert await client.rest() == b""
        await client.close()


async def test_head_gets_the_head_that_get_would_get() -> None:
    async with server(echo) as running:
        answer = await raw(
            running.port, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: 5\r\n" in head
    assert body == b""


async def test_head_with_an_empty_body_keeps_the_length_the_handler_tells() -> None:
    async def handler(request: Request) -> Response:
        return Response(200, b"", (("Content-Length", "77"),))

    async with server(handler) as running:
        assert b"Content-Length: 77" in await raw(
            running.port, b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )


async def test_no_content_goes_out_without_body_or_length() -> None:
    async def handler(request: Request) -> Response:
        return Response(204, b"ignored")

    async with server(handler) as running:
        answer = await raw(running.port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert b"ength" not in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_a_handler_cannot_break_the_framing_and_keeps_its_duplicate_headers() -> None:
    async def handler(request: Request) -> Response:
        lines = (
            ("Content-Length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
        )
        return Response(200, b"five!", lines)

    async with server(handler) as running:
        client = await Client.to(running.port)
        response, body = await client.ask()
        await client.close()
    assert body == b"five!"
    assert header(response, b"content-length") == [b"5"]
    assert header(response, b"transfer-encoding") == []
    assert header(response, b"set-cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    "bad",
    [
        Response(200, b"x", (("X", "a\r\nSet-Cookie: evil=1"),)),
        Response(200, b"x", (("X Y", "a"),)),
        Response(200, b"x", (("X", "\N{SNOWMAN}"),)),
        Response(99, b"x"),
    ],
    ids=["line break", "name", "not latin-1", "status"],
)
async def test_an_answer_that_http_cannot_carry_becomes_a_500_and_is_logged(
    bad: Response, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request) -> Response:
        return bad

    async with server(handler) as running:
        answer = await raw(running.port, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in answer
    assert "can't carry" in caplog.text


async def test_a_handler_that_raises_answers_500_and_the_connection_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/bad":
            raise KeyError("a secret")
        return Response(200, b"fine")

    async with server(handler) as running:
        client = await Client.to(running.port)
        response, body = await client.ask(target="/bad")
        assert (response.status_code, b"secret" in body) == (500, False)
        assert (await client.ask(target="/good"))[1] == b"fine"
        await client.close()
    assert "KeyError: 'a secret'" in caplog.text


async def test_a_handler_that_is_cancelled_from_inside_answers_500() -> None:
    async def handler(request: Request) -> Response:
        waited: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        waited.cancel()
        return await waited

    async with server(handler) as running:
        client = await Client.to(running.port)
        assert (await client.ask())[0].status_code == 500
        await client.close()


class Pieces(AsyncIterator[bytes]):
    """A streamed body that can fail, wait, and tell that it was closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None, then: asyncio.Event | None = None) -> None:
        self._pieces = list(pieces)
        self._error = error
        self._then = then
        self.closed = asyncio.Event()

    async def __anext__(self) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._then is not None:
            await self._then.wait()
        raise self._error or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed.set()


def streaming(body: AsyncIterator[bytes], *headers: tuple[str, str]) -> Handler:
    async def handler(request: Request) -> Response:
        return Response(200, body, headers)

    return handler


async def test_a_streamed_answer_goes_out_in_chunks_and_the_connection_goes_on() -> None:
    pieces = Pieces(b"one ", b"", b"two")
    async with server(streaming(pieces)) as running:
        client = await Client.to(running.port)
        response, body = await client.ask()
        assert header(response, b"transfer-encoding") == [b"chunked"]
        assert body == b"one two"
        assert (await client.ask())[1] == b""
        await client.close()
    assert pieces.closed.is_set()


async def test_a_streamed_piece_arrives_before_the_next_is_made() -> None:
    hold = asyncio.Event()
    async with server(streaming(Pieces(b"first", then=hold))) as running:
        client = await Client.to(running.port)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            await client.reader.readuntil(b"first\r\n")
        hold.set()
        assert await client.rest() == b"0\r\n\r\n"
        await client.close()


async def test_a_streamed_answer_to_an_old_client_ends_with_the_connection() -> None:
    async with server(streaming(Pieces(b"one ", b"two"))) as running:
        answer = await raw(running.port, b"GET / HTTP/1.0\r\n\r\n")
    assert b"chunked" not in answer
    assert answer.endswith(b"\r\n\r\none two")


async def test_a_streamed_answer_of_told_length_is_not_chunked() -> None:
    async with server(streaming(Pieces(b"one ", b"two"), ("Content-Length", "7"))) as running:
        client = await Client.to(running.port)
        response, body = await client.ask()
        await client.close()
    assert header(response, b"transfer-encoding") == []
    assert body == b"one two"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_stream_that_fails_cuts_the_connection_but_not_for_head(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    pieces = Pieces(b"one", error=RuntimeError("the disk is gone"))
    async with server(streaming(pieces)) as running:
        client = await Client.to(running.port)
        if method == "HEAD":
            assert (await client.ask("HEAD"))[1] == b""
        else:
            client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await client.reader.readuntil(b"0\r\n\r\n")
        await client.close()
    assert pieces.closed.is_set()
    assert ("the disk is gone" in caplog.text) == (method == "GET")


async def test_a_stream_is_closed_when_its_client_leaves() -> None:
    class Endless(Pieces):
        async def __anext__(self) -> bytes:
            await asyncio.sleep(0.001)
            return bytes(1000)

    pieces = Endless()
    async with server(streaming(pieces)) as running:
        client = await Client.to(running.port)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.reader.readexactly(2000)
        client.writer.transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            await pieces.closed.wait()


async def test_a_stream_with_nothing_to_say_is_closed_too_when_its_client_leaves() -> None:
    pieces = Pieces(b"first", then=asyncio.Event())
    async with server(streaming(pieces)) as running:
        client = await Client.to(running.port)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.reader.readuntil(b"first")
        client.writer.transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            await pieces.closed.wait()


async def test_a_client_that_reads_nothing_is_cut_off_and_holds_no_memory_of_a_stream() -> None:
    made = 0

    class Endless(Pieces):
        async def __anext__(self) -> bytes:
            nonlocal made
            made += 1
            await asyncio.sleep(0)
            return bytes(65536)

    pieces = Endless()
    async with server(streaming(pieces), write_timeout_s=0.2) as running:
        client = await Client.to(running.port)
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            await pieces.closed.wait()
        await client.close()
    assert made < 500  # what the kernel's buffers take, and no more


async def test_a_large_answer_to_a_slow_but_steady_reader_is_not_cut_off() -> None:
    size = 6_000_000

    async def handler(request: Request) -> Response:
        return Response(200, bytes(size))

    async with server(handler, write_timeout_s=0.3) as running:
        # The kernel tells that there is room again when a third of its buffer is free: of a large one that takes long.
        assert running._listener is not None
        running._listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (HOST, running.port))
            await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            got = 0
            while data := await loop.sock_recv(client, 262_144):
                got += len(data)
                await asyncio.sleep(0.01)
    assert got > size


async def test_stopping_lets_the_request_in_flight_finish_and_closes_the_door() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def waiting(request: Request) -> Response:
        entered.set()
        await release.wait()
        return Response(200, b"finished")

    running = server(waiting)
    await running.start()
    idle = await Client.to(running.port)
    client = await Client.to(running.port)
    asking = asyncio.create_task(client.ask())
    await entered.wait()
    stopping = asyncio.create_task(running.stop(5))
    assert await idle.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await Client.to(running.port)
    assert not stopping.done()
    release.set()
    response, body = await asking
    assert body == b"finished"
    assert header(response, b"connection") == [b"close"]
    assert await stopping is True
    await client.close()
    await idle.close()


@pytest.mark.parametrize("kept", [True, False], ids=["kept connection", "new connection"])
async def test_a_request_that_has_come_but_was_not_read_when_the_server_stops_is_answered(*, kept: bool) -> None:
    running = server(echo)
    await running.start()
    with socket.create_connection((HOST, running.port), 5) as client:
        if kept:
            client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nfirst")
            assert b"first" in await asyncio.to_thread(client.recv, 4096)
        # The request, and where it is new the connection, has had no turn of the loop when the server is told to stop.
        client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nlast")
        assert await running.stop(5) is True
        answer = client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()
        assert answer.endswith(b"last")
        assert client.recv(1) == b""


async def test_a_retired_server_serves_on_and_each_answer_is_the_last_of_its_connection() -> None:
    async with server(echo) as running:
        kept = await Client.to(running.port)
        response, _ = await kept.ask("POST", "/", b"first")
        assert header(response, b"connection") == []
        running.retire()
        for client, words in ((kept, b"second"), (await Client.to(running.port), b"third")):
            response, body = await client.ask("POST", "/", words)
            assert (header(response, b"connection"), body) == ([b"close"], words)
            assert await client.rest() == b""
            await client.close()


async def test_stopping_cuts_off_what_does_not_finish_in_time_and_says_so() -> None:
    entered = asyncio.Event()
    cancelled = False

    async def stuck(request: Request) -> Response:
        nonlocal cancelled
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
            raise
        return Response()

    running = server(stuck)
    await running.start()
    client = await Client.to(running.port)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await entered.wait()
    assert await running.stop(0.05) is False
    assert cancelled
    assert running.connections == 0
    assert await client.rest() == b""
    await client.close()
    assert await running.stop(0.05) is True


async def test_a_handler_runs_to_its_end_when_its_client_has_left_and_stopping_waits_for_it() -> None:
    entered, release, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        entered.set()
        await release.wait()
        finished.set()
        return Response(200, b"nobody reads this")

    running = server(handler)
    await running.start()
    client = await Client.to(running.port)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await entered.wait()
    client.writer.transport.abort()
    stopping = asyncio.create_task(running.stop(5))
    await asyncio.sleep(0.02)
    assert not stopping.done()
    release.set()
    assert await stopping is True
    assert finished.is_set()


async def test_one_connection_too_many_is_turned_away_with_503() -> None:
    async with server(echo, max_connections=1) as running:
        first = await Client.to(running.port)
        await first.ask("POST", "/", b"in")
        assert (await raw(running.port, b"")).startswith(b"HTTP/1.1 503 ")
        assert (await first.ask("POST", "/", b"still in"))[1] == b"still in"
        await first.close()


async def test_an_upgrade_that_nobody_supports_is_answered_as_a_plain_request() -> None:
    async with server(echo) as running:
        client = await Client.to(running.port)
        head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
        client.send(head)
        async with asyncio.timeout(DEADLINE_S):
            assert (await client.reader.readuntil(b"\r\n\r\nhi")).startswith(b"HTTP/1.1 200 ")
        client.send(head)
        async with asyncio.timeout(DEADLINE_S):
            await client.reader.readuntil(b"\r\n\r\nhi")
        await client.close()


async def test_a_socket_that_is_already_bound_can_be_used() -> None:
    with socket.create_server((HOST, 0)) as bound:
        async with Server(echo, "ignored", 0, sock=bound) as running:
            assert running.port == bound.getsockname()[1]
            client = await Client.to(running.port)
            assert (await client.ask("POST", "/", b"x"))[1] == b"x"
            await client.close()


async def test_a_port_that_is_taken_raises_when_starting() -> None:
    async with server(echo) as first:
        with pytest.raises(OSError, match="in use"):
            await Server(echo, HOST, first.port).start()


async def test_the_standard_librarys_client_gets_along() -> None:
    def ask(port: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        connection.request("POST", "/x", iter([b"a", b"b"]), {"Content-Type": "text/x"}, encode_chunked=True)
        answer = connection.getresponse()
        result = answer.status, answer.read()
        connection.close()
        return result

    async with server(echo) as running:
        assert await asyncio.to_thread(ask, running.port) == (200, b"ab")


def test_a_header_is_found_whatever_its_case() -> None:
    request = Request("GET", "/", "/", headers=(("content-type", "a"), ("content-type", "b")))
    assert request.header("Content-Type") == "a"
    assert request.header("Missing") is None
    assert request.header("Missing", "x") == "x"


@pytest.fixture(autouse=True)
def _quiet_asyncio(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
