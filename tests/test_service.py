from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import orjson
import pytest
from prometheus_client import CollectorRegistry, Counter

from bridge.clock import VirtualClock
from bridge.runtime.http import Server
from bridge.service import Health, Notifier, page, serve, status_server


class Example:
    """A program of which a test decides everything."""

    name = "example"

    def __init__(self) -> None:
        self.health = Health()
        self.log: list[str] = []
        self.error: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        self.log.append("started")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.log.append("stopped")

    async def failed(self) -> None:
        await self.error


class SystemD:
    """The receiving end of sd_notify."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(address)

    def heard(self) -> list[str]:
        heard = []
        while True:
            try:
                heard.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return heard


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemD]:
    receiver = SystemD(str(tmp_path / "notify"))
    with receiver.socket:
        yield receiver


def notifier(tmp_path: Path, **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify"), **more})


async def test_systemd_hears_ready_after_the_start_and_stopping_before_the_end(
    systemd: SystemD, tmp_path: Path
) -> None:
    program, stop, clock = Example(), asyncio.Event(), VirtualClock()
    serving = asyncio.create_task(serve(program, stop, clock, notifier(tmp_path)))
    await clock.settle()
    assert (program.log, systemd.heard()) == (["started"], ["READY=1"])

    stop.set()
    await serving

    assert (program.log, systemd.heard()) == (["started", "stopped"], ["STOPPING=1"])


async def test_what_a_task_of_the_program_raised_is_raised_after_stopping() -> None:
    program, clock = Example(), VirtualClock()
    serving = asyncio.create_task(serve(program, asyncio.Event(), clock, Notifier({})))
    await clock.settle()

    program.error.set_exception(RuntimeError("broken"))

    with pytest.raises(RuntimeError, match="broken"):
        await serving
    assert program.log == ["started", "stopped"]


async def test_cancelling_stops_the_program(systemd: SystemD, tmp_path: Path) -> None:
    program, clock = Example(), VirtualClock()
    serving = asyncio.create_task(serve(program, asyncio.Event(), clock, notifier(tmp_path)))
    await clock.settle()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert program.log == ["started", "stopped"]
    assert systemd.heard() == ["READY=1", "STOPPING=1"]


async def test_the_watchdog_is_fed_at_a_third_of_its_time_while_the_program_is_alive(
    systemd: SystemD, tmp_path: Path
) -> None:
    program, stop, clock = Example(), asyncio.Event(), VirtualClock()
    reasons: list[str] = []
    program.health.require_alive("journal", lambda: reasons[0] if reasons else None)
    serving = asyncio.create_task(serve(program, stop, clock, notifier(tmp_path, WATCHDOG_USEC="30000000")))
    await clock.settle()
    assert systemd.heard() == ["READY=1", "WATCHDOG=1"]
    await clock.advance(25)
    assert systemd.heard() == ["WATCHDOG=1"] * 2

    reasons.append("the disk is gone")
    await clock.advance(10)
    assert systemd.heard() == ["STATUS=journal: the disk is gone"]

    stop.set()
    await serving


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "³"}, None),
    ],
)
def test_the_watchdogs_time_is_read_from_the_environment(environ: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier(environ).watchdog_s == watchdog_s


def test_an_abstract_socket_is_notified() -> None:
    name = f"gpio-bridge-test-{os.getpid()}"
    receiver = SystemD(f"\0{name}")
    with receiver.socket:
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).notify("READY=1")
        assert receiver.heard() == ["READY=1"]


def test_a_service_manager_that_does_not_listen_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        notifier(tmp_path).notify("READY=1")
        Notifier({}).notify("READY=1")

    assert [record.getMessage() for record in caplog.records] == ["the service manager does not listen"]


def test_health_says_why() -> None:
    health = Health()
    assert page("/healthz", health, CollectorRegistry()) == (
        200,
        "application/json",
        b'{"alive":true,"reasons":{}}\n',
    )
    health.require_ready("mqtt", lambda: "not connected")
    health.require_ready("functions", lambda: None)
    assert (health.not_alive(), health.not_ready()) == ({}, {"mqtt": "not connected"})

    health.require_alive("journal", lambda: "damaged")

    ready = page("/readyz", health, CollectorRegistry())
    assert ready is not None
    assert ready[0] == 503
    assert orjson.loads(ready[2]) == {"ready": False, "reasons": {"journal": "damaged", "mqtt": "not connected"}}
    alive = page("/healthz", health, CollectorRegistry())
    assert alive is not None
    assert (alive[0], orjson.loads(alive[2])["reasons"]) == (503, {"journal": "damaged"})
    assert page("/other", health, CollectorRegistry()) is None


async def ask(server: Server, request: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{request}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    try:
        return (await asyncio.wait_for(reader.read(), timeout=60)).decode()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_program_without_pages_serves_its_health_and_metrics() -> None:
    registry = CollectorRegistry()
    Counter("events", "Events", registry=registry).inc()
    async with status_server(Health(), registry, "127.0.0.1", 0) as server:
        assert "200" in (await ask(server, "GET /healthz HTTP/1.1")).splitlines()[0]
        assert "events_total 1.0" in await ask(server, "GET /metrics HTTP/1.1")
        assert "404" in (await ask(server, "GET /other HTTP/1.1")).splitlines()[0]
        assert "\r\n\r\ntry /healthz, /readyz or /metrics" in await ask(server, "GET /other HTTP/1.1")
        refused = await ask(server, "POST /healthz HTTP/1.1")
        assert "405" in refused.splitlines()[0]
        assert "Allow: GET, HEAD" in refused
    async with status_server(Health(), registry, "127.0.0.1", 0, why=lambda: "it sleeps; ") as server:
        assert "\r\n\r\nit sleeps; try /healthz" in await ask(server, "GET /v1/audit HTTP/1.1")
