"""`/system/functions`, `/system/function/{name}`, `/system/scale-function/{name}`: deploy, list, scale, remove."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import FunctionError, FunctionNotFound
from bridge.gateway.answers import Refusal, document, empty
from bridge.gateway.backends import Backend
from bridge.gateway.body import read_document
from bridge.gateway.metrics import GatewayMetrics
from bridge.openfaas.deployment import parse_deployment
from bridge.openfaas.names import NAMESPACE, resolve

_READ_S = 30.0


class Functions:
    """The verbs for deployed functions."""

    def __init__(self, backend: Backend, metrics: GatewayMetrics) -> None:
        self._backend = backend
        self._metrics = metrics

    async def list(self, request: BaseRequest) -> web.StreamResponse:
        """Every function."""
        if request.query.get("namespace", "") not in ("", NAMESPACE):
            return document([])
        statuses = await self._backend.list()
        return document([status.document(self._metrics.invocations(status.deployment.service)) for status in statuses])

    async def deploy(self, request: BaseRequest) -> web.StreamResponse:
        """A new function, or a new version of one."""
        body = await read_document(request, _READ_S)
        try:
            await self._backend.deploy(parse_deployment(body))
        except FunctionError as error:
            raise Refusal(400, str(error)) from None
        return empty(202)

    async def update(self, request: BaseRequest) -> web.StreamResponse:
        """A new version of a function that is there."""
        body = await read_document(request, _READ_S)
        try:
            await self._backend.update(parse_deployment(body))
        except FunctionNotFound as error:
            raise Refusal(404, str(error)) from None
        except FunctionError as error:
            raise Refusal(400, str(error)) from None
        return empty(202)

    async def remove(self, request: BaseRequest) -> web.StreamResponse:
        """Stop and forget a function."""
        body = await read_document(request, _READ_S)
        given = _text(body, "functionName")
        if not given:
            raise Refusal(400, "functionName is missing")
        try:
            await self._backend.remove(_resolved(given, _text(body, "namespace") or request.query.get("namespace", "")))
        except FunctionNotFound:
            raise Refusal(404, f"No such service found: {given[:100]}.") from None
        return empty(202)

    async def describe(self, request: BaseRequest, given: str) -> web.StreamResponse:
        """One function."""
        name = _resolved(given, request.query.get("namespace", ""))
        usage = request.query.get("usage", "").lower() in ("1", "true", "t")
        try:
            status = await self._backend.describe(name, usage=usage)
        except FunctionNotFound as error:
            raise Refusal(404, str(error)) from None
        return document(status.document(self._metrics.invocations(name)))

    async def scale(self, request: BaseRequest, given: str) -> web.StreamResponse:
        """Set the wanted number of replicas."""
        body = await read_document(request, _READ_S)
        replicas = body.get("replicas") if isinstance(body, dict) else None
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            raise Refusal(400, "replicas must be a whole number of at least 0")
        _text(body, "serviceName")  # the path is what counts; a client that sends no text here is mistaken all the same
        namespace = _text(body, "namespace") or request.query.get("namespace", "")
        try:
            await self._backend.scale(_resolved(given, namespace), replicas)
        except FunctionNotFound as error:
            raise Refusal(404, str(error)) from None
        except FunctionError as error:
            raise Refusal(400, str(error)) from None
        return empty(202)


def _text(body: Any, key: str) -> str:
    if not isinstance(body, dict):
        raise Refusal(400, "the request's body must be a JSON object")
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, f"{key} must be text")
    return value or ""


def _resolved(given: str, namespace: str) -> str:
    name = resolve(given, namespace)
    if name is None:
        raise Refusal(404, f"the function {given[:100]!r} is not deployed")
    return name
