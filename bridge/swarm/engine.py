"""The Docker Engine of a swarm's manager: asked over the docker SDK's client, in threads, with time-outs.

The SDK brings the transport (unix socket, TLS) and its client is a `requests.Session`; documents are the engine's own,
built and read in the pure modules beside this one. The SDK blocks, so its calls run in a few threads of this engine,
and each stream has one of its own; they meet the loop at two doors, the future of a call and the queue of a stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Self

import orjson
import requests
from docker import APIClient
from docker.errors import DockerException

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm import versions
from bridge.swarm.address import EngineAddress
from bridge.swarm.client import CONNECT_S, client_of, knock
from bridge.swarm.complaints import complaint, refusal
from bridge.swarm.stream import Stream

_log = logging.getLogger(__name__)

_THREADS = 6
_SLACK_S = 1.0
"""What a call may wait for a thread beyond its own time."""


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
        _log.debug("Connected to the engine", extra={"op": "engine", "host": self.address.host, "api": self.version})

    def disconnect(self) -> None:
        """Close idle connections: one from before an engine's restart would fail the next call."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    async def get(self, path: str, **params: object) -> Any:
        """What the engine says of something."""
        return await self._threaded(self._asked, "GET", path, params, None, None)

    async def get_authorized(self, path: str, headers: Mapping[str, str]) -> Any:
        """What the engine learns of something from others, with the credentials that they want."""
        return await self._threaded(self._asked, "GET", path, {}, None, headers)

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
        stream = Stream(lambda: self._opened(path, params), self.address.host, path)
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
            async with asyncio.timeout(CONNECT_S + self._timeout_s + _SLACK_S):
                return await future
        except TimeoutError:
            raise EngineUnavailable(f"the Docker Engine at {self.address.host} does not answer") from None

    def _agreed(self) -> tuple[APIClient, str]:
        address = self.address
        # The version is needed to construct one, and named by none of our paths before it is agreed on.
        client = client_of(address, version="1.40", timeout_s=self._timeout_s)
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
        client, url = self._located(path)
        response = self._send(client, method, url, params, document, headers, stream=False)
        if not response.content:
            return None
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise EngineError(f"the Docker Engine's answer to {method} {path} is no JSON: {error}") from error

    def _located(self, path: str) -> tuple[APIClient, str]:
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
            knock(self.address)
            response: requests.Response = client.request(
                method,
                url,
                params={key: _parameter(value) for key, value in params.items()},
                data=None if document is None else orjson.dumps(document),
                headers={**(headers or {}), **({} if document is None else {"Content-Type": "application/json"})},
                timeout=(CONNECT_S, self._timeout_s),
                allow_redirects=False,
                stream=stream,
            )
        except (requests.RequestException, DockerException, OSError) as error:
            raise EngineUnavailable(complaint(self.address.host, error)) from error
        if response.status_code >= 400:
            raise refusal(response)
        return response

    def _opened(self, path: str, params: Mapping[str, object]) -> requests.Response:
        """An answer whose body is still to come; to be called in a thread."""
        client, url = self._located(path)
        return self._send(client, "GET", url, params, None, None, stream=True)


def _parameter(value: object) -> str:
    """A query's value as the engine wants it: filters as JSON, truth as 1 and 0."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return str(value)
