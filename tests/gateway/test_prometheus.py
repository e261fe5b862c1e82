"""A real Prometheus and Alertmanager with the files that we ship: from load to an alert to more replicas, and back."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import yaml

from bridge.gateway.settings import BasicAuthSettings
from tests.gateway.workbench import Bench, until
from tests.ports import free_port
from tests.real_parts import find, require

pytestmark = pytest.mark.real("prometheus", "prometheus-alertmanager")

STACK = Path(__file__).resolve().parents[2] / "stack"
LABELS = {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "4", "com.openfaas.scale.factor": "50"}
LOGIN = {"Authorization": f"Basic {base64.b64encode(b'admin:sesame').decode()}"}


@asynccontextmanager
async def running(command: str, *arguments: str, log: Path) -> AsyncIterator[None]:
    path = find(command)
    assert path is not None
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(path, *arguments, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), 60)


class Watched:
    """A gateway with authentication, watched by a Prometheus whose alerts an Alertmanager hands back to it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.prometheus, self.alertmanager = free_port(), free_port()

    def write(self, name: str, **replaced: str) -> Path:
        """A file of the stack with the addresses of this machine in it; each must be there to be replaced."""
        text = (STACK / name).read_text(encoding="utf-8")
        for before, after in replaced.items():
            assert before in text
            text = text.replace(before, after)
        path = self.bench.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def without_manager(self, metrics_port: int | None) -> Path:
        """The stack's `prometheus.yml` for a house without a manager: whom to ask stands in a file."""
        targets = self.bench.folder / "targets.json"
        group = {"targets": [f"127.0.0.1:{metrics_port}"], "labels": {"program": "gateway", "instance": "gateway"}}
        targets.write_text(json.dumps([group]), encoding="utf-8")
        document = yaml.safe_load((STACK / "prometheus.yml").read_text(encoding="utf-8"))
        scraped = next(one for one in document["scrape_configs"] if one["job_name"] == "gpio-bridge")
        document["scrape_configs"] = [scraped]
        del scraped["http_sd_configs"]
        scraped["file_sd_configs"] = [{"files": [str(targets)]}]
        document["alerting"] = {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{self.alertmanager}"]}]}]
        }
        # This too is quicker than what we ship.
        document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        path = self.bench.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return path

    async def start(self, stack: AsyncExitStack) -> None:
        folder = self.bench.folder
        # Quicker than what we ship; with the times of that tests/system/stack/ scales a function of a whole stack.
        self.write("alerts.yml", **{"[10s]": "[5s]", "for: 5s": "for: 1s"})
        gateway = self.bench.gateway
        handed = {
            "http://gateway:8080": gateway.url,
            "/run/secrets/basic-auth-password": str(folder / "basic-auth-password"),
            "group_wait: 5s": "group_wait: 1s",
            "group_interval: 10s": "group_interval: 2s",
        }
        await stack.enter_async_context(
            running(
                "prometheus-alertmanager",
                f"--config.file={self.write('alertmanager.yml', **handed)}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{self.alertmanager}",
                "--cluster.listen-address=",
                log=folder / "alertmanager.log",
            )
        )
        await stack.enter_async_context(
            running(
                "prometheus",
                f"--config.file={self.without_manager(gateway.metrics_port)}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address=127.0.0.1:{self.prometheus}",
                log=folder / "prometheus.log",
            )
        )

    async def query(self, expression: str) -> dict[str, float]:
        """Values by function."""
        url = f"http://127.0.0.1:{self.prometheus}/api/v1/query"
        try:
            plain = {"Accept-Encoding": "identity"}
            async with self.bench.session.get(url, params={"query": expression}, headers=plain) as answer:
                document = await answer.json()
        except OSError:
            return {}  # it is still starting
        assert document["status"] == "success", document
        return {each["metric"]["function_name"]: float(each["value"][1]) for each in document["data"]["result"]}

    async def replicas(self) -> int:
        async with self.bench.request("GET", "/system/function/busy", headers=LOGIN) as answer:
            return int((await answer.json())["replicas"])


async def load(bench: Bench) -> None:
    while True:
        assert (await bench.invoke("busy"))[0] == 200
        await asyncio.sleep(0.04)


async def test_load_raises_an_alert_that_scales_up_and_its_end_scales_to_the_minimum(idle_bench: Bench) -> None:
    require("prometheus", "prometheus-alertmanager")
    bench = idle_bench
    (bench.folder / "basic-auth-user").write_text("admin\n", encoding="utf-8")
    (bench.folder / "basic-auth-password").write_text("sesame", encoding="utf-8")
    await bench.start(basic_auth=BasicAuthSettings(enabled=True, secret_mount_path=bench.folder))
    body = bench.deployment("busy", "def handle(event, context):\n    return 'ok'\n", labels=LABELS)
    assert (await bench.call("POST", "/system/functions", json=body, headers=LOGIN))[0] == 202
    watched = Watched(bench)
    async with AsyncExitStack() as stack:
        await watched.start(stack)
        calling = asyncio.create_task(load(bench))
        try:

            async def scaled_up() -> bool:
                if calling.done():
                    calling.result()  # a call failed: say so
                return await watched.replicas() == 3

            await until(scaled_up, "the alert scaled the function up by half of its maximum")
            rates = await watched.query("rate(gateway_function_invocation_total[10s])")
            assert rates["busy.openfaas-fn"] > 5
            assert set(await watched.query("gateway_service_count")) == {"busy.openfaas-fn"}
        finally:
            calling.cancel()

        async def back() -> bool:
            return await watched.replicas() == 1

        await until(back, "the alert is over and the function back at its minimum")

        async def known() -> bool:
            return await watched.query("gateway_service_count") == {"busy.openfaas-fn": 1.0}

        await until(known, "Prometheus has seen it")


def test_the_files_of_the_stack_are_what_their_own_tools_expect() -> None:
    require("promtool", "amtool")
    for command in (
        ("promtool", "check", "config", str(STACK / "prometheus.yml")),
        ("promtool", "check", "rules", str(STACK / "alerts.yml")),
        ("amtool", "check-config", str(STACK / "alertmanager.yml")),
    ):
        path = find(command[0])
        assert path is not None
        ran = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
