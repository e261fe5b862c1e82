"""The Docker Engine of a swarm's manager: asked over the docker SDK's client, in threads, with time-outs.

The SDK brings the transport (unix socket, TLS) and its client is a `requests.Session`; documents are the engine's own,
built and read in the pure modules beside this one. The SDK blocks, so its calls run in a few threads of this engine,
and each stream has one of its own; they meet the loop at two doors, `ask`'s future and `Stream`'s queue.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
import requests
from docker import APIClient
from docker.errors import DockerException
from docker.tls import TLSConfig

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm import versions
from bridge.swarm.address import EngineAddress

_log = logging.getLogger(__name__)

_THREADS = 6
_CONNECT_S = 3.0
_SLACK_S = 1.0
"""What a call may wait for a thread beyond its own time."""
_PIECES = 64
_PIECE_BYTES = 64 * 1024
_END_S = 2.0


class Engine:
    """One engine. All methods are called on one loop.

    Errors: EngineUnavailable when it does not answer in time, or has nobody to decide (503); EngineError with the
    engine's own words for what it refuses.
    """

    def __init__(self, address: EngineAddress, *, timeout_s: float = 10.0) -> None:
        self.address = address
        self.version = ""
        self._timeout_s = timeout_s
        self._client: APIClient | None = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="engine")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.disconnect()
        # What still waits for the engine ends with its own time-out; nobody waits for it here.
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect(self) -> None:
        """Open connections anew, and agree on the API's version; to be called again once the engine was away."""
        client, self.version = await self._threaded(self._agreed)
        self.disconnect()
        self._client = client
        _log.info("Connected to the engine", extra={"op": "engine", "host": self.address.host, "api": self.version})

    def disconnect(self) -> None:
        """Close idle connections: one from before an engine's restart would fail the next call."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def get(self, path: str, **params: object) -> Any:
        """What the engine says of something."""
        return await self._threaded(self._asked, "GET", path, params, None, None)

    async def post(
        self, path: str, document: object = None, *, headers: Mapping[str, str] | None = None, **params: object
    ) -> Any:
        """Have the engine make or change something."""
        return await self._threaded(self._asked, "POST", path, params, document, headers)

    async def delete(self, path: str, **params: object) -> Any:
        """Have the engine remove something."""
        return await self._threaded(self._asked, "DELETE", path, params, None, None)

    @asynccontextmanager
    async def stream(self, path: str, **params: object) -> AsyncGenerator[Stream, None]:
        """An answer without an end, piece by piece; leaving closes it."""
        stream = Stream(self, path, params)
        try:
            await stream.open()
            yield stream
        finally:
            await stream.close()

    # --- in threads

    async def _threaded(self, work: Any, *arguments: object) -> Any:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except RuntimeError as error:
            raise EngineUnavailable(f"the Docker Engine at {self.address.host} is asked no more: we stop") from error
        try:
            async with asyncio.timeout(_CONNECT_S + self._timeout_s + _SLACK_S):
                return await future
        except TimeoutError:
            raise EngineUnavailable(f"the Docker Engine at {self.address.host} does not answer") from None

    def _agreed(self) -> tuple[APIClient, str]:
        address = self.address
        tls: TLSConfig | bool = False
        try:
            if address.host.startswith("tcp://") and address.ca is not None:
                pair = (str(address.cert), str(address.key)) if address.cert and address.key else None
                tls = TLSConfig(client_cert=pair, ca_cert=str(address.ca), verify=True)
            # The version is needed to construct one, and named by none of our paths before it is agreed on.
            client = APIClient(base_url=address.host, version="1.40", timeout=self._timeout_s, tls=tls)
        except (DockerException, OSError, ValueError) as error:
            raise EngineUnavailable(f"the Docker Engine at {address.host} cannot be asked: {error}") from error
        # A proxy of the environment is for the internet.
        client.trust_env = False
        try:
            found = self._send(client, "GET", f"{client.base_url}/version", {}, None, None, stream=False)
            about = orjson.loads(found.content)
            version = versions.agree(str(about.get("ApiVersion", "")), str(about.get("MinAPIVersion", "")))
        except (orjson.JSONDecodeError, AttributeError):
            client.close()
            raise EngineError(f"what listens at {address.host} is no Docker Engine") from None
        except EngineError:
            client.close()
            raise
        return client, version

    def _asked(
        self,
        method: str,
        path: str,
        params: Mapping[str, object],
        document: object,
        headers: Mapping[str, str] | None,
    ) -> Any:
        client, url = self.located(path)
        response = self._send(client, method, url, params, document, headers, stream=False)
        if not response.content:
            return None
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise EngineError(f"the Docker Engine's answer to {method} {path} is no JSON: {error}") from error

    def located(self, path: str) -> tuple[APIClient, str]:
        """The client, and the whole address of a path."""
        client = self._client
        if client is None:
            raise EngineUnavailable(f"the Docker Engine at {self.address.host} is not connected")
        return client, f"{client.base_url}/v{self.version}{path}"

    def _send(
        self,
        client: APIClient,
        method: str,
        url: str,
        params: Mapping[str, object],
        document: object,
        headers: Mapping[str, str] | None,
        *,
        stream: bool,
    ) -> requests.Response:
        try:
            self._knock()
            response: requests.Response = client.request(
                method,
                url,
                params={key: _parameter(value) for key, value in params.items()},
                data=None if document is None else orjson.dumps(document),
                headers={**(headers or {}), **({} if document is None else {"Content-Type": "application/json"})},
                timeout=(_CONNECT_S, self._timeout_s),
                allow_redirects=False,
                stream=stream,
            )
        except (requests.RequestException, DockerException, OSError) as error:
            raise EngineUnavailable(_complaint(self.address.host, error)) from error
        if response.status_code >= 400:
            raise _refusal(response)
        return response

    def _knock(self) -> None:
        """Find out whether the socket takes connections: the SDK leaves one open that it could not connect."""
        if self.address.host.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(_CONNECT_S)
                door.connect(self.address.host.removeprefix("unix://"))

    def opened(self, path: str, params: Mapping[str, object]) -> requests.Response:
        """An answer whose body is still to come; to be called in a thread."""
        client, url = self.located(path)
        return self._send(client, "GET", url, params, None, None, stream=True)


class Stream:
    """The pieces of one answer, as the engine wrote them; a thread reads, and waits when nobody takes what it read."""

    def __init__(self, engine: Engine, path: str, params: Mapping[str, object]) -> None:
        self._engine = engine
        self._path = path
        self._params = params
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._slots = threading.Semaphore(_PIECES)
        self._closed = False
        self._response: requests.Response | None = None

    async def open(self) -> None:
        """Wait for the answer's head."""
        threading.Thread(target=self._pump, name=f"engine{self._path}", daemon=True).start()
        await self._opened

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._queue.get()
        self._slots.release()
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, BaseException):
            raise piece
        return piece

    @property
    def waiting(self) -> int:
        """Pieces that were read and not taken."""
        return self._queue.qsize()

    async def close(self) -> None:
        """End the thread, wherever it waits."""
        self._closed = True
        self._slots.release()
        self.cut()
        try:
            async with asyncio.timeout(_END_S):
                await self._ended.wait()
        except TimeoutError:
            # It waits for the head of an answer, which has a time-out of its own.
            _log.debug("A stream of the engine still ends", extra={"op": "engine", "path": self._path})
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()

    def cut(self) -> None:
        """Break the connection; who reads then finds the end."""
        connection = getattr(getattr(self._response, "raw", None), "connection", None)
        sock = getattr(connection, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:
                return  # the engine was quicker

    # --- in the thread

    def _pump(self) -> None:
        last: BaseException | None = None
        try:
            response = self._response = self._engine.opened(self._path, self._params)
            # From here on silence is no failure.
            connection = response.raw.connection
            if connection is not None and connection.sock is not None:
                connection.sock.settimeout(None)
            self._tell(self._set_opened, None)
            for piece in response.raw.stream(_PIECE_BYTES, decode_content=False):
                self._slots.acquire()
                if self._closed:
                    break
                self._tell(self._queue.put_nowait, piece)
        except EngineError as error:
            last = error
        except Exception as error:  # noqa: BLE001 - whatever urllib3 or a socket raises when a connection is cut
            last = EngineUnavailable(_complaint(self._engine.address.host, error))
        finally:
            self._tell(self._finish, last)
            if self._response is not None:
                self._response.close()

    def _tell(self, call: Any, value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            self._closed = True  # the loop is closed, and with it everybody who listened

    def _set_opened(self, _: None) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _finish(self, error: BaseException | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(error or EngineUnavailable("the stream ended before it began"))
        else:
            self._queue.put_nowait(error)
        self._ended.set()


def _parameter(value: object) -> str:
    """A query's value as the engine wants it: filters as JSON, truth as 1 and 0."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return str(value)


def _refusal(response: requests.Response) -> EngineError:
    try:
        message = str(orjson.loads(response.content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = response.text[:200] or f"HTTP status {response.status_code}"
    kind = EngineUnavailable if response.status_code == 503 or _LEADERLESS in message else EngineError
    return kind(_WRAPPING.sub("", message).strip(), response.status_code)


_WRAPPING = re.compile(r"^rpc error: code = \w+ desc = ")
_LEADERLESS = "does not have a leader"


def _complaint(host: str, error: BaseException) -> str:
    """Why the engine could not be asked, with what to do, from the system's error below the library's."""
    where = f"the Docker Engine at {host}"
    cause = _system_error(error)
    if isinstance(cause, FileNotFoundError):
        return f"{where} is not there: no such socket; is the engine running?"
    if isinstance(cause, PermissionError):
        return f"{where} may not be used by this user; add the user to the group docker"
    if isinstance(cause, ConnectionRefusedError):
        return f"{where} takes no connection; is the engine running?"
    if isinstance(error, requests.Timeout):
        return f"{where} does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{where} cannot be spoken to over TLS: {error}"
    return f"{where} broke off: {cause or error}"


def _system_error(error: BaseException | None) -> OSError | None:
    seen: set[int] = set()
    waiting: list[BaseException] = [error] if error is not None else []
    found: OSError | None = None
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno is not None:
            found = found or one
        waiting += [each for each in (*one.args, one.__cause__, one.__context__) if isinstance(each, BaseException)]
    return found
