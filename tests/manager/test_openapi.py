"""The OpenAPI document: schemathesis finds no answer that it does not allow."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

from bridge.manager.settings import AuthSettings
from tests.manager.conftest import Desk

CONFIG = """
seed = 20261127

[checks]
# A mapping that is well formed may still name a time that is none, or a state that has changed since.
positive_data_acceptance.enabled = false
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "503"]

[[operations]]
# Keys of a query that nobody knows are left alone; a body may be anything that the file may hold.
include-name-regex = "."
checks.negative_data_rejection.enabled = false

[[operations]]
# They never end.
include-path-regex = "^/api/v1/(events|traces)/stream$"
enabled = false
"""
EXAMPLES = "3"
"""Made up for each path; time is what more would cost."""


@pytest.mark.timeout(300)  # as long as the gateway's: a busy machine gives it less than a core
async def test_no_request_gets_an_answer_that_the_document_does_not_allow(desk: Desk, tmp_path: Path) -> None:
    desk.settings = dataclasses.replace(desk.settings, auth=AuthSettings(failures=1000))
    await desk.start()
    document = (await desk.client.get("/openapi.json")).json()
    (tmp_path / "openapi.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (tmp_path / "schemathesis.toml").write_text(CONFIG, encoding="utf-8")
    fuzz = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run"),
        *("openapi.yaml", "--url", desk.manager.url, "--max-examples", EXAMPLES, "--workers", "1"),
        *("-H", f"Authorization: Bearer {desk.manager.own_token}", "-H", "If-Match: *"),
        *("--phases", "fuzzing", "--generation-database", "none", "--request-timeout", "10"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(fuzz.communicate(), 240)
    finally:
        if fuzz.returncode is None:
            fuzz.kill()
            await fuzz.wait()
    assert fuzz.returncode == 0, output.decode()
    assert (await desk.client.get("/readyz")).status_code == 200, "the file on the disk is good whatever was sent"
