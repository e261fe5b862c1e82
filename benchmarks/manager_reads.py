"""What the manager's API takes to answer: a thousand mappings, and a hundred nodes whose events never rest.

Real are the broker, the dispatcher that carries out the manager's mappings, a gateway with a function, and the manager,
each a process of its own. Somebody listens to the manager's feed meanwhile.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from benchmarks import parts
from benchmarks.figures import Size, Table, interleave, median, milliseconds, percentile
from benchmarks.machine import cpu_s, loop_starved_s
from benchmarks.processes import BenchmarkError, Child, Role
from benchmarks.roles.nodes import name_of_node, name_of_sensor
from bridge.broker import free_port
from bridge.core.event import rfc3339
from bridge.manager.access.roles import Role as Right
from bridge.manager.access.tokens import create_token

MAPPINGS: Final = 1000
NODES: Final = 100
SENSORS: Final = 10
RATE: Final = 25.0
"""Events a second, of all nodes together."""
REQUESTS: Final = 200
CHANGES: Final = 10
UNREADABLE: Final = 300
GOAL_MS: Final = 50.0
READS: Final = {
    "mappings, a page of 100": "/mappings",
    "mappings, all of them": "/mappings?limit=1000",
    "one mapping": "/mappings/mapping-7",
    "the mapping file": "/mappings/file",
    "history": "/mappings/history",
    "one revision": "/mappings/history/2",
    "dispatchers": "/dispatchers",
    "nodes": "/nodes",
    "one node": "/nodes/pi-7",
    "sensors of a node": "/nodes/pi-7/sensors",
    "functions": "/functions",
    "one function": f"/functions/{parts.FUNCTION}",
    "dead letters": "/deadletters",
    "one dead letter": "/deadletters/1",
    "last events": "/events",
    "audit": "/audit",
}
WHILE_CHANGED: Final = "one mapping, while another is changed"
CHANGED: Final = "a change of one mapping"
_IN_FORCE_S: Final = 30.0
_POLL_S: Final = 0.05
_KEPT: Final = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests one after the other over a kept connection: how long each took, and what they cost the manager."""

    seconds: list[float]
    with_a_core: list[float]
    """The same, without the time in which the manager's loop, or the client, could run but had no core."""
    cpu_s: float
    size_bytes: int


def run(size: Size, folder: Path) -> list[Table]:
    """Each read in turns."""
    requests, unreadable = size.of(REQUESTS, 5), size.of(UNREADABLE, 5)
    nodes, mappings = size.of(NODES, 10), size.of(MAPPINGS, 20)
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        house = stack.enter_context(Role("nodes", folder, str(broker.port)))
        house.ask("births", nodes=nodes, sensors=SENSORS)
        gateway = stack.enter_context(parts.gateway(folder))
        token = create_token(folder / "manager", "bench", Right.ADMIN, rfc3339(datetime.now(UTC)))
        port = free_port()
        manager = stack.enter_context(
            parts.manager(folder, broker.port, gateway.port, port, _mappings(mappings, nodes))
        )
        stack.enter_context(parts.managed_dispatcher(folder, broker.port, gateway.port, port))
        house.ask("unreadable", count=unreadable)
        api = stack.enter_context(Api(manager.port, token))
        _until(lambda: len(api.get("/deadletters?limit=1000")["dead_letters"]) >= unreadable, "dead letters")
        for _ in range(size.of(CHANGES, 2)):
            api.change()
        house.ask("begin", nodes=nodes, sensors=SENSORS, rate=RATE)
        heard = stack.enter_context(_listener(manager.port, token))
        began = time.monotonic()
        found = interleave({name: partial(_read, api, manager.child, path, requests) for name, path in READS.items()},
            size.rounds)  # fmt: skip
        changed: list[float] = []
        with _changing(manager.port, token, changed):
            found[WHILE_CHANGED] = [_read(api, manager.child, READS["one mapping"], requests)]
        published_a_s = house.ask("end")["published"] / (time.monotonic() - began)
        _until(lambda: heard, "a decision in the feed")
    title = (
        f"Manager: {mappings:,} mappings, {nodes} nodes with {SENSORS} sensors, {published_a_s:.0f} events/s;"
        f" {size.rounds} x {requests} GETs each"
    )
    return [_table(title, found, changed)]


def _table(title: str, found: dict[str, list[Sample]], changed: list[float]) -> Table:
    rows, slow = [], []
    for name, samples in found.items():
        seconds = [each for sample in samples for each in sample.seconds]
        with_a_core = percentile([each for sample in samples for each in sample.with_a_core], 99)
        cpu = sum(sample.cpu_s for sample in samples) / len(seconds)
        figures = (median(seconds), percentile(seconds, 99), max(seconds), with_a_core, cpu)
        rows.append([name, *map(milliseconds, figures), f"{samples[0].size_bytes:,}"])
        if with_a_core * 1000 > GOAL_MS:
            slow.append(name)
    columns = ("", "p50 ms", "p99 ms", "max ms", "p99 with a core ms", "CPU ms", "bytes")
    notes = [
        "With a core: less the time in which the manager's loop or the client could run, and others had the cores.",
        "CPU: the manager's for each request, with what events and feed cost it meanwhile.",
        f"{CHANGED} (PATCH, the file rewritten and published): {median(changed):.2f} s, at most {max(changed):.2f} s.",
        f"p99 with a core over {GOAL_MS:g} ms: {', '.join(slow) or 'none'}",
    ]
    return Table(title, columns, rows, notes)


class Api:
    """A client of the manager's API with one connection that it keeps; a context manager."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """The body of an answer. Raises BenchmarkError for one that is no success."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, f"/api/v1{path}", body, self._headers | given)
        answer = self._connection.getresponse()
        found = answer.read()
        if answer.status != 200:
            raise BenchmarkError(f"{method} {path} answered {answer.status}: {found[:500].decode()}")
        return found

    def get(self, path: str) -> Any:
        """A document."""
        return json.loads(self.ask("GET", path))

    def change(self) -> float:
        """Change one mapping of them all; how many seconds it took."""
        body = json.dumps({"cooldown": f"{time.monotonic_ns() % 1_000_000 + 1}ms"}).encode()
        began = time.perf_counter()
        self.ask("PATCH", "/mappings/mapping-3", body, Content_Type="application/json", If_Match="*")
        return time.perf_counter() - began


def _mappings(count: int, nodes: int) -> dict[str, Any]:
    """Each for a sensor of its own, in words that people use."""
    found = {}
    for number in range(count):
        node, sensor = name_of_node(number % nodes), name_of_sensor(number // nodes)
        found[f"mapping-{number}"] = {
            "select": {"node": node, "sensor": sensor, "event": "digital.on"},
            "when": "data.value == true",
            "invoke": {"function": parts.FUNCTION, "payload": "event", "timeout": "10s"},
            "retry": {"attempts": 5, "first": "1s"},
        }
    return found


def _read(api: Api, manager: Child, path: str, requests: int) -> Sample:
    seconds, with_a_core, body = [], [], b""
    own, cpu = os.getpid(), cpu_s(manager.pid)
    for _ in range(requests):
        starved, began = loop_starved_s(manager.pid) + loop_starved_s(own), time.perf_counter()
        body = api.ask("GET", path)
        seconds.append(time.perf_counter() - began)
        starved = loop_starved_s(manager.pid) + loop_starved_s(own) - starved
        with_a_core.append(max(0.0, seconds[-1] - starved))
    return Sample(seconds, with_a_core, cpu_s(manager.pid) - cpu, len(body))


@contextmanager
def _changing(port: int, token: str, took: list[float]) -> Iterator[None]:
    """Somebody changes one mapping after the other; how long each change took is noted."""
    over = threading.Event()

    def change() -> None:
        with Api(port, token) as api:
            while not over.is_set():
                took.append(api.change())

    with _thread(change):
        _until(lambda: took, "a change")
        try:
            yield
        finally:
            over.set()


@contextmanager
def _listener(port: int, token: str) -> Iterator[list[bytes]]:
    """Somebody listens to the manager's feed; the first lines of what was heard."""
    heard: list[bytes] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/v1/events/stream", headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise BenchmarkError(f"the manager's feed answered {answer.status}: {answer.read(500).decode()}")
    listening = connection.sock

    def listen() -> None:
        with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):  # the benchmark ends under it
            while line := answer.readline():
                if len(heard) < _KEPT and line.startswith(b"data:"):
                    heard.append(line)

    with _thread(listen):
        try:
            yield heard
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            connection.close()


@contextmanager
def _thread(work: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(_IN_FORCE_S)


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _IN_FORCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"no {what} within {_IN_FORCE_S:g} s")
        time.sleep(_POLL_S)
