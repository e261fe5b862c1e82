"""The pool over TLS, against a real TLS server with a certificate of the test's own authority."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.dispatcher.http.answer import Answer
from tests.authority import make_authority
from tests.dispatcher.conftest import until
from tests.dispatcher.http.conftest import OK, REQUEST, Peer, Server, begin, failure, post, serving
from tests.dispatcher.http.test_pool import pool_to, remains


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tls"))


def context(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "localhost.crt", authority / "localhost.key")
    return context


@pytest.fixture
async def server(authority: Path) -> AsyncIterator[Server]:
    async with serving(tls=context(authority)) as server:
        yield server


@pytest.fixture
def trusted(authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine trusts the authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.crt"))


@pytest.mark.usefixtures("trusted")
async def test_over_tls_a_connection_is_kept_and_used_again(server: Server) -> None:
    before = remains()
    async with pool_to(server, host="localhost", scheme="https") as pool:
        for _ in range(3):
            assert (await post(pool)).body == b"ok"
        answers = await asyncio.gather(*(begin(pool) for _ in range(20)))
        assert all(isinstance(answer, Answer) for answer in answers)
        assert server.requests[:3] == [(1, REQUEST)] * 3
        assert server.most_at_once <= 4
    await until(lambda: remains() == before, "nothing is left")


@pytest.mark.usefixtures("trusted")
async def test_over_tls_large_requests_and_answers_are_whole(authority: Path) -> None:
    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            assert request == large
            await peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000)

    large = REQUEST.replace(b": 4", b": 500000") + b"y" * 499_996
    async with serving(behave, tls=context(authority)) as server:
        async with pool_to(server, host="localhost", scheme="https") as pool:
            for _ in range(3):
                assert (await post(pool, large)).body == b"x" * 2048
        assert server.connections == 1


@pytest.mark.usefixtures("trusted")
async def test_over_tls_a_connection_that_idles_and_is_closed_is_not_handed_out(authority: Path) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.answer(OK)

    async with serving(behave, tls=context(authority)) as server:
        async with pool_to(server, host="localhost", scheme="https") as pool:
            await post(pool)
            await until(lambda: pool.open == 0, "closed")
            await post(pool)
        assert server.connections == 2


async def test_a_certificate_nobody_vouches_for_is_refused_as_not_reached(server: Server) -> None:
    async with pool_to(server, host="localhost", scheme="https") as pool:
        failed = await failure(pool)
    assert not failed.reached
    url = f"https://localhost:{server.port}"
    assert failed.reason == f"cannot connect to {url}: unable to get local issuer certificate"
    assert server.requests == []


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_of_somebody_else_is_refused_as_not_reached(server: Server) -> None:
    async with pool_to(server, host="127.0.0.1", scheme="https") as pool:
        failed = await failure(pool)
    assert not failed.reached
    assert "certificate is not valid for '127.0.0.1'" in failed.reason
    assert server.requests == []


async def test_plain_http_where_tls_is_expected_is_refused_as_not_reached() -> None:
    async def behave(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with serving(behave) as server, pool_to(server, host="127.0.0.1", scheme="https") as pool:
        failed = await failure(pool)
    assert not failed.reached
