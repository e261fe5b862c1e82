"""The OpenAPI document: every verb stands in it, and schemathesis finds no answer that it does not allow."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
import yaml

from bridge.gateway.app import App
from tests.gateway.workbench import ECHO, until
from tests.ports import free_port

DOCUMENT = Path(__file__).parents[2] / "bridge" / "gateway" / "openapi.yaml"
CONFIG = """
seed = 20261127

[checks]
# A deployment that is well formed may still name a handler or a secret that is not there.
positive_data_acceptance.enabled = false
# Namespaces cannot be made; a function may be away, and says so.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "501", "503"]

[[operations]]
# Keys of a query that nobody knows are left alone, as OpenFaaS does it.
include-method = "GET"
checks.negative_data_rejection.enabled = false

[[operations]]
# One path of the code stands behind all of them: they are fuzzed by GET and POST.
include-name-regex = "^(PUT|PATCH|DELETE|OPTIONS|HEAD) /(function|system/namespace)/"
enabled = false

[[operations]]
# The same documents as with POST.
include-name-regex = "^PUT /system/"
phases.coverage.enabled = false

[phases.coverage]
unexpected-methods = ["TRACE"]
"""
EXAMPLES = "4"
"""Made up for each verb, after those that go through every bound of the document; time is what more would cost."""


def test_the_document_names_every_verb_of_the_interface_and_no_other() -> None:
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    found = {(method.upper(), path) for path, verbs in document["paths"].items() for method in verbs}

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    one = cast("Any", Anything())
    parts = ("auth", "cors", "invoke", "accept", "functions", "secrets", "logs", "system", "page")
    app = App(**dict.fromkeys(parts, one))
    code = {(method, path) for path, verbs in app._exact.items() for method in verbs}
    code |= {(method, f"{path}{{name}}") for path, verbs in app._named.items() for method in verbs}
    code |= {(method, "/function/{name}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")}
    code |= {
        ("POST", "/async-function/{name}"),
        ("GET", "/"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.yaml"),
    }
    assert found == code


@pytest.mark.timeout(300)  # of CPU it takes some 20 s, which a machine with other work does not give it in as many
async def test_no_request_gets_an_answer_that_the_document_does_not_allow(tmp_path: Path) -> None:
    port = free_port()
    handler = tmp_path / "echo"
    handler.mkdir()
    (handler / "handler.py").write_text(ECHO, encoding="utf-8")
    (tmp_path / "basic-auth-user").write_text("admin", encoding="utf-8")
    (tmp_path / "basic-auth-password").write_text("sesame", encoding="utf-8")
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "gateway.yaml").write_text(
        f"version: 1\nstate_dir: state\nport: {port}\nmetrics: {{enabled: false}}\n"
        f"basic_auth: {{enabled: true, secret_mount_path: {tmp_path}}}\nlocal: {{start: 2s}}\n",
        encoding="utf-8",
    )
    document = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    # A log that is followed never ends.
    log_query = document["paths"]["/system/logs"]["get"]["parameters"]
    log_query[:] = [each for each in log_query if each.get("name") != "follow"]
    deployment = {"service": "echo", "image": "example/echo:1", "annotations": {"io.gpio-bridge.handler": str(handler)}}
    document["components"]["requestBodies"]["Deployment"]["content"]["application/json"]["example"] = deployment
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    url = f"http://127.0.0.1:{port}"
    # Without a PATH no word that is made up for envProcess can be a command of this machine.
    environment = {**os.environ, "PATH": str(tmp_path / "nothing")}
    command = (sys.executable, "-m", "bridge", "gateway", "--config", str(tmp_path / "gateway.yaml"))
    log = (tmp_path / "gateway.log").open("wb")
    gateway = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        async with aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth("admin", "sesame")}
        ) as session:

            async def deployed() -> bool:
                try:
                    async with session.post(f"{url}/system/functions", json=deployment) as answer:
                        return answer.status == 202
                except OSError:
                    return False

            await until(deployed, "the gateway runs")
        fuzz = await asyncio.create_subprocess_exec(
            *(
                str(Path(sys.executable).with_name("schemathesis")),
                "--config-file",
                "schemathesis.toml",
                "run",
                "openapi.yaml",
            ),
            *("--url", url, "--auth", "admin:sesame", "--max-examples", EXAMPLES, "--workers", "1"),
            *("--phases", "coverage,fuzzing", "--generation-database", "none", "--request-timeout", "10"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(fuzz.communicate(), 240)
        assert fuzz.returncode == 0, output.decode()
        assert "Traceback" not in (tmp_path / "gateway.log").read_text(encoding="utf-8")
    finally:
        gateway.terminate()
        await asyncio.wait_for(gateway.wait(), 60)
        log.close()
