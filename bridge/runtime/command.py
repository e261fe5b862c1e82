"""Functions that are any command: the body on stdin, the answer on stdout, the request in `Http_...` variables.

The classic watchdog's way; what the command writes to stderr goes to the function's log as it is, or into the answer.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Mapping

from .answers import default_type
from .exchange import Request, Response
from .function import FunctionFailed, FunctionNotLoaded

_log = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024
_TOLD_BYTES = 4096
"""How much of an answer `write_debug` writes to the log."""


class CommandFunction:
    """Starts the command once per call, in a process group of its own that is killed when the call is given up."""

    def __init__(
        self,
        words: tuple[str, ...],
        environ: Mapping[str, str],
        *,
        max_response_bytes: int,
        content_type: str | None = None,
        combine_output: bool = False,
        write_debug: bool = False,
    ) -> None:
        if shutil.which(words[0], path=environ.get("PATH")) is None:
            raise FunctionNotLoaded(f"fprocess: the command {words[0]!r} isn't installed or isn't executable here")
        self._words = words
        self._environ = dict(environ)
        self._max_response_bytes = max_response_bytes
        self._content_type = content_type
        self._stderr = asyncio.subprocess.STDOUT if combine_output else None
        self._write_debug = write_debug

    async def __call__(self, request: Request) -> Response:
        """Run the command. Raises FunctionFailed when it exits with anything but 0 or answers too much."""
        process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._stderr,
            env=self._environ | request_variables(request),
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = asyncio.create_task(_feed(process.stdin, request.body), name="fprocess-stdin")
        ended = False
        try:
            # Read while writing: a command that answers as it reads would otherwise block on a full pipe, and we on it.
            answer = await self._read(process.stdout)
            code = await process.wait()
            ended = True
        finally:
            feeding.cancel()
            if not ended:
                _kill_group(process.pid)
                await asyncio.shield(process.wait())
        if self._write_debug:
            told = answer[:_TOLD_BYTES].decode("utf-8", "replace")
            _log.debug("Command answered", extra={"op": "call", "size_bytes": len(answer), "output": told})
        if code != 0:
            how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
            raise FunctionFailed(f"the command {self._words[0]!r} ended with {how}; see what it wrote above")
        return Response(200, answer, (("Content-Type", self._content_type or default_type(request)),))

    @property
    def overdue(self) -> int:
        """Always 0: a process can be killed."""
        return 0

    def complaint(self) -> str | None:
        """Never: each call has a new process."""
        return None

    def close(self) -> None:
        """Nothing is kept between calls."""

    async def _read(self, stdout: asyncio.StreamReader) -> bytes:
        pieces: list[bytes] = []
        size_bytes = 0
        while piece := await stdout.read(_PIECE_BYTES):
            size_bytes += len(piece)
            if size_bytes > self._max_response_bytes:
                raise FunctionFailed(
                    f"the command's answer is larger than max_response_bytes, {self._max_response_bytes}"
                )
            pieces.append(piece)
        return b"".join(pieces)


def request_variables(request: Request) -> dict[str, str]:
    """The request as environment variables, as CGI's descendants have them.

    `Proxy` is left out: Python's urllib and others read `Http_Proxy` as the proxy to use, so a caller could choose it.
    """
    variables: dict[str, str] = {}
    for name, value in request.headers:
        key = "Http_" + "_".join(part.capitalize() for part in name.split("-"))
        if key != "Http_Proxy":
            variables[key] = f"{variables[key]}, {value}" if key in variables else value
    length = str(len(request.body))
    variables |= {
        "Http_Method": request.method,
        "Http_Path": request.path,
        "Http_Query": request.query,
        "Http_Content_Length": length,
        "Http_ContentLength": length,
    }
    return variables


async def _feed(stdin: asyncio.StreamWriter, body: bytes) -> None:
    try:
        if body:
            stdin.write(body)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        pass  # a command need not read its input: `date` doesn't


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have ended just now
        os.killpg(pid, signal.SIGKILL)
