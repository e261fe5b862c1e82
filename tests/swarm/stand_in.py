"""A stand-in for an engine, on a real socket, for what no real one does when asked to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StandIn:
    """An HTTP server on a socket that says which versions it speaks, and answers as a test has it."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.version: Any = {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        self.answer: Answer = self._echo
        self.seen: list[web.Request] = []
        self._runner: web.AppRunner | None = None

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        return web.json_response(
            {"path": request.raw_path, "method": request.method, "body": body and json.loads(body)}
        )

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.path == "/version":
            return self.version if isinstance(self.version, web.Response) else web.json_response(self.version)
        return await self.answer(request)

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()
        self.socket.unlink(missing_ok=True)
