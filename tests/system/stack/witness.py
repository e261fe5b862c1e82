"""The witness: stands outside of the swarm, and functions in it tell it of each call before they answer."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from tests.system.programs import Call

HANDLER: Final = """
import json, os, urllib.request

def handle(event, context):
    told = {
        "function": os.environ["NAME"],
        "key": event.headers.get("Idempotency-Key"),
        "event_id": event.headers.get("X-Event-Id"),
        "body": json.loads(event.body),
    }
    # Only what the witness has noted is answered with 200.
    urllib.request.urlopen(os.environ["WITNESS"], json.dumps(told).encode(), timeout=5).close()
    return "noted"
"""
"""The function's code."""


class Witness:
    """An HTTP server; a context manager. What it heard outlives whatever happens to the cluster nodes."""

    def __init__(self, address: str) -> None:
        self._calls: list[Call] = []
        self._server = _Server((address, 0), self._calls)
        self.url = f"http://{address}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="witness", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def calls(self) -> list[Call]:
        """All calls, in the order in which they were heard."""
        return list(self._calls)

    def first(self, since: float, mapping: str = "", function: str = "") -> Call | None:
        """The first call heard after a moment (wall time) that one mapping made, or of one function."""
        for call in self.calls:
            if call.at >= since and mapping in ("", call.mapping) and function in ("", call.function):
                return call
        return None

    def longest_pause_s(self, since: float) -> float:
        """How long nothing was heard, at most, from a moment (wall time) until now."""
        moments = [since, *(call.at for call in self.calls if call.at >= since), time.time()]
        return max(after - before for before, after in itertools.pairwise(moments))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], calls: list[Call]) -> None:
        self.calls = calls
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append(Call(answer="ok", at=time.time(), **told))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server calls it so
        """Nothing is printed for a call."""
