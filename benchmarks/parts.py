"""The parts: a real Mosquitto and our programs as people start them, each a process, with settings for a benchmark."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.processes import BenchmarkError, Child, Role
from bridge.broker import find_mosquitto, free_port, mosquitto_config

READY_S = 20.0
FUNCTION: Final = "stamp"
SENSOR: Final = "door"
EVENTS: Final = "gpio-bridge/v1/home/nodes/+/sensors/+/event"
_POLL_S = 0.005
_FIRST_PIN = 4  # 2 and 3 have pull-up resistors of their own
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Part:
    """A program that runs and is ready: its process, its HTTP port, and how long it took to be ready."""

    child: Child
    port: int
    ready_s: float


@contextmanager
def broker(folder: Path) -> Iterator[Part]:
    """Mosquitto with the configuration that `gpio-bridge up` gives it."""
    program = find_mosquitto()
    if program is None:
        raise BenchmarkError("this benchmark needs a real Mosquitto; install it: sudo apt-get install mosquitto")
    port, store = free_port(), folder / "mosquitto"
    store.mkdir()
    config = folder / "mosquitto.conf"
    config.write_text(mosquitto_config(_HOST, port, store), encoding="utf-8")
    with Child([str(program), "-c", str(config)], folder / "mosquitto.log") as child:
        until(child, lambda: _listens(port))
        yield Part(child, port, time.monotonic() - child.started_at)


@contextmanager
def dispatcher(folder: Path, broker_port: int, gateway_url: str, mapping: Mapping[str, Any]) -> Iterator[Part]:
    """`gpio-bridge dispatcher` with one mapping to the benchmark's function."""
    with _program("dispatcher", folder, _dispatcher_settings(folder, broker_port, gateway_url, mapping)) as part:
        yield part


@contextmanager
def counted_dispatcher(folder: Path, broker_port: int, gateway_url: str, mapping: Mapping[str, Any]) -> Iterator[Role]:
    """The same, which counts its calls when it is asked to."""
    settings = _dispatcher_settings(folder, broker_port, gateway_url, mapping)
    with _role("counted_dispatcher", "dispatcher", folder, settings) as role:
        yield role


@contextmanager
def manager(
    folder: Path, broker_port: int, gateway_port: int, dispatcher_port: int, mappings: Mapping[str, Any]
) -> Iterator[Part]:
    """`gpio-bridge manager` with these mappings, which it may change."""
    # People write YAML in block style, and that is what an edit has to keep.
    text = yaml.safe_dump({"version": 1, "mappings": dict(mappings)}, sort_keys=False)
    file = folder / "managed" / "mappings.yaml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    settings = {
        "mqtt": {"port": broker_port},
        "gateway": {"url": f"http://{_HOST}:{gateway_port}"},
        "dispatcher": {"url": f"http://{_HOST}:{dispatcher_port}"},
        "mappings": str(file),
    }
    with _program("manager", folder, settings) as part:
        yield part


@contextmanager
def managed_dispatcher(folder: Path, broker_port: int, gateway_port: int, port: int) -> Iterator[Part]:
    """`gpio-bridge dispatcher` with the mappings of a manager."""
    settings = {
        "mqtt": {"port": broker_port},
        "gateway": {"url": f"http://{_HOST}:{gateway_port}"},
        "mappings": "manager",
    }
    with _program("dispatcher", folder, settings, port) as part:
        yield part


@contextmanager
def gateway(folder: Path) -> Iterator[Part]:
    """`gpio-bridge gateway` with the benchmark's function, one replica of it."""
    function = {
        "lang": "python3-http",
        "handler": str(Path(__file__).parent / "stamp"),
        "image": f"gpio-bridge/{FUNCTION}:latest",
        "labels": {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1"},
    }
    stack = {"version": 1.0, "provider": {"name": "openfaas"}, "functions": {FUNCTION: function}}
    settings = {"functions": _written(folder / "stack.yml", stack), "metrics": {"enabled": False}}
    with _program("gateway", folder, settings) as part:
        until(part.child, lambda: get(part.port, f"/function/{FUNCTION}")[0] == 200)
        yield part


@contextmanager
def gateway_over_swarm(folder: Path, engine: str) -> Iterator[Part]:
    """`gpio-bridge gateway` over the swarm of an engine, without functions."""
    settings = {"backend": "swarm", "swarm": {"host": engine}, "metrics": {"enabled": False}}
    with _program("gateway", folder, settings) as part:
        yield part


@contextmanager
def agent(folder: Path, broker_port: int) -> Iterator[Part]:
    """`gpio-bridge agent` on mock pins."""
    with _program("agent", folder, _agent_settings(broker_port, "dispatcher", 1)) as part:
        yield part


@contextmanager
def pins(folder: Path, broker_port: int, confirm: str, sensors: int = 1, *, in_flight: int = 1_000) -> Iterator[Role]:
    """An agent on mock pins that toggles its sensors, in turn, when it is asked to."""
    with _role("pins", "agent", folder, _agent_settings(broker_port, confirm, sensors, in_flight)) as role:
        yield role


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """One request to this machine: status and body; status 0 when nobody listens."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except ConnectionError:
        return 0, b""
    finally:
        connection.close()


def post(port: int, path: str, document: Mapping[str, Any]) -> None:
    """Tell a program of this machine something. Raises BenchmarkError when it refuses."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(document))
        answer = connection.getresponse()
        if not 200 <= answer.status < 300:
            raise BenchmarkError(f"{path} answered {answer.status}: {answer.read().decode()}")
    finally:
        connection.close()


def _dispatcher_settings(
    folder: Path, broker_port: int, gateway_url: str, mapping: Mapping[str, Any]
) -> dict[str, Any]:
    mappings = {"version": 1, "mappings": {"bench": {"invoke": FUNCTION, **mapping}}}
    return {
        "mqtt": {"port": broker_port},
        "gateway": {"url": gateway_url},
        "mappings": _written(folder / "mappings.yaml", mappings),
    }


def _agent_settings(broker_port: int, confirm: str, sensors: int, in_flight: int = 1_000) -> dict[str, Any]:
    return {
        "node": "bench",
        "mqtt": {"port": broker_port},
        "clock": "always",
        "pins": {"factory": "mock"},
        "outbox": {"confirm": confirm, "in_flight": in_flight},
        "sensors": {
            f"{SENSOR}-{i}": {"kind": "digital", "pin": _FIRST_PIN + i, "debounce": "0s"} for i in range(sensors)
        },
    }


@contextmanager
def _program(name: str, folder: Path, settings: Mapping[str, Any], port: int = 0) -> Iterator[Part]:
    port = port or free_port()
    file = _settings(folder, name, port, settings)
    command = [sys.executable, "-m", "bridge", name, "--config", file, "--log-level", "warning"]
    with Child(command, folder / f"{name}.log") as child:
        until(child, lambda: get(port, "/readyz")[0] == 200)
        yield Part(child, port, time.monotonic() - child.started_at)


@contextmanager
def _role(role: str, name: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Role]:
    """A role that runs the program of this name, and takes commands besides."""
    port = free_port()
    with Role(role, folder, _settings(folder, name, port, settings)) as started:
        until(started, lambda: get(port, "/readyz")[0] == 200)
        yield started


def _settings(folder: Path, name: str, port: int, settings: Mapping[str, Any]) -> str:
    place = {"port": port} if name == "gateway" else {"http": {"port": port}}
    document = {"version": 1, "state_dir": str(folder / name), **place, **settings}
    return _written(folder / f"{name}.yaml", document)


def _written(file: Path, document: Mapping[str, Any]) -> str:
    """Its path. JSON is YAML."""
    file.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return str(file)


def until(child: Child, ready: Callable[[], bool], limit_s: float = READY_S) -> None:
    """Wait for a condition. Raises BenchmarkError when the process ends before it, or the time."""
    deadline = time.monotonic() + limit_s
    while not ready():
        child.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"not ready after {limit_s:g} s; {child.last_words()}")
        time.sleep(_POLL_S)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
