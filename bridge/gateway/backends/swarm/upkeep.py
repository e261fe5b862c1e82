"""What the gateway does to the swarm by itself: the stack file's functions, and secrets that nobody needs any more."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from bridge.clock import Clock
from bridge.errors import EngineError, EngineUnavailable, FunctionError, FunctionNotFound
from bridge.gateway.backends.swarm.secrets import DockerSecrets
from bridge.gateway.backends.swarm.translation import STACK_LABEL
from bridge.gateway.backends.swarm.watch import Watch
from bridge.openfaas.deployment import Deployment
from bridge.openfaas.stack_file import fingerprint

_log = logging.getLogger(__name__)

_EVERY_S = 1.0


class Upkeep:
    """Runs beside the backend; `problems` tells of the stack file's functions that could not be deployed."""

    def __init__(
        self,
        watch: Watch,
        secrets: DockerSecrets,
        clock: Clock,
        *,
        deploy: Callable[[Deployment, str], Awaitable[None]],
        remove: Callable[[str], Awaitable[None]],
    ) -> None:
        self.entries: Mapping[str, Deployment] | None = None
        """The stack file's functions; None without a stack file, and once they were applied."""
        self.problems: dict[str, str] = {}
        self._watch = watch
        self._secrets = secrets
        self._clock = clock
        self._deploy = deploy
        self._remove = remove

    async def run(self) -> None:
        """Do what is to be done whenever the swarm can be asked."""
        while True:
            if self._watch.problem is None:
                try:
                    if self.entries is not None:
                        await self._apply(self.entries)
                        self.entries = None
                    if self._secrets.left_over:
                        await self._secrets.collect()
                except EngineUnavailable as error:
                    self._watch.lost(error)
                except EngineError as error:
                    _log.error("The engine refuses", extra={"op": "engine", "reason": str(error)})
            await self._clock.sleep(_EVERY_S)

    async def _apply(self, entries: Mapping[str, Deployment]) -> None:
        """Deploy the entries that have changed since applied, and remove those that have gone from the file."""
        for name, function in list(self._watch.functions.items()):
            if function.service.labels.get(STACK_LABEL) and name not in entries:
                _log.info("Not in the stack file any more", extra={"op": "restore", "function": name})
                with contextlib.suppress(FunctionNotFound):  # somebody else was quicker
                    await self._remove(name)
        for name, entry in entries.items():
            mark = fingerprint(entry)
            known = self._watch.functions.get(name)
            if known is not None and known.service.labels.get(STACK_LABEL) == mark:
                continue
            try:
                await self._deploy(entry, mark)
            except FunctionError as error:
                self.problems[name] = str(error)
                _log.error("Cannot be deployed", extra={"op": "restore", "function": name, "reason": str(error)})
