"""The control API of virtual Pis: what there is, and making it happen. For this machine only.

`GET /v1/nodes` tells nodes, sensors and what each accepts; `POST /v1/simulate {"node"?, "sensor", "value"}` drives the
pins and answers when they have changed. Errors are `{"error": "..."}` and say what would be accepted.
Whoever composes it may have it serve more: what `GET /v1/nodes` lists under `posts`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

import orjson

from bridge.errors import BridgeError
from bridge.runtime.http import Request, Response, Server
from bridge.virtual.board import VirtualBoard
from bridge.virtual.devices import NotAccepted
from bridge.virtual.rest import rest_word

_log = logging.getLogger(__name__)

_LOOPBACK = "127.0.0.1"
_MAX_BODY_BYTES = 64 * 1024


Post = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""What a path does with the object that is posted to it: its answer. Raises NotAccepted."""


class Control:
    """Serves the virtual Pis of one process; an async context manager. Port 0 takes a free one.

    Start it before the agents, so that nobody drives a pin into the void, and stop it before them. `posts` are paths
    that it serves besides its own; `agent` says what else is to be told of a node.
    """

    def __init__(
        self,
        boards: Mapping[str, VirtualBoard],
        port: int = 0,
        posts: Mapping[str, Post] | None = None,
        *,
        agent: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> None:
        self._boards = boards
        self._agent = agent or (lambda _: {})
        self._posts: Mapping[str, Post] = {"/v1/simulate": self._simulate, **(posts or {})}
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
                nodes = [self._node(name) for name in self._boards]
                return _json(200, {"nodes": nodes, "posts": sorted(self._posts)})
            case "POST", path if path in self._posts:
                return await self._posted(self._posts[path], request.body)
            case _, path if path == "/v1/nodes" or path in self._posts:
                allowed = "POST" if path in self._posts else "GET, HEAD"
                return _error(405, f"{path} takes {allowed}", (("Allow", allowed),))
            case _:
                return _error(404, f"there are GET /v1/nodes and POST {', '.join(self._posts)}")

    def _node(self, name: str) -> dict[str, Any]:
        board = self._boards[name]
        return {
            "name": name,
            "board": board.description,
            "started_s": board.started_s(),
            **self._agent(name),
            "sensors": [self._sensor(board, sensor) for sensor in board.devices],
        }

    def _sensor(self, board: VirtualBoard, name: str) -> dict[str, Any]:
        settings, (seen, driven_s) = board.settings.sensors[name], board.driven(name) or (None, None)
        return {
            "name": name,
            "kind": settings.KIND,
            "accepts": list(board.accepts(name)),
            "rest": rest_word(settings),
            "seen": seen,
            "driven_s": driven_s,
            "warms_up_s": board.warms_up_s(name),
            "stuck": board.is_stuck(name),
        }

    async def _posted(self, post: Post, body: bytes) -> Response:
        try:
            wanted = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return _error(400, f"the body is no JSON: {error}")
        if not isinstance(wanted, dict):
            return _error(400, "the body is no JSON object")
        try:
            return _json(200, await post(wanted))
        except _Elsewhere as error:
            return _error(error.status, str(error))
        except NotAccepted as error:
            return _error(400, str(error))

    async def _simulate(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        if "sensor" not in wanted or "value" not in wanted:
            raise NotAccepted('send {"sensor": "front-door", "value": "motion"}, and "node" where several have it')
        unknown = sorted(wanted.keys() - {"node", "sensor", "value"})
        if unknown:
            raise NotAccepted(f"unknown: {', '.join(unknown)}; there are node, sensor and value")
        sensor, node = str(wanted["sensor"]), wanted.get("node")
        found = [name for name, board in self._boards.items() if sensor in board.devices and node in (None, name)]
        if not found:
            raise _Elsewhere(404, self._nowhere(sensor, node))
        if len(found) > 1:
            raise _Elsewhere(409, f"several nodes have a sensor {sensor}: {', '.join(found)}; say which node")
        value = _text(wanted["value"])
        await self._boards[found[0]].drive(sensor, value)
        _log.info("Simulated", extra={"op": "simulate", "node": found[0], "sensor": sensor, "value": value})
        return {"node": found[0], "sensor": sensor, "value": value}

    def _nowhere(self, sensor: str, node: object) -> str:
        if node is not None and node not in self._boards:
            return f"there is no node {node}; there are {', '.join(self._boards)}"
        where = [str(node)] if node is not None else list(self._boards)
        there = ", ".join(f"{name}/{known}" for name in where for known in self._boards[name].devices)
        return f"there is no sensor {sensor}; there are {there or 'none'}"


class _Elsewhere(NotAccepted):
    """It is not clear what is to be driven."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


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
