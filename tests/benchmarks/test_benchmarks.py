"""Each benchmark runs and tells its rows. How quick anything was is nobody's business here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchmarks.__main__ import main, run
from benchmarks.catalogue import BENCHMARKS, by_default
from benchmarks.figures import Size, Table, interleave, percentile
from benchmarks.processes import ROOT, BenchmarkError, Child, Role
from tests.real_parts import require

TINY = Size(rounds=1, share=0.0)

ROWS = {
    "latency": [
        "edge -> function started",
        "edge -> at the broker",
        "edge -> at an MQTT subscriber",
        "MQTT subscriber -> function started",
    ],
    "agent": ["confirmed by the broker", "confirmed by a dispatcher", "mock pins and gpiozero's callback alone"],
    "dispatcher": ["50 sensors", "50 foreign topics", "50 sensors, a function of 10 ms"],
    "paced": ["100 a second", "1,000 a second"],
    "calls": ["agent, an event alone", "dispatcher, 1,000 events a second", "dispatcher, events in a burst"],
    "gateway": ["direct, 1 in flight", "through the gateway, 1 in flight", "through the gateway, 32 in flight"],
    "gateway-swarm": ["direct, 1 in flight", "through the gateway, 32 in flight", "Gateway, swarm backend: RSS MB"],
    "manager": ["mappings, all of them", "sensors of a node", "functions", "one mapping, while another is changed"],
    "footprint": ["agent (mock pins)", "dispatcher", "gateway", "Mosquitto", "one replica of a Python function"],
    "invoker": ["httpx, 1 in flight", "aiohttp, 4 in flight", "bare, 32 in flight"],
    "soak-agent": ["agent, RSS MB (median)", "agent, RSS MB (highest)", "its state folder, MB", "events/s"],
    "soak": ["dispatcher, RSS MB (median)", "dispatcher, RSS MB (highest)", "its state folder, MB", "events/s"],
    "outbox": ["process (survives a kill), one by one", "power (survives a power cut), one by one"],
}
WITH_A_BROKER = {"latency", "agent", "calls", "dispatcher", "paced", "manager", "footprint", "soak", "soak-agent"}
INSTALLING = {"peers", "peers-agent", "losses"}
"""Tested in test_peers.py, with peers that need no installation."""
WHEN_NAMED = {*INSTALLING, "soak", "soak-agent", "gateway-swarm"}


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in INSTALLING])
def test_a_benchmark_at_a_tiny_size_prints_its_rows(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in WITH_A_BROKER:
        require("mosquitto")
    if name == "gateway-swarm":
        require("dockerd", "docker")
        # An engine's sockets stand deep in its folder, and a path of one has 107 characters at most (unix(7)).
        monkeypatch.setattr(tempfile, "tempdir", None)

    code = run([name], TINY)

    told = capfd.readouterr()
    assert code == 0, told.err
    lines = [line.strip() for line in told.out.splitlines()]
    for row in ROWS[name]:
        assert any(line.startswith(row) for line in lines), f"no row {row!r} in:\n{told.out}"


def test_the_machine_is_told_on_top(capfd: pytest.CaptureFixture[str]) -> None:
    run([], TINY)

    assert " cores " in capfd.readouterr().out.splitlines()[0]


def test_the_list_names_every_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    told = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == list(BENCHMARKS)
    assert {line.split()[0] for line in told if "only when it is named" in line} == WHEN_NAMED


def test_by_default_nothing_runs_that_is_long_or_installs_something() -> None:
    assert set(BENCHMARKS) - set(by_default()) == WHEN_NAMED


def test_an_unknown_name_is_refused_with_the_known_ones(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["latencies"])

    assert "there are latency, agent" in capfd.readouterr().err


def test_every_benchmark_is_explained_in_the_documentation() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")

    assert [name for name in BENCHMARKS if f"`{name}`" not in text] == []


def test_a_child_is_gone_after_its_context_even_if_it_ignores_sigterm(tmp_path: Path) -> None:
    stubborn = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); sys.stdin.read(); print('x')"

    with Child([sys.executable, "-c", stubborn], tmp_path / "log") as child:
        process = child.process

    assert process.returncode is not None


def test_a_role_that_breaks_tells_its_last_words(tmp_path: Path) -> None:
    with Role("client", tmp_path) as role, pytest.raises(BenchmarkError, match="KeyError"):
        role.ask("post", url="http://127.0.0.1:9/", in_flight=1, requests=1, bytes=1, library="none")


def test_variants_are_interleaved() -> None:
    order: list[str] = []

    interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)

    assert order == ["a", "b", "a", "b"]


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_a_table_aligns_names_left_and_figures_right() -> None:
    table = Table("Title", ("", "events/s"), [["one", "1"], ["thirteen", "1,300"]], ["a note"])

    assert table.text().splitlines() == [
        "Title",
        "------------------",
        "          events/s",
        "------------------",
        "one              1",
        "thirteen     1,300",
        "  a note",
    ]


def test_the_script_runs_the_package() -> None:
    script = (ROOT / "scripts" / "bench").read_text(encoding="utf-8")

    assert "-m benchmarks" in script
    assert subprocess.run(["bash", "-n", str(ROOT / "scripts" / "bench")], check=False, timeout=60).returncode == 0
