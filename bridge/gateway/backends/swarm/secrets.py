"""The functions' secrets as Docker secrets; an update swaps a new version in wherever the old one is used."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable, Mapping

from bridge.errors import EngineError, EngineUnavailable, FunctionError
from bridge.openfaas.names import is_secret
from bridge.swarm import revision
from bridge.swarm import secrets as versions
from bridge.swarm.engine import Engine
from bridge.swarm.secrets import KeptSecret, docker_name, newest, read_secret, superseded, swapped
from bridge.swarm.services import read_service

_log = logging.getLogger(__name__)

_ATTEMPTS = 20


class DockerSecrets:
    """Secrets by their names. `ready` raises EngineUnavailable while the engine is away; `changed` is told of swaps."""

    def __init__(self, engine: Engine, ready: Callable[[], object], changed: Callable[[], Awaitable[None]]) -> None:
        self._engine = engine
        self._ready = ready
        self._changed = changed
        self._lock = asyncio.Lock()
        self.left_over = True
        """There may be versions that nobody needs any more."""

    async def names(self) -> tuple[str, ...]:
        return tuple(sorted(await self.newest()))

    async def newest(self) -> Mapping[str, KeptSecret]:
        """The newest version of each secret."""
        self._ready()
        return newest(await self._kept())

    async def create(self, name: str, value: bytes) -> bool:
        _check(name, value)
        async with self._lock:
            if name in await self.newest():
                return False
            try:
                await self._make(name, value, 1)
            except _Taken:
                return False
        return True

    async def update(self, name: str, value: bytes) -> bool:
        _check(name, value)
        async with self._lock:
            self._ready()
            kept = [each for each in await self._kept() if each.name == name]
            if not kept:
                return False
            fresh = await self._make(name, value, max(each.version for each in kept) + 1)
            self.left_over = True
            await self._swap([each.id for each in kept], fresh)
        await self.collect()
        await self._changed()
        return True

    async def remove(self, name: str) -> bool:
        async with self._lock:
            self._ready()
            kept = [each for each in await self._kept() if each.name == name]
            for each in kept:
                await self._delete(each)
        return bool(kept)

    async def collect(self) -> None:
        """Remove the versions that no service needs any more; those that one may still go back to are left."""
        async with self._lock:
            kept = await self._kept()
            services = [read_service(each) for each in await self._engine.get("/services")]
            for each in superseded(kept, services):
                try:
                    await self._engine.delete(f"/secrets/{each.id}")
                except EngineUnavailable:
                    raise
                except EngineError as error:
                    # A service took it up just now, or another gateway was quicker.
                    _log.info("A secret stays", extra={"op": "secret", "secret": each.name, "reason": str(error)})
            current = {each.id for each in newest(kept).values()}
            self.left_over = any(each.id not in current for each in kept)

    # --- inside

    async def _kept(self) -> list[KeptSecret]:
        found = (read_secret(each) for each in await self._engine.get("/secrets"))
        return [each for each in found if each is not None and is_secret(each.name)]

    async def _make(self, name: str, value: bytes, version: int) -> KeptSecret:
        """The new version; the number goes up while something else has its name."""
        for number in range(version, version + _ATTEMPTS):
            labels = {versions.NAME_LABEL: name, versions.VERSION_LABEL: str(number)}
            called = docker_name(name, number)
            body = {"Name": called, "Labels": labels, "Data": base64.b64encode(value).decode()}
            try:
                made = await self._engine.post("/secrets/create", body)
            except EngineError as error:
                if error.status != 409:
                    raise _refused(name, error) from error
                if any(each.name == name for each in await self._kept()) and version == 1:
                    # Another gateway has made it since we looked.
                    raise _Taken(name) from None
                continue
            return KeptSecret(made["ID"], called, name, number)
        raise FunctionError(f"Docker has secrets called {docker_name(name, version)} and on; remove or rename them")

    async def _swap(self, old: list[str], fresh: KeptSecret) -> None:
        for document in await self._engine.get("/services"):
            if swapped(document["Spec"], old, fresh) is None:
                continue
            name = document["Spec"]["Name"]
            try:
                await revision.change(self._engine, document["ID"], lambda service: swapped(service.spec, old, fresh))
            except EngineError as error:
                if error.status == 404:
                    continue  # it was removed meanwhile
                raise _refused(fresh.name, error) from error
            _log.info("Secret swapped", extra={"op": "secret", "secret": fresh.name, "service": name})

    async def _delete(self, secret: KeptSecret) -> None:
        try:
            await self._engine.delete(f"/secrets/{secret.id}")
        except EngineError as error:
            if error.status != 404:
                raise _refused(secret.name, error) from error


class _Taken(Exception):
    """Somebody else has made the secret."""


def _refused(name: str, error: EngineError) -> Exception:
    if isinstance(error, EngineUnavailable) or error.status >= 500:
        return EngineUnavailable(str(error), error.status)
    return FunctionError(f"the secret {name}: {error}")


def _check(name: str, value: bytes) -> None:
    if not is_secret(name):
        raise FunctionError(f"{name!r} cannot be a secret's name")
    if not value:
        raise FunctionError(f"the secret {name} is empty, and Docker keeps none of that")
    if len(value) > versions.LARGEST_BYTES:
        raise FunctionError(f"the secret {name} is larger than the {versions.LARGEST_BYTES} bytes that Docker keeps")
