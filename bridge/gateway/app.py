"""From a request's target to the verb that answers it.

Targets are compared as they came, never decoded or cleaned: what is not spelled exactly like a path of the interface
is none, so that no spelling leads around the authentication.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import EngineUnavailable
from bridge.gateway.answers import SERVER, Refusal, empty
from bridge.gateway.api.asynchronous import Accept
from bridge.gateway.api.functions import Functions
from bridge.gateway.api.invoke import Invoke
from bridge.gateway.api.logs import Logs
from bridge.gateway.api.secrets import SecretVerbs
from bridge.gateway.api.system import System
from bridge.gateway.auth import BasicAuth
from bridge.gateway.cors import GRANTED, Cors

_log = logging.getLogger(__name__)

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

Verb = Callable[[BaseRequest], Awaitable[web.StreamResponse]]
NamedVerb = Callable[[BaseRequest, str], Awaitable[web.StreamResponse]]
V = TypeVar("V")
Page = Callable[[str], tuple[int, str, bytes] | None]
"""Status, content type and body for `/healthz`, `/readyz` and `/metrics`; None for other paths."""
_OPENAPI = Path(__file__).with_name("openapi.yaml")


class App:
    """The handler that the HTTP server is given."""

    def __init__(
        self,
        *,
        auth: BasicAuth,
        cors: Cors,
        invoke: Invoke,
        accept: Accept,
        functions: Functions,
        secrets: SecretVerbs,
        logs: Logs,
        system: System,
        page: Page,
    ) -> None:
        self._auth = auth
        self._cors = cors
        self._invoke = invoke
        self._accept = accept
        self._page = page
        self.calls_in_flight = 0
        self._exact: Mapping[str, Mapping[str, Verb]] = {
            "/system/functions": {
                "GET": functions.list,
                "POST": functions.deploy,
                "PUT": functions.update,
                "DELETE": functions.remove,
            },
            "/system/info": {"GET": system.info},
            "/system/namespaces": {"GET": system.namespaces},
            "/system/alert": {"POST": system.alert},
            "/system/logs": {"GET": logs.read},
            "/system/secrets": {
                "GET": secrets.list,
                "POST": secrets.create,
                "PUT": secrets.update,
                "DELETE": secrets.remove,
            },
        }
        every = system.namespace
        self._named: Mapping[str, Mapping[str, NamedVerb]] = {
            "/system/function/": {"GET": functions.describe},
            "/system/scale-function/": {"POST": functions.scale},
            "/system/namespace/": {"GET": every, "POST": every, "PUT": every, "DELETE": every},
        }

    async def __call__(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        response = await self._answered(request)
        if not response.prepared:
            response.headers.update(request.get(GRANTED, {}))
        return response

    async def _answered(self, request: BaseRequest) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except Refusal as refusal:
            return refusal.response()
        except EngineUnavailable as error:
            return Refusal(503, str(error), {"Retry-After": "1"}).response()
        except Exception as error:  # noqa: BLE001 - the outermost place of a request; the traceback is logged
            said = _told_of_disk(error)
            if said is None:
                _log.exception("Request failed", extra={"op": "http", "method": request.method})
            else:
                _log.error("Disk takes nothing", extra={"op": "http", "method": request.method, "why": str(error)})
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()  # an answer has begun: only a cut connection can tell that this is not all
            if said is not None:
                return Refusal(503, said, {"Retry-After": "5"}).response()
            return Refusal(500, "the gateway failed at this request; its log has the reason").response()

    async def _answer(self, request: BaseRequest) -> web.StreamResponse:
        target = _target(request)
        if target.startswith("/function/"):
            return await self._counted(self._invoke(request, target[10:]))
        preflight = self._cors.preflight(request)
        if preflight is not None:
            return preflight
        if target.startswith("/async-function/"):
            return await self._counted(self._accept(request, target[16:]))
        path = target.partition("?")[0]
        if path.startswith(("/system/", "/ui/")) or path in ("/system", "/ui"):
            self._auth.check(request.headers.get("Authorization"))
            return await self._system(request, path)
        return await self.open_page(request, path)

    async def _counted(self, answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
        self.calls_in_flight += 1
        try:
            return await answering
        finally:
            self.calls_in_flight -= 1

    async def _system(self, request: BaseRequest, path: str) -> web.StreamResponse:
        verbs = self._exact.get(path)
        if verbs is not None:
            verb = _chosen(verbs, request)
            return await verb(request)
        for prefix, named in self._named.items():
            if path.startswith(prefix):
                return await _chosen(named, request)(request, path.removeprefix(prefix))
        if path.startswith("/ui"):
            raise Refusal(404, "the gateway has no pages of its own; gpio-bridge's manager has them")
        raise Refusal(404, "there is nothing at this path")

    async def open_page(self, request: BaseRequest, path: str) -> web.StreamResponse:
        """Health, metrics, the description of the interface and the root: open to everybody."""
        found = (200, "application/yaml", _OPENAPI.read_bytes()) if path == "/openapi.yaml" else self._page(path)
        if found is None and path != "/":
            raise Refusal(404, "there is nothing at this path")
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, "only GET is served here", {"Allow": "GET, HEAD"})
        if found is None:
            return empty(307, {"Location": "/ui/"})
        status, content_type, body = found
        return web.Response(status=status, body=body, headers={"Server": SERVER, "Content-Type": content_type})


def metrics_handler(page: Page) -> Verb:
    """The handler of the port that serves nothing but health and metrics."""

    async def answer(request: BaseRequest) -> web.StreamResponse:
        found = page(_target(request).partition("?")[0])
        if found is None or request.method not in ("GET", "HEAD"):
            return Refusal(404, "try GET /metrics, /healthz or /readyz").response()
        status, content_type, body = found
        return web.Response(status=status, body=body, headers={"Server": SERVER, "Content-Type": content_type})

    return answer


def _target(request: BaseRequest) -> str:
    """The path and query as they stand in the request line, also where a whole URL stands there."""
    target = request.raw_path
    if not target.startswith("/"):
        # Absolute form (RFC 9112 section 3.2.2), or what is no target at all.
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            return "*"
        target = "/" + rest.partition("/")[2]
    return target.partition("#")[0]


def _chosen(verbs: Mapping[str, V], request: BaseRequest) -> V:
    verb = verbs.get(request.method)
    if verb is None:
        raise Refusal(405, f"{request.method} means nothing here", {"Allow": ", ".join(sorted(verbs))})
    return verb


def _told_of_disk(error: Exception) -> str | None:
    """What to tell a client when the disk refuses; None for any other error."""
    if not isinstance(error, OSError) or error.errno not in _DISK:
        return None
    return f"the gateway cannot keep this: {error.strerror}; see to the disk of its state_dir"
