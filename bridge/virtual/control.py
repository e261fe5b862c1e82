"""The control API of virtual Pis: what there is, and making it happen. For this machine only.

`GET /v1/nodes` tells nodes, sensors and what each accepts; `POST /v1/simulate {"node"?, "sensor", "value"}` drives the
pins and answers when they have changed. Errors are `{"error": "..."}` and say what would be accepted.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import orjson

from bridge.errors import BridgeError
from bridge.runtime.http import Request, Response, Server
from bridge.virtual.board import VirtualBoard
from bridge.virtual.devices import NotAccepted

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024


class Control:
    """Serves the virtual Pis of one process; an async context manager. Port 0 takes a free one.

    Start it before the agents, so that nobody drives a pin into the void, and stop it before them.
    """

    def __init__(self, boards: Mapping[str, VirtualBoard], port: int = 0) -> None:
        self._boards = boards
        self._port = port
        self._server = Server(self._answer, _LOOPBACK, port, max_body_bytes=_MAX_BODY_BYTES)

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        return f"http://{_LOOPBACK}:{self._server.port}"

    async def __aenter__(self) -> Self:
        try:
            await self._server.start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"the pins cannot be driven over port {self._port}: {reason}; choose another --control-port"
            raise BridgeError(message) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self._server.stop(drain_s=1.0)

    async def _answer(self, request: Request) -> Response:
        match request.method, request.path:
            case (("GET" | "HEAD"), "/v1/nodes"):
                return _json(200, {"nodes": [self._node(name) for name in self._boards]})
            case "POST", "/v1/simulate":
                return await self._simulate(request.body)
            case _, ("/v1/nodes" | "/v1/simulate"):
                allowed = "POST" if request.path == "/v1/simulate" else "GET, HEAD"
                return _error(405, f"{request.path} takes {allowed}", (("Allow", allowed),))
            case _:
                return _error(404, "there are GET /v1/nodes and POST /v1/simulate")

    def _node(self, name: str) -> dict[str, Any]:
        board = self._boards[name]
        sensors = [
            {"name": sensor, "kind": board.settings.sensors[sensor].KIND, "accepts": list(board.accepts(sensor))}
            for sensor in board.devices
        ]
        return {"name": name, "board": board.description, "sensors": sensors}

    async def _simulate(self, body: bytes) -> Response:
        try:
            wanted = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _error(400, f"the body is no JSON: {error}")
        if not isinstance(wanted, dict) or "sensor" not in wanted or "value" not in wanted:
            return _error(400, 'send {"sensor": "front-door", "value": "motion"}, and "node" where several have it')
        unknown = sorted(wanted.keys() - {"node", "sensor", "value"})
        if unknown:
            return _error(400, f"unknown: {', '.join(unknown)}; there are node, sensor and value")
        sensor, node = str(wanted["sensor"]), wanted.get("node")
        found = [name for name, board in self._boards.items() if sensor in board.devices and node in (None, name)]
        if not found:
            return _error(404, self._nowhere(sensor, node))
        if len(found) > 1:
            return _error(409, f"several nodes have a sensor {sensor}: {', '.join(found)}; say which node")
        value = _text(wanted["value"])
        try:
            await self._boards[found[0]].drive(sensor, value)
        except NotAccepted as error:
            return _error(400, str(error))
        _log.info("Simulated", extra={"op": "simulate", "node": found[0], "sensor": sensor, "value": value})
        return _json(200, {"node": found[0], "sensor": sensor, "value": value})

    def _nowhere(self, sensor: str, node: object) -> str:
        if node is not None and node not in self._boards:
            return f"there is no node {node}; there are {', '.join(self._boards)}"
        where = [str(node)] if node is not None else list(self._boards)
        there = ", ".join(f"{name}/{known}" for name in where for known in self._boards[name].devices)
        return f"there is no sensor {sensor}; there are {there or 'none'}"


def _text(value: object) -> str:
    """A JSON value as the word a person would type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _json(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    body = orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    return Response(status, body, (("Content-Type", "application/json"), *headers))


def _error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return _json(status, {"error": text}, headers)
