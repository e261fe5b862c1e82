"""What the gateway says of itself, and what Alertmanager tells it."""

from __future__ import annotations

import importlib.metadata
import logging
import platform

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import FunctionError
from bridge.gateway.answers import Refusal, document, empty
from bridge.gateway.backends import Backend
from bridge.gateway.body import read_document
from bridge.gateway.scaling import after_alert
from bridge.gateway.settings import GatewaySettings
from bridge.openfaas.names import NAMESPACE, resolve

_log = logging.getLogger(__name__)

_READ_S = 30.0
_BAD_ALERT = "Unable to parse alert, bad format"
_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64", "armv7l": "armhf", "armv6l": "armhf"}


def release() -> str:
    """The version of this program."""
    return importlib.metadata.version("gpio-bridge")


class System:
    """The verbs for the gateway itself."""

    def __init__(self, backend: Backend, settings: GatewaySettings) -> None:
        self._backend = backend
        self._settings = settings

    async def info(self, _: BaseRequest) -> web.StreamResponse:
        """Who we are: as a gateway, or as a provider where another gateway stands in front of us."""
        # A build that is not from a repository has no commit; clients want no empty value.
        version = {"sha": "release", "release": release()}
        provider = {
            "provider": self._backend.info.provider,
            "orchestration": self._backend.info.orchestration,
            "version": version,
        }
        if self._settings.role == "provider":
            return document(provider)
        machine = platform.machine() or "unknown"
        return document(
            {
                "provider": provider,
                "version": {"commit_message": f"gpio-bridge {release()}", **version},
                "arch": _ARCHITECTURES.get(machine, machine),
            }
        )

    async def namespaces(self, _: BaseRequest) -> web.StreamResponse:
        """The only one."""
        return document([NAMESPACE])

    async def namespace(self, _: BaseRequest, __: str) -> web.StreamResponse:
        """Namespaces cannot be made here."""
        raise Refusal(501, f"there is one namespace here, {NAMESPACE}; no other can be made")

    async def alert(self, request: BaseRequest) -> web.StreamResponse:
        """Alertmanager's webhook: scale each function that an alert names."""
        body = await read_document(request, _READ_S)
        alerts = body.get("alerts") if isinstance(body, dict) else None
        if not isinstance(alerts, list):
            raise Refusal(400, f"{_BAD_ALERT}: alerts is missing")
        found: list[tuple[str, bool]] = []
        for alert in alerts:
            labels = alert.get("labels") if isinstance(alert, dict) else None
            if not isinstance(labels, dict) or alert.get("status") not in ("firing", "resolved"):
                raise Refusal(
                    400,
                    f"{_BAD_ALERT}: an alert needs labels, and a status that is firing or resolved",
                )
            given = labels.get("function_name", "")
            if not isinstance(given, str):
                raise Refusal(400, f"{_BAD_ALERT}: the label function_name must be text")
            if given:
                found.append((given, alert["status"] == "firing"))
        # All are read before the first is followed: a bad one changes nothing.
        for given, firing in found:
            await self._scale(given, firing=firing)
        return empty(200)

    async def _scale(self, given: str, *, firing: bool) -> None:
        name = resolve(given)
        if name is None or not self._backend.known(name):
            _log.warning("Alert for a function that is not deployed", extra={"op": "alert", "function": given[:100]})
            return
        status = await self._backend.describe(name)
        wanted = after_alert(status.replicas, status.deployment, firing=firing)
        try:
            if wanted != status.replicas:
                await self._backend.scale(name, wanted)
        except FunctionError as error:
            _log.warning("Alert could not be followed", extra={"op": "alert", "function": name, "reason": str(error)})
