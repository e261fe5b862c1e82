"""The gateway's own answers: JSON documents, lines of text, and refusals."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from bridge.errors import BridgeError

INTERNAL = "X-OpenFaaS-Internal"
"""On every error that is the gateway's own and not a function's."""
SERVER = "gpio-bridge"


class Refusal(BridgeError):
    """The request ends with an error of our own; the message goes to the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """The answer that tells it."""
        headers = {"Server": SERVER, INTERNAL: "gateway", **self.headers}
        return web.Response(status=self.status, text=f"{self}\n", headers=headers)


def document(value: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    headers = {"Server": SERVER, "Content-Type": "application/json"}
    return web.Response(status=status, body=orjson.dumps(value), headers=headers)


def empty(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status, headers={"Server": SERVER, **(headers or {})})
