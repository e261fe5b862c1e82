"""Processes that crash, hang, do not start, are replaced or outlived."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bridge.gateway.backends.local import reload
from bridge.gateway.settings import LocalSettings
from tests.gateway.workbench import Bench, until

VERSION = "def handle(event, context):\n    return {!r}\n"
QUICK = LocalSettings(stop_s=1.0, drain_s=5.0, start_s=8.0, backoff_max_s=0.3, health_every_s=0.1)


async def messages(bench: Bench, name: str) -> str:
    return (await bench.call("GET", f"/system/logs?name={name}"))[1]


async def test_a_crashed_replica_is_replaced_and_counted(bench: Bench) -> None:
    await bench.deploy("echo")
    (pid,) = bench.pids("echo")
    os.kill(pid, signal.SIGKILL)
    await until(lambda: bench.pids("echo") not in ([], [pid]), "another process runs")
    assert await bench.invoke("echo", b"x") == (200, "x")
    text = (await bench.call("GET", "/metrics"))[1]
    assert 'replica_restarts_total{function_name="echo.openfaas-fn"} 1.0' in text
    assert "signal SIGKILL" in await messages(bench, "echo")


async def test_a_function_that_does_not_start_is_refused_with_its_reason_and_never_given_up(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(local=QUICK)
    await bench.deploy("late", "import a_module_that_is_missing\n", ready=False)
    async with bench.request("POST", "/function/late") as answer:
        assert answer.status == 503
        assert answer.headers["X-OpenFaaS-Internal"]
        assert "a_module_that_is_missing" in await answer.text()

    async def tries() -> bool:
        return (await messages(bench, "late")).count("[gateway]") >= 7

    await until(tries, "it was tried seven times")
    backend: Any = bench.gateway.backend
    # Mended where no watch sees it: the next attempt finds it by itself.
    (bench.folder / "handlers" / "late" / "a_module_that_is_missing.py").write_text("", encoding="utf-8")
    bench.handler("late")
    await bench.ready("late", 1)
    assert await bench.invoke("late", b"x") == (200, "x")
    assert backend.not_ready() is None


async def test_a_changed_handler_is_taken_up_without_a_failed_request(bench: Bench) -> None:
    await bench.deploy("v", VERSION.format("one"))
    seen: list[tuple[int, str]] = []

    async def load() -> None:
        while ("two") not in {text for _, text in seen[-20:]} or len(seen) < 50:
            seen.append(await bench.invoke("v"))

    async with asyncio.timeout(60):
        workers = [asyncio.create_task(load()) for _ in range(4)]
        await until(lambda: len(seen) > 20, "there is load")
        bench.handler("v", VERSION.format("two"))
        await asyncio.gather(*workers)
    assert {status for status, _ in seen} == {200}
    assert {text for _, text in seen} == {"one", "two"}


async def test_another_folder_in_the_place_of_a_handlers_is_taken_up_and_so_are_its_changes(
    idle_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "LOOK_ANYWAY_MS", 300)
    bench = idle_bench
    await bench.start(local=QUICK)
    await bench.deploy("v", VERSION.format("one"))

    async def served(version: str) -> None:
        async def says() -> bool:
            return await bench.invoke("v") == (200, version)

        await until(says, f"version {version} serves")

    await served("one")
    (bench.folder / "handlers" / "v").rename(bench.folder / "before")
    bench.handler("v", VERSION.format("two"))
    await served("two")
    bench.handler("v", VERSION.format("three"))
    await served("three")


async def test_a_broken_change_keeps_the_old_version_serving_and_says_why(bench: Bench) -> None:
    await bench.deploy("v", VERSION.format("one"))
    bench.handler("v", "def handle(event, context)\n    broken\n")

    async def told() -> bool:
        return "SyntaxError" in str((await bench.status("v")).get("problem"))

    await until(told, "the reason is told")
    assert await bench.invoke("v") == (200, "one")
    assert "SyntaxError" in await messages(bench, "v")
    bench.handler("v", VERSION.format("three"))

    async def mended() -> bool:
        return await bench.invoke("v") == (200, "three")

    await until(mended, "the mended version serves")
    assert "problem" not in await bench.status("v")


async def test_an_update_of_two_replicas_under_load_fails_no_request(bench: Bench) -> None:
    code = "import os, time\ndef handle(event, context):\n    time.sleep(0.02)\n    return os.environ['WHICH']\n"
    body = bench.deployment("v", code, envVars={"WHICH": "one"}, labels={"com.openfaas.scale.min": "2"})
    await bench.call("POST", "/system/functions", json=body)
    await bench.ready("v", 2)
    old = set(bench.pids("v"))
    seen: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            seen.append(await bench.invoke("v"))

    workers = [asyncio.create_task(load()) for _ in range(8)]
    await until(lambda: len(seen) > 20, "there is load")
    assert (await bench.call("PUT", "/system/functions", json=body | {"envVars": {"WHICH": "two"}}))[0] == 202
    await until(lambda: not old & set(bench.pids("v")), "the old processes are gone")
    done.set()
    await asyncio.gather(*workers)
    assert {status for status, _ in seen} == {200}
    assert seen[-1] == (200, "two")


async def test_a_process_that_ignores_sigterm_is_killed(bench: Bench) -> None:
    code = "import asyncio.unix_events as events, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "events._UnixSelectorEventLoop.add_signal_handler = lambda *arguments: None\n"
    await bench.deploy("stubborn", code + VERSION.format("x"))
    (pid,) = bench.pids("stubborn")
    await bench.call("POST", "/system/scale-function/stubborn", json={"replicas": 0})
    await until(lambda: not Path(f"/proc/{pid}").exists(), "it is gone")


async def test_a_replica_that_reports_itself_sick_is_replaced(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(local=QUICK)
    await bench.deploy("echo")
    (pid,) = bench.pids("echo")
    backend: Any = bench.gateway.backend
    (replica,) = backend._deployed["echo"].function.replicas.values()
    with_nobody_behind_it = 1
    replica.port = with_nobody_behind_it
    await until(lambda: bench.pids("echo") not in ([], [pid]), "another process runs")
    assert await bench.invoke("echo", b"x") == (200, "x")


async def test_deployments_scale_and_environment_come_back_after_a_restart(bench: Bench) -> None:
    await bench.deploy(
        "v", "import os\ndef handle(event, context):\n    return os.environ['A']\n", envVars={"A": "kept"}
    )
    await bench.call("POST", "/system/scale-function/v", json={"replicas": 2})
    before = await bench.status("v")
    await bench.stop()
    await bench.start()
    await bench.ready("v", 2)
    assert await bench.invoke("v") == (200, "kept")
    after = await bench.status("v")
    assert after | {"availableReplicas": 0, "invocationCount": 0} == before | {
        "availableReplicas": 0,
        "invocationCount": 0,
    }


async def test_a_damaged_record_is_set_aside_and_told_while_the_others_run(bench: Bench) -> None:
    await bench.deploy("echo")
    await bench.stop()
    (bench.settings.state_dir / "functions" / "bad.json").write_text("{", encoding="utf-8")
    await bench.start()
    await bench.ready("echo", 1)
    status, text = await bench.call("GET", "/readyz")
    assert (status, "bad.broken" in text) == (503, True)
    assert (bench.settings.state_dir / "functions" / "bad.broken").exists()


async def test_our_own_environment_is_not_handed_to_functions(bench: Bench, monkeypatch: Any) -> None:
    monkeypatch.setenv("GPIO_BRIDGE_MQTT_PASSWORD", "sesame")
    await bench.deploy("env", "import os\ndef handle(event, context):\n    return dict(os.environ)\n")
    assert "sesame" not in (await bench.invoke("env"))[1]


PROGRAM = """
import asyncio, sys
from pathlib import Path
from bridge.clock import RealClock
from bridge.gateway.gateway import Gateway
from bridge.gateway.settings import GatewaySettings, MetricsSettings

async def main():
    settings = GatewaySettings(state_dir=Path(sys.argv[1]), port=0, metrics=MetricsSettings(enabled=False))
    async with Gateway(settings, clock=RealClock("always")) as gateway:
        print(gateway.url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_process_outlives_a_killed_gateway(idle_bench: Bench) -> None:
    bench = idle_bench
    folder = bench.handler("pid", "import os, time\ndef handle(event, context):\n    return str(os.getpid())\n")
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(PROGRAM), str(bench.folder / "state"), stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    url = (await asyncio.wait_for(gateway.stdout.readline(), 60)).decode().strip()
    body = {"service": "pid", "annotations": {"io.gpio-bridge.handler": str(folder)}}
    async with bench.session.post(f"{url}/system/functions", json=body) as answer:
        assert answer.status == 202
    async with bench.session.post(f"{url}/function/pid") as answer:
        pid = int(await answer.text())
    gateway.kill()
    await gateway.wait()
    await until(lambda: not Path(f"/proc/{pid}").exists(), "the function is gone")
