"""The queue behind `/async-function/`: accepted calls are stored, made, tried again, and their answers posted back.

At least once: a call that was in work when the gateway was killed is made again, under the same call id. Functions take
turns and none may hold more than half of the places, so that a slow one delays mostly itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import logging
import random
import time
from collections import Counter, deque
from pathlib import Path
from typing import Self

import aiohttp
from multidict import CIMultiDict

from bridge.clock import Clock
from bridge.core.retry import Outcome, RetryAfter, RetryPolicy, Verdict, decide
from bridge.errors import JournalError
from bridge.gateway import accepted
from bridge.gateway.accepted import AcceptedCall
from bridge.gateway.answers import INTERNAL, Refusal
from bridge.gateway.background import Background
from bridge.gateway.exchange import Call
from bridge.gateway.headers import UnsendableHeader, to_client
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.settings import GatewaySettings
from bridge.gateway.upstream import Answer, Upstream
from bridge.journal.engine import Journal

_log = logging.getLogger(__name__)

_CALLBACK_S = 30.0
_CALLBACK_ATTEMPTS = 4
_PIECE_BYTES = 256 * 1024
_MAX_ANSWER_BYTES = 32 * 1024 * 1024
_RETRYABLE = frozenset({408, 425, 429, 502, 503, 504})
"""The function was not reached, did not finish, or asks for patience; its own 500 is an answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Result:
    """What a function answered; `reached` is false when the answer is our own."""

    status: int
    body: bytes
    headers: CIMultiDict[str]
    duration_s: float
    reached: bool
    retry_after_s: float | None = None


class AsyncQueue:
    """Accepts calls up to its bounds and makes them, several at a time; an async context manager.

    Leaving lets the calls in work finish for the drain's time; what has not ended stays in the journal.
    """

    def __init__(
        self,
        path: Path,
        upstream: Upstream,
        metrics: GatewayMetrics,
        settings: GatewaySettings,
        *,
        clock: Clock,
        background: Background,
        served_by: str,
    ) -> None:
        self._journal = Journal(path, accepted.MIGRATIONS, name="async queue")
        self._upstream = upstream
        self._metrics = metrics
        self._settings = settings.asynchronous
        self._drain_s = settings.timeouts.drain_s
        self._clock = clock
        self._background = background
        self._served_by = served_by
        self._policy = RetryPolicy(self._settings.attempts, self._settings.first_s, self._settings.max_s)
        self._per_function = max(1, self._settings.concurrency // 2)
        self._ready: dict[str, deque[AcceptedCall]] = {}
        self._busy: Counter[str] = Counter()
        self._working: set[asyncio.Task[None]] = set()
        self._count = 0
        self._bytes = 0
        self._stopping = False
        self._drained_at = 0.0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await self._journal.__aenter__()
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=aiohttp.ClientTimeout(total=_CALLBACK_S)
        )
        for call in await self._journal.read(accepted.load):
            self._admit(call)
        if self._count:
            _log.info("Asynchronous calls from before", extra={"op": "async", "calls": self._count})
        self._advance()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """First no new work, then the end of what is in work, then the journal that both need."""
        self.stop()
        rest_s = self._drained_at - self._clock.monotonic()
        if self._working and rest_s > 0:
            await asyncio.wait(self._working, timeout=rest_s)
        for task in list(self._working):
            task.cancel()
        if self._working:
            await asyncio.wait(self._working)
        if self._session is not None:
            await self._session.close()
        await self._journal.__aexit__(*exc)

    def stop(self) -> None:
        """Begin no more calls; those in work have the drain's time from now."""
        if not self._stopping:
            self._stopping = True
            self._drained_at = self._clock.monotonic() + self._drain_s

    @property
    def waiting(self) -> int:
        """Calls accepted that have not ended."""
        return self._count

    def problem(self) -> str | None:
        """Why calls cannot be accepted, or None."""
        return self._journal.problem

    async def accept(self, call: AcceptedCall) -> None:
        """Store a call and make it later; returns when it is stored. Refuses with 503 at a bound, or without a disk."""
        settings = self._settings
        if self._stopping:
            raise Refusal(503, "the gateway is being stopped", {"Retry-After": "5"})
        if self._count >= settings.max_calls or self._bytes + len(call.body) > settings.max_waiting_bytes:
            raise Refusal(503, f"{self._count} asynchronous calls wait already; try again later", {"Retry-After": "5"})
        # Counted before it is stored: many may come at once.
        self._count += 1
        self._bytes += len(call.body)
        try:
            number = await asyncio.shield(self._journal.write(lambda database: accepted.insert(database, call)))
        except JournalError as error:
            self._count -= 1
            self._bytes -= len(call.body)
            raise Refusal(503, str(error), {"Retry-After": "5"}) from None
        self._queue(dataclasses.replace(call, number=number))
        self._metrics.async_accepted(call.function)
        self._metrics.async_waiting.set(self._count)

    def _admit(self, call: AcceptedCall) -> None:
        self._count += 1
        self._bytes += len(call.body)
        self._ready.setdefault(call.function, deque()).append(call)
        self._metrics.async_accepted(call.function)
        self._metrics.async_waiting.set(self._count)

    def _queue(self, call: AcceptedCall) -> None:
        self._ready.setdefault(call.function, deque()).append(call)
        self._advance()

    def _advance(self) -> None:
        """Begin as many calls as there are places for."""
        while not self._stopping and len(self._working) < self._settings.concurrency:
            name = next((each for each in self._ready if self._busy[each] < self._per_function), None)
            if name is None:
                return
            line = self._ready.pop(name)
            call = line.popleft()
            if line:
                self._ready[name] = line  # to the end: functions take turns
            self._busy[name] += 1
            task = self._background.spawn(self._work(call), f"async call {call.id}")
            self._working.add(task)
            task.add_done_callback(lambda done, name=name: self._done(done, name))  # type: ignore[misc] # bound by its default

    def _done(self, task: asyncio.Task[None], name: str) -> None:
        self._working.discard(task)
        self._busy[name] -= 1
        if not self._busy[name]:
            del self._busy[name]
        self._advance()

    async def _work(self, call: AcceptedCall) -> None:
        result = await self._attempt(call)
        attempts = call.attempts + 1
        if result.status in _RETRYABLE and not (result.reached and result.status == 504):
            reason = f"status {result.status}"
            outcome = Outcome(
                verdict=Verdict.RETRYABLE,
                status=result.status,
                reason=reason,
                duration_s=result.duration_s,
                retry_after_s=result.retry_after_s,
            )
            decision = decide(self._policy, outcome, attempt=attempts, elapsed_s=0.0, jitter=random.random())  # noqa: S311 - jitter, not a secret
            if isinstance(decision, RetryAfter):
                number = call.number
                self._journal.post(lambda database: accepted.note_attempts(database, number, attempts))
                again = dataclasses.replace(call, attempts=attempts)
                self._background.spawn(self._later(again, decision.delay_s), f"async retry {call.id}")
                return
        succeeded = 200 <= result.status < 300
        if not succeeded:
            _log.error(
                "Asynchronous call failed",
                extra={
                    "op": "async",
                    "function": call.function,
                    "call_id": call.id,
                    "status": result.status,
                    "attempts": attempts,
                },
            )
        outcome_name = "succeeded" if succeeded else "failed"
        if call.callback is not None and not await self._call_back(call, call.callback, result):
            outcome_name = "callback-failed"
        self._metrics.async_ended(call.function, outcome_name)
        # Forgotten last: a kill before this makes the call again rather than losing its answer.
        self._journal.post(lambda database: accepted.remove(database, call.number))
        self._count -= 1
        self._bytes -= len(call.body)
        self._metrics.async_waiting.set(self._count)

    async def _later(self, call: AcceptedCall, delay_s: float) -> None:
        await self._clock.sleep(delay_s)
        self._queue(call)

    async def _attempt(self, call: AcceptedCall) -> _Result:
        began = time.perf_counter()
        start_ns = time.time_ns()
        headers = CIMultiDict(call.headers)
        headers["X-Start-Time"] = str(start_ns)
        self._metrics.started(call.function)
        code = 500
        try:
            try:
                async with await self._upstream.send(
                    Call(call.function, "POST", call.target, headers, call.body)
                ) as answer:
                    body = await _bounded(answer)
                    code = answer.status
                    sent = to_client(answer.headers, call_id=call.id, start_ns=start_ns, served_by=self._served_by)
                    patience = answer.headers.get("Retry-After", "")
                    return _Result(
                        code,
                        body,
                        sent,
                        time.perf_counter() - began,
                        True,
                        min(float(patience), 3600.0) if patience.isascii() and patience.isdigit() else None,
                    )
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise Refusal(502, f"the function {call.function} broke off its answer: {error}") from None
            except UnsendableHeader as error:
                raise Refusal(502, f"the function {call.function} answered with a bad header: {error}") from None
        except Refusal as refusal:
            code = refusal.status
            plain: CIMultiDict[str] = CIMultiDict({"Content-Type": "text/plain; charset=utf-8", INTERNAL: "gateway"})
            return _Result(code, f"{refusal}\n".encode(), plain, time.perf_counter() - began, False)
        finally:
            self._metrics.ended(call.function, code, time.perf_counter() - began)

    async def _call_back(self, call: AcceptedCall, url: str, result: _Result) -> bool:
        """Post the answer; whether it was taken. Tried a few times: the function's work is done and worth it."""
        assert self._session is not None
        headers = CIMultiDict(result.headers)
        headers["X-Function-Name"] = call.function
        # Clients know one number for "it could not be reached".
        headers["X-Function-Status"] = str(result.status if result.reached or result.status == 404 else 503)
        headers.setdefault("X-Duration-Seconds", f"{result.duration_s:.6f}")
        headers["X-Call-Id"] = call.id
        problem = ""
        for attempt in range(_CALLBACK_ATTEMPTS):
            if attempt:
                await self._clock.sleep(min(self._settings.max_s, self._settings.first_s * 2.0 ** (attempt - 1)))
            try:
                async with self._session.post(
                    url, data=_as_payload(result.body), headers=headers, allow_redirects=False
                ) as answer:
                    if answer.status < 400:
                        return True
                    problem = f"status {answer.status}"
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                problem = str(error) or type(error).__name__
        _log.error(
            "Callback failed",
            extra={"op": "async", "function": call.function, "call_id": call.id, "reason": problem},
        )
        return False


async def _bounded(answer: Answer) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > _MAX_ANSWER_BYTES:
            raise Refusal(502, f"the function's answer is larger than {_MAX_ANSWER_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _as_payload(body: bytes) -> bytes | io.BytesIO:
    """A large body as a file, which aiohttp writes in pieces instead of at once."""
    return io.BytesIO(body) if len(body) > _PIECE_BYTES else body
