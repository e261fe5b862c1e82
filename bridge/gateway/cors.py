"""Which pages of other origins may use the gateway from a browser (CORS, in the Fetch standard); none by default.

What functions answer to browsers is theirs to say: this is for the gateway's own paths.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.gateway.answers import empty

GRANTED = web.RequestKey("granted", dict[str, str])
"""Fields for the answer to this request, put there for verbs that send their head themselves."""
_METHODS = "GET, POST, PUT, DELETE"
_FIELDS = "Authorization, Content-Type, X-Callback-Url, X-Call-Id"
_SHOWN = "X-Call-Id, X-Start-Time, X-Served-By, X-OpenFaaS-Internal"
_REMEMBER_S = 600


class Cors:
    """Grants what the settings say."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def grant(self, request: BaseRequest) -> dict[str, str]:
        """The fields that let the page that asks read the answer; empty for any other."""
        origin = request.headers.get("Origin")
        granted: dict[str, str] = {}
        if origin is not None and self._origins:
            # Passwords come in a field that the page writes, never from the browser by itself: no credentials here.
            granted["Vary"] = "Origin"
            if origin in self._origins or "*" in self._origins:
                granted |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _SHOWN}
        request[GRANTED] = granted
        return granted

    def preflight(self, request: BaseRequest) -> web.StreamResponse | None:
        """The answer to a browser that asks beforehand, which it does without a password; None for anything else."""
        granted = self.grant(request)
        if (
            request.method != "OPTIONS"
            or "Access-Control-Request-Method" not in request.headers
            or "Access-Control-Allow-Origin" not in granted
        ):
            return None
        allowed = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _FIELDS,
            "Access-Control-Max-Age": str(_REMEMBER_S),
        }
        return empty(204, granted | allowed)
