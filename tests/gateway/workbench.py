"""A gateway on ephemeral ports, handlers written to a temporary folder, and what tests ask of them."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bridge.clock import RealClock
from bridge.gateway.gateway import Gateway
from bridge.gateway.settings import GatewaySettings, LocalSettings, MetricsSettings, TimeoutSettings

DEADLINE_S = 60.0

both_backends = pytest.mark.parametrize("idle_bench", ["local", "swarm"], indirect=True)
"""For tests of what functions promise wherever they run."""
on_swarm = pytest.mark.parametrize("idle_bench", ["swarm"], indirect=True)

ECHO = """
def handle(event, context):
    return {"statusCode": 200, "body": event.body, "headers": {"Content-Type": "text/plain"}}
"""


class Bench:
    """One gateway, restarted at will, and what a test asks of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = GatewaySettings(
            state_dir=folder / "state",
            port=0,
            metrics=MetricsSettings(port=0),
            timeouts=TimeoutSettings(drain_s=2.0),
            local=LocalSettings(stop_s=1.0, drain_s=5.0, start_s=8.0),
        )
        self.session: aiohttp.ClientSession
        self._gateway: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        assert self._gateway is not None
        return self._gateway

    async def start(self, **changes: Any) -> Gateway:
        self.settings = dataclasses.replace(self.settings, **changes)
        self._gateway = Gateway(self.settings, clock=RealClock("always"))
        await self._gateway.__aenter__()
        return self._gateway

    async def stop(self) -> None:
        if self._gateway is not None:
            gateway, self._gateway = self._gateway, None
            await gateway.__aexit__(None, None, None)

    def handler(self, name: str, code: str = ECHO) -> Path:
        folder = self.folder / "handlers" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "handler.py").write_text(code, encoding="utf-8")
        return folder

    async def deploy(self, name: str, code: str = ECHO, *, ready: bool = True, **parts: Any) -> None:
        body = self.deployment(name, code, **parts)
        status, text = await self.call("POST", "/system/functions", json=body)
        assert status == 202, text
        if ready:
            await self.ready(name)

    def deployment(self, name: str, code: str = ECHO, **parts: Any) -> dict[str, Any]:
        annotations = {"io.gpio-bridge.handler": str(self.handler(name, code)), **parts.pop("annotations", {})}
        return {"service": name, "image": f"example/{name}:1", "annotations": annotations, **parts}

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        async with self.request(method, path, **options) as answer:
            return answer.status, await answer.text()

    def request(self, method: str, path: str, **options: Any) -> Any:
        options.setdefault("allow_redirects", False)
        return self.session.request(method, self.gateway.url + path, **options)

    async def invoke(self, name: str, body: bytes = b"", **options: Any) -> tuple[int, str]:
        return await self.call("POST", f"/function/{name}", data=body, **options)

    async def status(self, name: str, query: str = "") -> dict[str, Any]:
        async with self.request("GET", f"/system/function/{name}{query}") as answer:
            assert answer.status == 200, await answer.text()
            document: dict[str, Any] = await answer.json()
            return document

    async def ready(self, name: str, replicas: int | None = None) -> None:
        async def enough() -> bool:
            status = await self.status(name)
            return bool(status["availableReplicas"] == (status["replicas"] if replicas is None else replicas))

        await until(enough, f"{name} has its replicas")

    def pids(self, name: str) -> list[Any]:
        backend: Any = self.gateway.backend
        replicas = backend._deployed[name].function.replicas.values()
        return [replica.process.pid for replica in replicas]


async def until(check: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition, asked again every 20 ms."""
    end = time.monotonic() + deadline_s
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        assert time.monotonic() < end, f"it never happened that {what}"
        await asyncio.sleep(0.02)
