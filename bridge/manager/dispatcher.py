"""The dispatcher's HTTP API as the manager asks it; what it refuses, or does not answer, becomes a problem here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from bridge.manager.problems import Refusal
from bridge.manager.trust import trusted

ASK_S: Final = 5.0
_AS_WE_SAY: Final = {400: 422, 404: 404, 503: 503}
"""What the dispatcher refuses, and the status that says the same in the manager's API."""


class DispatcherApi:
    """Asks the dispatcher at an address that may change: `address` is called for each request."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address

    @property
    def url(self) -> str:
        """Where the dispatcher is, without a slash at its end."""
        return self._address().rstrip("/")

    async def ask(self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: object = None) -> Any:
        """What the dispatcher answers, as JSON.

        Refuses: 422 and 404 as the dispatcher does, 503 when it does not answer or cannot now, 502 when what answers
        does not speak as a dispatcher.
        """
        try:
            async with httpx.AsyncClient(timeout=ASK_S, trust_env=False, verify=trusted()) as client:
                answer = await client.request(method, f"{self.url}{path}", params=params, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # A time-out says nothing of itself.
            raise Refusal(
                503, f"the dispatcher at {self.url} does not answer: {error or type(error).__name__}"
            ) from error
        try:
            found = answer.json()
        except ValueError as error:
            raise self._strange(answer.status_code) from error
        if answer.is_success:
            return found
        status, detail = _AS_WE_SAY.get(answer.status_code), _detail(found)
        if status is None or detail is None:
            raise self._strange(answer.status_code)
        raise Refusal(status, f"the dispatcher: {detail}")

    def _strange(self, status: int) -> Refusal:
        return Refusal(502, f"what answers at {self.url} does not speak as a dispatcher (HTTP {status})")


def _detail(problem: object) -> str | None:
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return detail if isinstance(detail, str) else None
