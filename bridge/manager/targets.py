"""Whom Prometheus is to ask: kept from what nodes and dispatchers say of themselves, in the form of its file_sd.

The file is the memory too: a manager that has just started, or a broker that forgot, takes nobody away. A node leaves
it when its retained birth is cleared, a dispatcher when its status is. `/api/v1/targets` serves the same for http_sd.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from bridge.clock import Clock
from bridge.config.hosts import is_loopback, shown_host
from bridge.manager.settings import ManagerSettings

_log = logging.getLogger(__name__)

FILE: Final = "targets.json"
GATHER_S: Final = 0.2
"""So long changes are gathered before the file is written anew."""
NO_METRICS: Final = "it serves no metrics: its settings say http: null"
OLD: Final = "its version does not tell where its metrics are"
NOWHERE: Final = "it listens on every address and knows none of them; set http.advertise in its settings"
LOOPBACK: Final = "its metrics are on its own loopback address only; set http.host, or http.advertise, in its settings"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a program says that its metrics are, or why nobody can know."""

    host: str | None = None
    port: int = 0
    address: str | None = None
    """The program's own address towards the broker."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One program for Prometheus to ask."""

    program: str
    instance: str
    """Its name among the programs of its kind; it stays when the address changes."""
    at: str
    """Host and port."""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """What there is one target of."""
        return self.program, self.instance

    def group(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {
            "targets": [self.at],
            "labels": {"program": self.program, "instance": self.instance, **self.labels},
        }


def read_whereabouts(document: dict[str, Any]) -> Whereabouts:
    """What a birth or a status says of it; what is not readable counts as not said."""
    address = document.get("address")
    address = address if isinstance(address, str) else None
    if "http" not in document:
        return Whereabouts(address=address, problem=OLD)
    http = document["http"]
    if not isinstance(http, dict):
        return Whereabouts(address=address, problem=NO_METRICS)
    host, port = http.get("host"), http.get("port")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        return Whereabouts(address=address, problem=OLD)
    if not isinstance(host, str) or not host or any(c.isspace() or c in "/@?#" for c in host):
        return Whereabouts(address=address, port=port, problem=NOWHERE)
    return Whereabouts(host, port, address)


def reach(where: Whereabouts, *, loopback: bool) -> tuple[str | None, str | None]:
    """Host and port for Prometheus, or None and why not. `loopback`: it is on the machine of the manager and broker."""
    if where.host is None:
        return None, where.problem or OLD
    if is_loopback(where.host):
        elsewhere = where.address is not None and not is_loopback(where.address)
        if not loopback or elsewhere:
            return None, LOOPBACK
    return joined(where.host, where.port), None


def joined(host: str, port: int) -> str:
    """Host and port as one text."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


class Targets:
    """The list and its file; the loop owns it, `keep` writes.

    `own_port` and `own_address` tell where the manager itself is.
    """

    def __init__(
        self,
        settings: ManagerSettings,
        clock: Clock,
        own_port: Callable[[], int],
        own_address: Callable[[], str | None],
    ) -> None:
        given = settings.targets
        self.problem: str | None = None
        """Why the file is not as it should be."""
        self._settings = settings
        self._clock = clock
        self._own_port = own_port
        self._own_address = own_address
        self._file = given.file or settings.state_dir / FILE
        here = is_loopback(settings.http.host)
        self._loopback = here if given.loopback is None else given.loopback
        self._heard: dict[tuple[str, str], Target] = {}
        self._changed = asyncio.Event()

    def open(self) -> None:
        """Remember what an earlier life knew of agents and dispatchers."""
        try:
            groups = orjson.loads(self._file.read_bytes())
            for target in map(_remembered, groups):
                if target.program in ("agent", "dispatcher"):
                    self._heard[target.key] = target
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            extra = {"op": "targets.read", "file": str(self._file), "why": str(error)}
            _log.warning("the targets of Prometheus cannot be read; they are gathered anew", extra=extra)
        self._changed.set()

    def reach(self, where: Whereabouts) -> tuple[str | None, str | None]:
        """Host and port where Prometheus finds a program, or None and why not."""
        return reach(where, loopback=self._loopback)

    def node(self, name: str, where: Whereabouts | None) -> None:
        """A node was born, or (None) its birth was cleared."""
        self._hear("agent", name, where, {"node": name})

    def dispatcher(self, name: str, where: Whereabouts | None, role: str) -> None:
        """A dispatcher has said what it is, or (None) its status was cleared."""
        self._hear("dispatcher", name, where, {"role": role})

    def groups(self) -> list[dict[str, Any]]:
        """Everything there is to ask, as file_sd and http_sd have it."""
        every = {target.key: target for target in (*self._configured(), *self._heard.values())}
        site = self._settings.site
        return [
            Target(one.program, one.instance, one.at, {"site": site, **one.labels}).group()
            for _, one in sorted(every.items())
        ]

    async def keep(self) -> None:
        """Write the file whenever it would be another one; runs until it is cancelled."""
        written: bytes | None = None
        while True:
            await self._changed.wait()
            await self._clock.sleep(GATHER_S)
            self._changed.clear()
            body = orjson.dumps(self.groups(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            if body == written:
                continue
            try:
                await asyncio.to_thread(_replace, self._file, body)
            except OSError as error:
                self.problem = f"cannot write {self._file}: {error.strerror or error}"
                _log.error("the targets of Prometheus are not written", extra={"op": "targets", "why": self.problem})
            else:
                written, self.problem = body, None

    def again(self) -> None:
        """Look again: our own address may be another one."""
        self._changed.set()

    def _hear(self, program: str, name: str, where: Whereabouts | None, labels: dict[str, str]) -> None:
        at, why = self.reach(where) if where is not None else (None, None)
        if at is not None:
            self._heard[program, name] = Target(program, name, at, labels)
        elif self._heard.pop((program, name), None) is not None and why is not None:
            extra = {"op": "targets", "program": program, "instance": name, "why": why}
            _log.info("Prometheus cannot ask a program any more", extra=extra)
        self._changed.set()

    def _configured(self) -> Iterator[Target]:
        """What is known without being heard of. A dispatcher that says where it is takes the place of its address."""
        settings = self._settings
        http, port = settings.http, self._own_port()
        own = Whereabouts(shown_host(http.host, http.advertise, self._own_address()), port)
        at, _ = self.reach(own)
        if at is not None and port:
            yield Target("manager", "manager", at)
        several = settings.targets.gateways
        for url in several or (settings.gateway.url,):
            yield from self._of_url("gateway", urlsplit(url).netloc if several else "gateway", url)
        if not any(program == "dispatcher" for program, _ in self._heard):
            yield from self._of_url("dispatcher", "main", settings.dispatcher.url)

    def _of_url(self, program: str, instance: str, url: str) -> Iterator[Target]:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        at, _ = self.reach(Whereabouts(parts.hostname, port))
        if at is not None:
            yield Target(program, instance, at, {"__scheme__": "https"} if parts.scheme == "https" else {})


def _remembered(group: dict[str, Any]) -> Target:
    labels = {str(name): str(value) for name, value in group["labels"].items()}
    program, instance = labels.pop("program"), labels.pop("instance")
    labels.pop("site", None)
    return Target(program, instance, str(group["targets"][0]), labels)


def _replace(file: Path, body: bytes) -> None:
    """Write the file as a whole: Prometheus, which reads it as another user, never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as writing:
        os.fchmod(descriptor, 0o644)  # whatever the process' umask is
        writing.write(body)
        writing.flush()
        os.fsync(descriptor)
    fresh.replace(file)
