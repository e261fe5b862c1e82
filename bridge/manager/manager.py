"""The manager as a program: what it is made of, and in which order it starts and stops.

Order of stopping, and why: whoever listens to the feed is let go, since the HTTP server waits for them; that ends next
(nothing new comes in, what is under way gets a moment), because everything else serves it; deployments of stacks are
given up, as nobody can follow them any more; then the connections to the broker end, the sensor history with its own
once it has kept what it heard; the mapping file is watched no more, and the journal, which notes its history, is last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final, Self

from prometheus_client import CollectorRegistry

from bridge.clock import Clock
from bridge.core.event import rfc3339
from bridge.core.pair import OFFLINE
from bridge.journal.engine import Journal
from bridge.manager.access import audit
from bridge.manager.access.audit import Audit
from bridge.manager.access.guard import Guard
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import mint_token
from bridge.manager.bus import Bus, Heard
from bridge.manager.door import Application, Door
from bridge.manager.feed import Feed
from bridge.manager.functions import Functions
from bridge.manager.history.recorder import Recorder
from bridge.manager.house_metrics import HouseMetrics
from bridge.manager.mappings import history
from bridge.manager.mappings.in_force import InForce
from bridge.manager.mappings.store import MappingStore
from bridge.manager.metrics import Metrics
from bridge.manager.nodes import Nodes
from bridge.manager.settings import ManagerSettings
from bridge.manager.stack.deployments import Deployments
from bridge.manager.swarm import Swarm
from bridge.manager.targets import Targets
from bridge.manager.topic_annotations import TopicAnnotations
from bridge.manager.web import Web
from bridge.mapping_file.timezone import local_timezone
from bridge.mqtt.transport import Connector
from bridge.service import Disk, Health, first_failed, make_folder, page

_log = logging.getLogger(__name__)

MIGRATIONS: Final = (history.MIGRATION, audit.MIGRATION)
"""What the manager's journal holds."""


class Manager:
    """A program (bridge.service.Program).

    `eager` says whether the API is loaded at the start, or when somebody first asks for it. `own` names who gets a
    token for this life of the manager alone (`own_token`), for those who run it as a part of something;
    `dispatcher_url` knows better than the settings where the dispatcher is.
    """

    name = "manager"

    def __init__(
        self,
        settings: ManagerSettings,
        *,
        clock: Clock,
        connect: Connector,
        eager: bool = True,
        own: str | None = None,
        dispatcher_url: Callable[[], str] | None = None,
    ) -> None:
        self.settings = settings
        self.health = Health()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        Disk(settings.state_dir, self.registry)
        self._clock = clock
        self._eager = eager
        self._stack = AsyncExitStack()
        self._journal = Journal(settings.state_dir / "manager.sqlite", MIGRATIONS, name="manager")
        self.store = MappingStore(
            settings.mappings,
            self._journal,
            clock,
            timezone=local_timezone(),
            root=settings.root,
            keep=settings.history.revisions,
        )
        self._audit = Audit(self._journal, clock)
        token, self.own_token = mint_token(own, Role.ADMIN, rfc3339(clock.now())) if own else (None, "")
        self._guard = Guard(settings.state_dir, settings.auth, clock, own=token, changed=self._audit.note_tokens)
        self._swarm = Swarm(settings.swarm)
        self._deployments = Deployments(clock)
        self.nodes = Nodes(clock, self.metrics.dropped)
        self._functions = Functions(settings.gateway)
        self.annotations = TopicAnnotations(
            settings.topic_annotations, self._functions, settings.state_dir, settings.root, clock
        )
        self._in_force = InForce(self.store, self.annotations)
        self.bus = Bus(settings, self._in_force, clock, connect, self.nodes)
        self.recorder = Recorder(settings, clock, connect, self.metrics.dropped)
        self.targets = Targets(settings, clock, lambda: self._web.port, lambda: self.bus.local_address)
        HouseMetrics(
            self.registry,
            nodes=self.nodes.known,
            dispatchers=lambda: {name: heard.state for name, heard in self.bus.dispatchers.items()},
            connected=lambda: self.bus.connected_now,
            reach=self.targets.reach,
        )
        self.nodes.born.append(lambda node, birth: self.targets.node(node, birth.where if birth else None))
        self.bus.told.append(self._heard)
        self.bus.reconnected.append(self.targets.again)
        self._dispatcher_url = dispatcher_url or (lambda: settings.dispatcher.url)
        self.feed = Feed(clock, self._dispatcher_url)
        self._door = Door(self._application, self._page, self.metrics, clock)
        self._web: Web = Web(self._door, settings.http.host, settings.http.port)

    @property
    def url(self) -> str:
        """Where a client on this machine finds the manager."""
        return self._web.url

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            make_folder(self.settings.state_dir, mode=0o700)
            await stack.enter_async_context(self._journal)
            await self.store.open()
            self._guard.look()
            self._watching = asyncio.create_task(self.store.watch(), name="manager mapping file")
            stack.push_async_callback(_ended, self._watching)
            self.annotations.open()
            self._asking = asyncio.create_task(self.annotations.watch(), name="manager topic annotations")
            stack.push_async_callback(_ended, self._asking)
            self.targets.open()
            self._keeping = asyncio.create_task(self.targets.keep(), name="manager keeps targets")
            stack.push_async_callback(_ended, self._keeping)
            await stack.enter_async_context(self.bus)
            await stack.enter_async_context(self.recorder)
            stack.push_async_callback(self._deployments.close)
            await stack.enter_async_context(self.feed)
            self._check_health()
            await stack.enter_async_context(self._web)
            stack.callback(self.feed.end)
            self.targets.again()  # our own port is known now
            if self._eager:
                # Loading takes a slow machine a minute; whoever looks after us has to see meanwhile that we live.
                await self._door.application()
            self._stack = stack.pop_all()
        _log.info("manager started", extra={"op": "manager.start", "url": self.url})
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        _log.info("manager stopped", extra={"op": "manager.stop"})

    async def failed(self) -> None:
        """Wait until a task ends by an error, and raise it."""
        await first_failed(
            self._web.failed, self.bus.failed, self.recorder.failed, self._watched, self._asked, self._kept
        )

    async def _watched(self) -> None:
        await asyncio.shield(self._watching)

    async def _asked(self) -> None:
        await asyncio.shield(self._asking)
        await asyncio.Event().wait()  # it ends at once where annotations do not count

    async def _kept(self) -> None:
        await asyncio.shield(self._keeping)

    def _heard(self, dispatcher: str, heard: Heard | None) -> None:
        """One that is gone says no more where it was; Prometheus goes on asking there, and so knows that it is gone."""
        if heard is None:
            self.targets.dispatcher(dispatcher, None, "")
        elif heard.state != OFFLINE:
            self.targets.dispatcher(dispatcher, heard.where, heard.state)

    def _check_health(self) -> None:
        store, journal, recorder = self.store, self._journal, self.recorder
        self.health.require_alive("http", lambda: self._web.problem)
        self.health.require_alive("journal", lambda: _damage(journal))
        self.health.require_alive("sensor history", lambda: _damage(recorder.journal))
        self.health.require_ready("journal", lambda: journal.problem)
        self.health.require_ready("sensor history", lambda: recorder.problem)
        self.health.require_ready("mappings", lambda: str(store.problem) if store.problem else None)
        self.health.require_ready("mqtt", self.bus.problem)
        self.health.require_ready("topic_annotations", lambda: self.annotations.problem)
        self.health.require_ready("tokens", lambda: self._guard.problem)
        self.health.require_ready("targets", lambda: self.targets.problem)
        self.metrics.observe(
            lambda: len(self._in_force.mappings.mappings),
            lambda: store.problem is not None,
            lambda: self.annotations.counts,
        )

    def _application(self) -> Application:
        from bridge.manager.app import Parts, make  # noqa: PLC0415 - it brings FastAPI; see door.py

        return make(
            Parts(
                settings=self.settings,
                store=self.store,
                journal=self._journal,
                guard=self._guard,
                audit=self._audit,
                bus=self.bus,
                in_force=self._in_force,
                annotations=self.annotations,
                functions=self._functions,
                swarm=self._swarm,
                deployments=self._deployments,
                nodes=self.nodes,
                recorder=self.recorder,
                targets=self.targets,
                feed=self.feed,
                dropped=self.metrics.dropped,
                dispatcher_url=self._dispatcher_url,
                clock=self._clock,
            )
        )

    def _page(self, path: str) -> tuple[int, str, bytes] | None:
        return page(path, self.health, self.registry)


def _damage(journal: Journal) -> str | None:
    return "damaged, restart to set it aside" if journal.corrupt else None


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
