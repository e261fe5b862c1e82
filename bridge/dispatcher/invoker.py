"""The invoker: attempts of invocations over the gateway's HTTP API, and what their answers mean.

The seam is `Invoker`: callbacks, so that an attempt needs no task. This one posts with our own client
(`bridge/dispatcher/http/`); docs/performance.md tells why.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final, Protocol, Self

from bridge.clock import Clock
from bridge.core.event import Event
from bridge.core.invocation import Invocation, call
from bridge.core.retry import Outcome, Verdict, classify
from bridge.dispatcher.http.answer import Answer, Failed
from bridge.dispatcher.http.pool import Pool
from bridge.dispatcher.http.request import Origin, Requests
from bridge.dispatcher.settings import GatewaySettings

Done = Callable[[Outcome], None]
"""Is told the outcome of an attempt, on the loop."""

_SECONDS: Final = re.compile(r"[ \t]*[0-9]+[ \t]*")
"""Not str.isdigit, which also knows the digits of other scripts, and ² besides."""
_PLACES: Final = {"sync": "function", "async": "async-function"}


class Invoker(Protocol):
    """Carries out attempts. Called from the loop's thread only."""

    async def __aenter__(self) -> Self:
        """Be ready to invoke."""

    async def __aexit__(self, *exc: object) -> None:
        """Give up what is under way, and close the connections."""

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        """Begin one attempt. `done` is told exactly once, never before this returns, unless all is given up before.

        What the outside does is told by the outcome; it never raises for that.
        """

    def give_up(self) -> None:
        """Break off all attempts under way, at once: nothing of them is told any more."""


class HttpInvoker:
    """Invokes over HTTP with kept-alive connections; redirects are not followed, cookies not kept."""

    def __init__(self, settings: GatewaySettings, clock: Clock, *, connections: int) -> None:
        self._settings = settings
        self._clock = clock
        self._origin = Origin(settings.url)
        self._requests = Requests(self._origin)
        self._refused: list[tuple[Done, Outcome]] = []  # attempts that cannot be sent at all, to be told soon
        self._pool = Pool(self._origin, clock, connections=connections, connect_timeout_s=settings.connect_timeout_s)

    async def __aenter__(self) -> Self:
        if self._settings.username is not None and self._settings.password_file is not None:
            password = self._settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            self._requests = Requests(self._origin, username=self._settings.username, password=password)
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.give_up()
        await self._pool.__aexit__(*exc)

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        wanted = call(invocation, event, attempt)
        try:
            request = self._requests.post(_PLACES[invocation.mode], invocation.function, wanted.headers, wanted.body)
        except ValueError as error:
            refused = Outcome(verdict=Verdict.REFUSED, status=None, reason=f"cannot be sent: {error}", duration_s=0.0)
            self._refused.append((done, refused))
            asyncio.get_running_loop().call_soon(self._tell_refused)
            return
        self._pool.post(request, invocation.timeout_s, partial(self._ended, done))

    def give_up(self) -> None:
        self._refused.clear()
        self._pool.give_up()

    def _tell_refused(self) -> None:
        refused, self._refused = self._refused, []
        for done, outcome in refused:
            done(outcome)

    def _ended(self, done: Done, result: Answer | Failed, duration_s: float) -> None:
        if isinstance(result, Answer):
            done(outcome_of(result, duration_s, self._clock.now))
            return
        # Where nothing was reached no attempt was made: a gateway that is away for an hour uses up no one's attempts.
        verdict = Verdict.RETRYABLE if result.reached else Verdict.PARKED
        done(Outcome(verdict=verdict, status=None, reason=result.reason, duration_s=duration_s))


def outcome_of(answer: Answer, duration_s: float, now: Callable[[], datetime]) -> Outcome:
    """What an answer means."""
    status = answer.status
    if 200 <= status < 300:  # nearly always
        return Outcome(verdict=Verdict.SUCCEEDED, status=status, reason="", duration_s=duration_s)
    verdict = classify(status, from_gateway=status >= 500 and answer.header("X-OpenFaaS-Internal") is not None)
    text = answer.body.decode("utf-8", "replace")
    first = text.strip().splitlines()[0][:200] if text.strip() else ""
    return Outcome(
        verdict=verdict,
        status=status,
        reason=f"HTTP {status}: {first}" if first else f"HTTP {status}",
        duration_s=duration_s,
        body=text,
        retry_after_s=retry_after(answer.header("Retry-After"), now()),
    )


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that `Retry-After` asks for: a number or an HTTP date (RFC 9110, 10.2.3); None for anything else."""
    if value is None:
        return None
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a number in it may be of any length
        return None
    return max(0.0, (at - now).total_seconds()) if at.tzinfo is not None else None
