"""`/system/secrets`: values go in and are never shown again."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import FunctionError
from bridge.gateway.answers import Refusal, document, empty
from bridge.gateway.backends import Secrets
from bridge.gateway.body import read_document
from bridge.openfaas.names import NAMESPACE, is_secret

_READ_S = 30.0
_MAX_BYTES = 1024 * 1024


class SecretVerbs:
    """The verbs for secrets."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def list(self, request: BaseRequest) -> web.StreamResponse:
        """The names."""
        if request.query.get("namespace", "") not in ("", NAMESPACE):
            return document([])
        return document([{"name": name, "namespace": NAMESPACE} for name in await self._secrets.names()])

    async def create(self, request: BaseRequest) -> web.StreamResponse:
        """A new secret."""
        name, value = _read(await read_document(request, _READ_S), value_wanted=True)
        if not await _done(self._secrets.create(name, value)):
            raise Refusal(409, f"there is a secret {name} already; update it with PUT")
        return empty(201)

    async def update(self, request: BaseRequest) -> web.StreamResponse:
        """A new value for a secret that is there."""
        name, value = _read(await read_document(request, _READ_S), value_wanted=True)
        if not await _done(self._secrets.update(name, value)):
            raise Refusal(404, f"there is no secret {name}; create it with POST")
        return empty(202)

    async def remove(self, request: BaseRequest) -> web.StreamResponse:
        """Forget a secret."""
        name, _ = _read(await read_document(request, _READ_S), value_wanted=False)
        if not await _done(self._secrets.remove(name)):
            raise Refusal(404, f"there is no secret {name}")
        return empty(202)


async def _done(change: Awaitable[bool]) -> bool:
    try:
        return await change
    except FunctionError as error:
        raise Refusal(400, str(error)) from None


def _read(body: Any, *, value_wanted: bool) -> tuple[str, bytes]:
    if not isinstance(body, dict):
        raise Refusal(400, "the request's body must be a JSON object")
    name, namespace = body.get("name"), body.get("namespace")
    if not isinstance(name, str) or not is_secret(name):
        raise Refusal(400, "name must be text of letters, digits, hyphens, underscores and dots")
    if namespace not in (None, "", NAMESPACE):
        raise Refusal(400 if value_wanted else 404, f"there is no namespace {namespace!r} here")
    if not value_wanted:
        return name, b""
    value, raw = body.get("value"), body.get("rawValue")
    # The texts below never repeat what was given: it is a secret.
    if not all(given is None or isinstance(given, str) for given in (value, raw)):
        raise Refusal(400, f"value and rawValue of the secret {name} must be text")
    if isinstance(raw, str) and raw:
        try:
            content = base64.b64decode(raw, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(400, f"rawValue of the secret {name} is not base64") from None
    elif isinstance(value, str):
        content = value.encode("utf-8", "surrogatepass")
    else:
        raise Refusal(400, f"the secret {name} needs a value, or a rawValue in base64")
    if len(content) > _MAX_BYTES:
        raise Refusal(413, f"the secret {name} is larger than {_MAX_BYTES} bytes")
    return name, content
