"""What every long-running program shares: health with reasons, metrics, the word to systemd, and the order of stopping.

A program is an async context manager: entering starts it, leaving stops it in an order that it documents. `serve` runs
one until it is told to stop or one of its tasks fails.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import shutil
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import orjson
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bridge.clock import Clock
from bridge.errors import BridgeError
from bridge.runtime.http import Request, Response, Server

_log = logging.getLogger(__name__)

disable_created_metrics()  # type: ignore[no-untyped-call] # theirs; it drops a second series for every counter

Check = Callable[[], str | None]
"""None when all is well, else the reason in words."""


class Health:
    """Named checks behind `/healthz` (is it alive: restart it if not) and `/readyz` (can it do its work now)."""

    def __init__(self) -> None:
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}

    def require_alive(self, name: str, check: Check) -> None:
        """Without this the program is broken for good and should be restarted."""
        self._alive[name] = check

    def require_ready(self, name: str, check: Check) -> None:
        """Without this the program waits for something that may come back by itself."""
        self._ready[name] = check

    def not_alive(self) -> dict[str, str]:
        """The reasons why the program should be restarted, by the check's name; empty when there is none."""
        return _reasons(self._alive)

    def not_ready(self) -> dict[str, str]:
        """The reasons why the program cannot work now, by the check's name; empty when there is none."""
        return {**_reasons(self._alive), **_reasons(self._ready)}


class Disk(Collector):
    """Shows what is left of the disk that a state folder is on; asked of the kernel when somebody looks."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._folder = folder
        registry.register(self)

    def describe(self) -> Iterator[Metric]:
        return iter(self._families(None, None))

    def collect(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError as error:  # no figure is better than a wrong one; whoever writes there says more
            extra = {"op": "disk", "folder": str(self._folder), "why": str(error)}
            _log.warning("cannot ask for the disk", extra=extra)
            return iter(self._families(None, None))
        return iter(self._families(usage.free, usage.total))

    @staticmethod
    def _families(free: int | None, total: int | None) -> tuple[Metric, Metric]:
        return (
            GaugeMetricFamily("gpio_bridge_disk_free_bytes", "What is free where the state folder is.", free),
            GaugeMetricFamily("gpio_bridge_disk_bytes", "The size of the disk where the state folder is.", total),
        )


class Program(Protocol):
    """A long-running program."""

    name: str
    health: Health

    async def __aenter__(self) -> Self:
        """Start; raises BridgeError when it cannot."""

    async def __aexit__(self, *exc: object) -> None:
        """Stop within seconds."""

    async def failed(self) -> None:
        """Wait until a task of the program ends by an error, and raise it."""


async def serve(program: Program, stop: asyncio.Event, clock: Clock, notifier: Notifier) -> None:
    """Run the program until `stop` is set; raises what a failed task of it raised.

    systemd hears READY after the start, the watchdog while the program is alive, and STOPPING first of all at the end.
    """
    async with program:
        _settle_collector()
        notifier.notify("READY=1")
        tasks = [
            asyncio.create_task(stop.wait(), name="stop signal"),
            asyncio.create_task(program.failed(), name=f"{program.name} failed"),
            asyncio.create_task(_watchdog(program.health, clock, notifier), name="watchdog"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            notifier.notify("STOPPING=1")
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome


async def first_failed(*failed: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Wait until the first of several waits for a failure ends, and raise what it raises; the others are cancelled."""
    waiting = [asyncio.create_task(wait()) for wait in failed]
    try:
        await first_ended(*waiting)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def first_ended(*ends: asyncio.Future[None]) -> None:
    """Wait until the first of several tasks or futures ends, and raise what it raises; of two, that of the former."""
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        if end.done():
            end.result()


def _settle_collector() -> None:
    """Let the garbage collector look at what is new, seldom, and never again at what the start has made.

    With Python's own thresholds it took a fifth of the dispatcher's time in a burst, in pauses up to 0.2 s (measured).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def make_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Make a folder for a program's state where there is none, with those above it. Raises BridgeError."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        # Of several that are missing, the system names the one that cannot be made; a link to nowhere "exists".
        raise BridgeError(
            f"cannot make the folder {folder}: {error.strerror or error} ({error.filename}); "
            "check who owns what is there, or give the program another folder with state_dir"
        ) from error


class Notifier:
    """Tells the service manager how we are (sd_notify(3)); silent where nobody listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        interval_us = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        known = interval_us.isascii() and interval_us.isdigit() and int(interval_us) > 0
        self.watchdog_s: float | None = int(interval_us) / 1e6 if known and mine else None

    def notify(self, state: str) -> None:
        """Send one assignment, such as `READY=1` or `STATUS=...`; nobody listening is no reason to stop."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
                connection.setblocking(False)
                connection.connect(address)
                connection.sendall(state.encode())
        except OSError as error:
            _log.warning(
                "the service manager does not listen",
                extra={"op": "service.notify", "address": self._address, "state": state, "why": str(error)},
            )


async def _watchdog(health: Health, clock: Clock, notifier: Notifier) -> None:
    """Feed systemd's watchdog at a third of its time, and only while nothing says that a restart is needed."""
    if notifier.watchdog_s is None:
        await asyncio.Event().wait()
        return
    while True:
        reasons = health.not_alive()
        if reasons:
            notifier.notify("STATUS=" + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        else:
            notifier.notify("WATCHDOG=1")
        await clock.sleep(notifier.watchdog_s / 3)


def page(path: str, health: Health, registry: CollectorRegistry) -> tuple[int, str, bytes] | None:
    """Status, content type and body of `/healthz`, `/readyz` or `/metrics`; None for any other path."""
    if path == "/healthz":
        return _verdict("alive", health.not_alive())
    if path == "/readyz":
        return _verdict("ready", health.not_ready())
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
    return None


def status_server(
    health: Health, registry: CollectorRegistry, host: str, port: int, *, why: Callable[[], str] = lambda: ""
) -> Server:
    """The HTTP server of a program that serves nothing but its health and metrics.

    `why` says what to tell somebody who asks for more.
    """

    async def answer(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"only GET is served here\n", (("Allow", "GET, HEAD"),))
        found = page(request.path, health, registry)
        if found is None:
            said = f"{why()}try /healthz, /readyz or /metrics\n"
            return Response(404, said.encode(), (("Content-Type", "text/plain; charset=utf-8"),))
        status, content_type, body = found
        return Response(status, body, (("Content-Type", content_type),))

    return Server(answer, host, port)


def _reasons(checks: Mapping[str, Check]) -> dict[str, str]:
    found = {name: check() for name, check in checks.items()}
    return {name: reason for name, reason in found.items() if reason is not None}


def _verdict(word: str, reasons: dict[str, str]) -> tuple[int, str, bytes]:
    body = orjson.dumps({word: not reasons, "reasons": reasons}, option=orjson.OPT_APPEND_NEWLINE)
    return 503 if reasons else 200, "application/json", body
