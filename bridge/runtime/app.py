"""Around every call: call id, limits, time-out, probes, what callers and the log are told when it goes wrong."""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable

from .answers import BadAnswer
from .exchange import BrokenOff, Request, Response, text
from .function import Function, FunctionFailed
from .logs import call_id

_log = logging.getLogger(__name__)


class App:
    """The handler that the HTTP server is given."""

    def __init__(self, function: Function, *, exec_timeout_s: float | None, max_inflight: int) -> None:
        self._function = function
        self._exec_timeout_s = exec_timeout_s
        self._max_inflight = max_inflight
        self._inflight = 0
        self.draining = False

    async def __call__(self, request: Request) -> Response:
        """Answer one request: a probe, or a call of the function."""
        if request.path in ("/_/health", "/_/ready"):
            return self._probe(ready=request.path == "/_/ready")
        started = time.monotonic()
        identity = request.header("x-call-id") or _new_call_id()
        call_id.set(identity)
        if self._full():
            response = text(429, f"the function is at its limit of max_inflight={self._max_inflight} calls; try again")
            response = _with(response, ("Retry-After", "1"))
        else:
            response = await self._called(request, identity)
        duration_s = time.monotonic() - started
        _log.debug(
            "Called",
            extra={
                "op": "call",
                "method": request.method,
                "path": request.path,
                "status": response.status,
                "duration_s": duration_s,
            },
        )
        # With print() a partial line would wait in the buffer until the next call's newline.
        with contextlib.suppress(OSError):  # whoever read our output may be gone; the answer is no worse for it
            sys.stdout.flush()
        told = {name.lower() for name, _ in response.headers}
        if "x-call-id" not in told:
            response = _with(response, ("X-Call-Id", identity))
        return _with(response, ("X-Duration-Seconds", f"{duration_s:.6f}"))

    def _full(self) -> bool:
        return self._max_inflight > 0 and self._inflight + self._function.overdue >= self._max_inflight

    def _probe(self, *, ready: bool) -> Response:
        if self.draining:
            return text(503, "draining: this process is about to end")
        complaint = self._function.complaint()
        if complaint is not None:
            return text(503, complaint)
        if ready and self._full():
            return text(503, f"busy: max_inflight={self._max_inflight} calls are in flight")
        return text(200, "OK")

    async def _called(self, request: Request, identity: str) -> Response:
        self._inflight += 1
        started_s = asyncio.get_running_loop().time()
        response: Response | None = None
        try:
            response = await self._timed(request, identity)
            if not isinstance(response.body, bytes):
                # A streamed answer is in flight, and its time runs, until its last piece has gone.
                until_s = None if self._exec_timeout_s is None else started_s + self._exec_timeout_s
                body = _Streamed(response.body, self._release, until_s, self._took_too_long)
                response = Response(response.status, body, response.headers)
            return response
        finally:
            if response is None or isinstance(response.body, bytes):
                self._release()

    def _release(self) -> None:
        self._inflight -= 1

    async def _timed(self, request: Request, identity: str) -> Response:
        failed = text(500, f"the function failed; its log has the reason under call id {identity}")
        try:
            async with asyncio.timeout(self._exec_timeout_s) as clock:
                return await self._function(request)
        except TimeoutError:
            if not clock.expired():
                _log.exception("Function failed", extra={"op": "call"})
                return failed
            self._took_too_long()
            return text(
                504, f"the function took longer than exec_timeout, {self._exec_timeout_s:g} s (call id {identity})"
            )
        except (FunctionFailed, BadAnswer) as problem:
            _log.error("Function failed", extra={"op": "call", "reason": str(problem)})
            return failed
        except Exception:  # noqa: BLE001 - the outermost place of somebody else's code; the traceback is logged
            _log.exception("Function failed", extra={"op": "call"})
            return failed

    def _took_too_long(self) -> None:
        _log.error("Function took too long", extra={"op": "call", "exec_timeout_s": self._exec_timeout_s})


class _Streamed(AsyncIterator[bytes]):
    """A body that is broken off at `until_s` of the loop's clock, and tells once when it is over."""

    def __init__(
        self,
        source: AsyncIterator[bytes],
        release: Callable[[], None],
        until_s: float | None,
        too_long: Callable[[], None],
    ) -> None:
        self._source = source
        self._release: Callable[[], None] | None = release
        self._until_s = until_s
        self._too_long = too_long

    async def __anext__(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._until_s) as clock:
                piece = await anext(self._source)
        except TimeoutError:
            if not clock.expired():
                raise
        else:
            # A source that never waits is not interrupted by the time-out.
            if self._until_s is None or asyncio.get_running_loop().time() < self._until_s:
                return piece
        self._too_long()
        raise BrokenOff

    async def aclose(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()


def _with(response: Response, header: tuple[str, str]) -> Response:
    return Response(response.status, response.body, (*response.headers, header))


def _new_call_id() -> str:
    """A random UUID (RFC 9562, version 4), without loading the uuid module for it."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
