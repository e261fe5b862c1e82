"""The audit's part of the dispatcher's HTTP API.

GET  /v1/audit            what is missing, what may still come, what came twice, what was dropped, per source
POST /v1/audit/accept     what is missing now counts as dropped (`accepted`): for a gap that will never close
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bridge.dispatcher.answers import json_answer
from bridge.dispatcher.routes import Asked, Routes
from bridge.runtime.http import Response

if TYPE_CHECKING:
    from bridge.dispatcher.dispatcher import Dispatcher

_log = logging.getLogger(__name__)


class AuditApi:
    """The handlers; `add_routes` puts them in place."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def add_routes(self, routes: Routes) -> None:
        """Put the handlers where the module says."""
        routes.add("GET", "/v1/audit", self._audit)
        routes.add("POST", "/v1/audit/accept", self._accept)

    async def _audit(self, _: Asked) -> Response:
        return json_answer(self._dispatcher.auditor.told(self._dispatcher.now()))

    async def _accept(self, _: Asked) -> Response:
        inputs, gaps = self._dispatcher.auditor.acceptance(self._dispatcher.now())
        self._dispatcher.take(inputs)
        self._dispatcher.auditor.observe(self._dispatcher.ledger.confirmed(), self._dispatcher.now())
        for gap in gaps:
            _log.warning("missing events were accepted as lost", extra={"op": "audit.accept", **gap})
        return json_answer({"accepted": gaps, "missing": self._dispatcher.auditor.missing(self._dispatcher.now())})
