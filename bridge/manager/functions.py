"""The way from the API to the gateway, which knows the functions; what it refuses becomes a problem."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from bridge.manager.problems import Refusal
from bridge.manager.settings import FunctionGateway
from bridge.manager.trust import trusted

_CONNECT_S: Final = 5.0
_ASK_S: Final = 15.0


class Functions:
    """The functions of one gateway."""

    def __init__(self, settings: FunctionGateway) -> None:
        self._settings = settings

    async def ask(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """The gateway's answer, if it is a success. Raises Refusal."""
        async with self._client(_ASK_S) as client:
            answer = await client.request(method, path, auth=self._credentials(), **parts)
            self._granted(answer, answer.text)
        return answer

    async def put(self, path: str, document: object) -> bool:
        """Replace something, or make it where there is nothing yet; whether it is new. Raises Refusal.

        As faas-cli does: replacing first, because that is what mostly happens.
        """
        try:
            await self.ask("PUT", path, json=document)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
            await self.ask("POST", path, json=document)
            return True
        return False

    async def invoke(self, name: str, body: bytes, headers: dict[str, str], timeout_s: float) -> httpx.Response:
        """A function's answer, whatever its status. Raises Refusal for what the gateway itself says."""
        async with self._client(timeout_s) as client:
            answer = await client.post(f"/function/{name}", content=body, headers=headers, auth=self._credentials())
            if "x-openfaas-internal" in answer.headers:
                self._granted(answer, answer.text)
        return answer

    @asynccontextmanager
    async def lines(self, path: str, params: dict[str, str]) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
        """The lines of an answer that may have no end. Raises Refusal."""
        async with (
            self._client(None) as client,
            client.stream("GET", path, params=params, auth=self._credentials()) as answer,
        ):
            if not answer.is_success:
                await answer.aread()
                self._granted(answer, answer.text)
            yield _whole(answer)

    @asynccontextmanager
    async def _client(self, timeout_s: float | None) -> AsyncGenerator[httpx.AsyncClient, None]:
        url = self._settings.url
        try:
            async with httpx.AsyncClient(
                base_url=url,
                timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
                trust_env=False,
                verify=trusted(),
            ) as client:
                yield client
        except httpx.TimeoutException as error:
            limit = f" within {timeout_s:g} s" if timeout_s else ""
            raise Refusal(503, f"the gateway at {url} does not answer{limit}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Refusal(503, f"the gateway at {url} does not answer: {error}") from error

    def _credentials(self) -> httpx.Auth:
        settings = self._settings
        if settings.username is None or settings.password_file is None:
            return httpx.Auth()
        try:
            password = settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(
                503, f"the gateway's password cannot be read from {settings.password_file}: {error}"
            ) from error
        return httpx.BasicAuth(settings.username, password)

    def _granted(self, answer: httpx.Response, text: str) -> None:
        if answer.is_success:
            return
        said = " ".join(text.split())[:500]
        if answer.status_code in (401, 403):
            advice = "set gateway.username and gateway.password_file in the manager's settings"
            raise Refusal(503, f"the gateway at {self._settings.url} does not let the manager in; {advice}")
        if answer.status_code == 404:
            raise Refusal(404, said or "the gateway knows no such function")
        refused = 400 <= answer.status_code < 500
        raise Refusal(409 if refused else 503, f"the gateway says {answer.status_code}: {said}")


async def _whole(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    async for line in answer.aiter_lines():
        if line:
            yield line.encode() + b"\n"
