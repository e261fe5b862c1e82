"""Arrows point one way (DESIGN.md, "The package"), and time comes from a clock that is passed in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "bridge"
MODULES = sorted(ROOT.rglob("*.py"))

COMPOSITION = {"__main__", "cli", "local", "demo", "load", "virtual", "testing"}
PROGRAMS = {"agent", "dispatcher", "gateway", "manager", "engine_door"}
SHARED = {
    "mqtt",
    "journal",
    "swarm",
    "images",
    "service",
    "http_server",
    "broker",
    "config",
    "clock",
    "mapping_file",
    "openfaas",
    "ulid",
    "inline",
}
CORE = {"core", "errors"}
RUNTIME = "runtime"

NOT_IN_CORE = {
    "asyncio",
    "concurrent",
    "contextvars",
    "ctypes",
    "http",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "urllib.request",
    "uuid",
}
NOT_IN_AN_AGENT = ("aiohttp", "fastapi", "pydantic", "httpx", "cel", "common_expression_language", "uvicorn", "docker")

OF_THE_RUNTIME = {
    "bridge.runtime.http": PROGRAMS | SHARED,  # the one small HTTP server
    # The gateway starts the runtime; a deployment's settings are read as the runtime reads them.
    "bridge.runtime.settings": {"gateway", "openfaas"},
}

OWN_TIME = {
    "clock.py": "it is the clock",
    "cli": "a command speaks with a person and lives in real time",
    "demo.py": "it is watched by a person",
    "load.py": "it drives what lives in real time",
    "runtime": "imports nothing of bridge, and a container has no other clock",
    "agent/sensors/distance.py": "a pause that the device itself needs, on its reader's thread",
    "agent/sensors/laser_tripwire.py": "a pause that the device itself needs, on its reader's thread",
    "virtual/devices/level.py": "a contact that bounces does so in real time, on the driver's thread",
    "virtual/timers.py": "what a device does by itself in real time; on a virtual clock it has other timers",
    "broker.py": "waits for another process, which lives in real time",
    "mqtt/connection.py": "the silence of a real socket",
    "mqtt/stream.py": "the silence of a real socket",
    "gateway/connections.py": "waits for what a real socket says of the other machine",
    "gateway/upstream.py": "waits for another process, which lives in real time",
    "gateway/backends/local/function.py": "waits for another process, which lives in real time",
    "gateway/async_queue.py": "X-Start-Time of OpenFaaS is wall time in nanoseconds",
    "gateway/api/asynchronous.py": "X-Start-Time of OpenFaaS is wall time in nanoseconds",
    "gateway/api/invoke.py": "X-Start-Time of OpenFaaS is wall time in nanoseconds",
}
"""Who may ask for the time or sleep without a clock, and why."""

TIME = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.sleep", "datetime.now", "datetime.utcnow",
    "datetime.today", "date.today", "asyncio.sleep",
}  # fmt: skip


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def room(path: Path) -> str:
    """The first name below bridge: `core`, `clock`, `agent`, ..."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that a module imports, anywhere in it."""
    package = ("bridge", *path.relative_to(ROOT).with_suffix("").parts)[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (above, node.module) if part)
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def why_not(path: Path, name: str) -> str | None:
    """What is wrong with a module of ours that imports this name; None when nothing is."""
    if not name.startswith("bridge."):
        return None
    here, there = room(path), name.split(".")[1]
    if there in (here, "__init__", "__version__"):
        return None
    if here == RUNTIME:
        return "the runtime imports nothing else of bridge"
    if here in COMPOSITION or here == "__init__":
        return None
    if there in COMPOSITION:
        return "nothing below imports what composes it"
    if there == RUNTIME:
        if any(name.startswith(one) and here in rooms for one, rooms in OF_THE_RUNTIME.items()):
            return None
        return "of the runtime, others use what OF_THE_RUNTIME names"
    if here in PROGRAMS:
        return "programs never import each other" if there in PROGRAMS else None
    if there in PROGRAMS:
        return "what programs share does not know them"
    if here == "core":
        return None if there == "errors" else "core imports core and errors alone"
    if here == "errors":
        return "errors import nothing"
    return None


def test_every_module_has_a_place_in_the_design() -> None:
    known = COMPOSITION | PROGRAMS | SHARED | CORE | {RUNTIME, "__init__"}
    assert {room(path) for path in MODULES} <= known


@pytest.mark.parametrize("here", sorted({room(path) for path in MODULES}))
def test_arrows_point_one_way(here: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}: {reason}"
        for path in MODULES
        if room(path) == here
        for line, name in imports(path)
        if (reason := why_not(path, name))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("core/event.py", "bridge.config.units.duration"),
        ("core/event.py", "bridge.clock.Clock"),
        ("agent/board.py", "bridge.dispatcher.api.Api"),
        ("agent/board.py", "bridge.local.up"),
        ("agent/board.py", "bridge.runtime.handler.load"),
        ("runtime/http.py", "bridge.errors.BridgeError"),
        ("mqtt/paho.py", "bridge.agent.settings.AgentSettings"),
        ("config/decode.py", "bridge.cli.app.main"),
        ("errors.py", "bridge.core.event.Event"),
    ],
)
def test_an_arrow_the_wrong_way_is_found(path: str, name: str) -> None:
    assert why_not(ROOT / path, name)


@pytest.mark.parametrize("path", sorted((ROOT / "core").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_core_does_no_input_and_no_output(path: Path) -> None:
    names = {name for _, name in imports(path)}
    found = {wrong for wrong in NOT_IN_CORE for name in names if f"{name}.".startswith(f"{wrong}.")}
    assert not found
    calls = {
        node.func.id for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "eval", "exec"}


def test_an_agent_loads_nothing_of_the_server_side() -> None:
    """A Pi that only runs an agent installs and pays for nothing else (DESIGN.md, "Programs")."""
    script = (
        "import importlib, pkgutil, sys, bridge.agent\n"
        "for module in pkgutil.walk_packages(bridge.agent.__path__, 'bridge.agent.'):\n"
        "    importlib.import_module(module.name)\n"
        f"print(*[name for name in {NOT_IN_AN_AGENT!r} if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == []


def asks_for_time(path: Path) -> Iterator[str]:
    """Where a module calls or hands on one of TIME; `asyncio.sleep(0)` only lets others run."""
    turns = {
        id(node.func)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and [ast.unparse(argument) for argument in node.args] == ["0"]
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and id(node) not in turns:
            name = ".".join(ast.unparse(node).split(".")[-2:])
            if name in TIME:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {name}"
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "asyncio"):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in TIME:
                    yield f"{path.relative_to(ROOT)}:{node.lineno} from {node.module} import {alias.name}"


def test_time_comes_from_the_clock_that_is_passed_in() -> None:
    """PROTOCOL.md, "Which clock": every program takes its clock as an argument. perf_counter measures, and may."""

    def excused(path: Path) -> bool:
        name = path.relative_to(ROOT).as_posix()
        return any(name == one or name.startswith(f"{one}/") for one in OWN_TIME)

    found = [place for path in MODULES if not excused(path) for place in asks_for_time(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("one", sorted(OWN_TIME))
def test_an_excuse_names_something_that_is_there(one: str) -> None:
    assert (ROOT / one).exists()
