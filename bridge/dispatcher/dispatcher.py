"""The dispatcher: what it is made of, what it tells of itself, and in which order it starts and stops.

The way of an event through it: reception.py, decisions.py, and from there to the hearers of effects (hearers.py).

Order of stopping, and why: first the connection to the broker ends (nothing new comes in; what is not acknowledged will
come again), then attempts under way get a moment to end (their outcome spares a repetition), then the last commit is
written, then the HTTP API and the invoker's connections close, and the journal last.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from prometheus_client import CollectorRegistry

from bridge.clock import Clock, RealClock
from bridge.core.delivery import Ledger, Limits
from bridge.core.mapping import MappingSet
from bridge.core.records import Restored
from bridge.core.steps import Effect, Input, Instant, MappingsReplaced
from bridge.core.topics import Topics, client_id
from bridge.dispatcher.api import Api
from bridge.dispatcher.attempts import Attempts
from bridge.dispatcher.audit import Auditor
from bridge.dispatcher.confirmations import Confirmations
from bridge.dispatcher.decisions import Decisions
from bridge.dispatcher.feed import Feed
from bridge.dispatcher.hearers import Hearers
from bridge.dispatcher.hearing import Hearing
from bridge.dispatcher.intake import filters
from bridge.dispatcher.invoker import HttpInvoker, Invoker
from bridge.dispatcher.keeping import Keeper
from bridge.dispatcher.kept_letters import KeptLetters
from bridge.dispatcher.losses import count_lost
from bridge.dispatcher.mapping_source import mapping_source
from bridge.dispatcher.metrics import Metrics
from bridge.dispatcher.quarantine import Quarantine
from bridge.dispatcher.reception import Reception
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.status import Status
from bridge.dispatcher.subscriptions import Subscriptions
from bridge.dispatcher.tasks import Tasks
from bridge.dispatcher.traces import Traces
from bridge.errors import ConfigError
from bridge.journal.dead_letters import Chosen, listed
from bridge.journal.drops import load_drops
from bridge.journal.engine import Journal
from bridge.journal.ledger import MIGRATIONS, load
from bridge.mqtt.transport import Connector, Message
from bridge.service import Disk, Health, first_ended, make_folder
from bridge.ulid import mint

_log = logging.getLogger(__name__)


class Dispatcher:
    """One dispatcher: a program (bridge.service.Program).

    `threads` says whether disks are used on threads, the mapping file is watched and the HTTP API served; by default
    that is so, except under a virtual clock, which would stand still meanwhile.
    """

    name = "dispatcher"

    def __init__(
        self,
        settings: DispatcherSettings,
        *,
        clock: Clock,
        connect: Connector,
        invoker: Invoker | None = None,
        randomness: random.Random | None = None,
        mint_id: Callable[[], str] | None = None,
        threads: bool | None = None,
    ) -> None:
        self.settings = settings
        self._threads = isinstance(clock, RealClock) if threads is None else threads
        self.health = Health()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        Disk(settings.state_dir, self.registry)
        self.feed = Feed()
        topics = self._topics = Topics(settings.root)
        mint_id = mint_id or (lambda: mint(clock.now()))
        self._source = mapping_source(settings, clock, connect, self._mappings_told, threads=self._threads)
        self._status = Status(settings, self._source)
        self.status_changed: Callable[[], None] = self._say_status
        """Called when what there is to say of the mappings in force has changed; of a pair somebody else says it."""
        self._journal = Journal(settings.state_dir / "ledger.sqlite", MIGRATIONS, name="ledger", threads=self._threads)
        self.letters = KeptLetters(self._journal, self.metrics, settings.limits.dead_letters)
        # In a pair, whoever watches the other one says who is at work, and is the one who is missed.
        alone = settings.standby is None
        self._decisions = Decisions(clock)
        self.auditor = Auditor(topics, self.now(), self.metrics.dropped, paired=not alone)
        self._quarantine = Quarantine(settings.state_dir, self._journal, clock)
        self._marker_topic = topics.dispatcher(settings.site, settings.id, "marker")
        self._hearing = Hearing(clock, self._marker_topic, self._send_marker)
        self._reception = Reception(
            topics, clock, mint_id, self._decisions, self._quarantine, self.auditor, self.metrics, self._hearing
        )
        will = self._status.offline() if alone else None
        self._transport = connect(client_id(settings.site, "dispatcher"), self._reception, will=will)
        if alone:
            self._transport.set_farewell(will)
        self._subscriptions = Subscriptions(self._transport, self._journal, clock, self.wanted, self._subscribed)
        self._reception.subscriptions = self._subscriptions
        self._confirmations = Confirmations(topics, clock, self._transport)
        self.traces = self._tracing(clock)
        """None when they are switched off."""
        self._keeper = Keeper(
            self._journal,
            self.auditor,
            self.letters,
            self.metrics,
            clock,
            commit_every_s=settings.commit_every_s,
            step=self._decisions.step,
            broken=lambda: self._decisions.broken,
        )
        self._invoker = invoker or HttpInvoker(settings.gateway, clock, connections=settings.limits.total)
        randomness = randomness or random.Random()  # noqa: S311 - jitter, not a secret
        self._attempts = Attempts(self._invoker, randomness, self._decisions.step)
        self._hearers = Hearers(
            self._transport,
            self._attempts,
            self._keeper,
            self._confirmations,
            self.auditor,
            self.metrics,
            self.feed,
        )
        self._stack = AsyncExitStack()
        self.url = ""
        self.port: int | None = None
        """Of the HTTP API; None while it is not served."""

    @property
    def kept(self) -> bool:
        """Whether everything that the ledger has decided is on the disk."""
        return self._keeper.done

    @property
    def invoking(self) -> bool:
        """Whether attempts are begun."""
        return self._decisions.invoking

    @property
    def broken(self) -> bool:
        """Whether a decision broke half-way: nothing that the ledger holds can be trusted any more."""
        return self._decisions.broken

    @property
    def ledger(self) -> Ledger:
        """Of this life; there is none before the dispatcher has started."""
        return self._decisions.ledger

    @property
    def mapping_problem(self) -> ConfigError | None:
        """Why the mapping file as it stands is not in force; None when it is."""
        return self._source.problem

    @property
    def mappings(self) -> MappingSet:
        """The mapping set in force."""
        return self.ledger.mappings

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._source)
            mappings = await self._source.first()  # before anything else: without them there is nothing to do (rule 6)
            make_folder(self.settings.state_dir)
            await stack.enter_async_context(self._journal)
            await self._quarantine.open()
            stack.callback(lambda: self._quarantine.close(broken=self.broken))
            restored: Restored = await self._journal.read(load)
            await self._subscriptions.restore()
            limits = self.settings.limits
            alone = self.settings.standby is None
            ledger = Ledger(
                mappings,
                Limits(
                    per_function=limits.per_function,
                    total=limits.total,
                    open_events=limits.open_events,
                    stored_events=limits.stored_events,
                    breaker_failures=self.settings.breaker.failures,
                    acknowledge_stored=alone,
                ),
                self.now(),
                restored,
            )
            self._keeper.ledger = ledger
            self._decisions.begin(ledger, self._hearers.by_kind(), self._keeper.look)
            self.metrics.observe(ledger)
            self._confirmations.note(ledger.confirmed())
            self.auditor.restore(ledger.confirmed(), await self._journal.read(load_drops), self.now())
            await self.letters.open()
            await count_lost(self._journal, self.auditor, self.metrics)
            if self.traces is not None:
                await stack.enter_async_context(self.traces)
            self._check_health()
            await stack.enter_async_context(self._invoker)
            if self._threads:
                api = await stack.enter_async_context(
                    Api(self, self._journal, self.settings.http.host, self.settings.http.port)
                )
                self.url, self.port = api.url, api.port
            stack.push_async_callback(self._finish)
            stack.push_async_callback(self._drain)
            tasks = await stack.enter_async_context(Tasks())
            self._tasks = tasks
            if self._threads:
                tasks.start("mappings", self._source.watch(self._replace))
            tasks.start("subscriptions", self._subscriptions.run())
            tasks.start("confirmations", self._confirmations.run())
            await stack.enter_async_context(self._transport)
            self.step(())  # what an earlier life left
            self._stack = stack.pop_all()
        _log.info(
            "dispatcher started",
            extra={
                "op": "dispatcher.start",
                "url": self.url,
                "mappings": len(mappings.mappings),
                "restored": len(restored.records),
            },
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        _log.info("dispatcher stopped", extra={"op": "dispatcher.stop", "open": self.ledger.open_events})

    async def failed(self) -> None:
        """Wait until a task, or a decision, ends by an error, and raise it."""
        broken, tasks = self._decisions.end, asyncio.ensure_future(self._tasks.failed())
        try:
            await first_ended(broken, tasks)
        finally:
            tasks.cancel()

    def fence(self) -> None:
        """Invoke nothing more from now on: somebody else may be at work. What follows is the stop."""
        self._decisions.invoke_no_more()
        self._attempts.give_up()

    def abandon(self) -> None:
        """Let go of everything at once, as a kill of the process does: nothing more is committed, written or invoked.

        Only without threads; the connection to the broker is for whoever made it to cut.
        """
        self.fence()
        self._reception.backlog.stop()
        self._hearing.stop()
        self._tasks.cancel()
        self._keeper.abandon()
        self._quarantine.close(broken=self.broken)
        self._decisions.abandon()
        self._journal.abandon()
        if self.traces is not None:
            self.traces.abandon()

    async def reload(self) -> None:
        """Read the mapping file again now; what is wrong with it is told by `mapping_problem`."""
        await self._source.reload(self._replace)

    async def dead_letters(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The dead letters that nobody has replayed or purged, oldest first, as the HTTP API shows them."""
        found = await self._journal.read(listed(Chosen(), limit=limit))
        return found[::-1]

    # --- asked for by somebody ---

    def step(self, inputs: Iterable[Input]) -> list[Effect]:
        """Let the ledger decide, and carry out what it says; the effects are the answer."""
        return self._decisions.step(inputs)

    def take(self, inputs: Sequence[Input]) -> None:
        """Step what somebody has asked for, under the eyes of the auditor."""
        self.auditor.before(inputs, self.ledger.confirmed, self.now())
        self.step(inputs)

    def now(self) -> Instant:
        """Now, on both clocks."""
        return self._decisions.now()

    # --- mappings and subscriptions ---

    def _replace(self, mappings: MappingSet) -> None:
        self._quarantine.lift()
        self.step((MappingsReplaced(mappings),))
        self._subscriptions.changed()
        self.status_changed()

    def mappings_status(self) -> dict[str, str | None]:
        """What the retained status says of the mappings in force."""
        return self._status.mappings()

    def _mappings_told(self) -> None:
        self.status_changed()

    def _say_status(self) -> None:
        """Tell everybody that we are at work, and with which mappings."""
        if self._transport.connected:
            self._transport.publish(self._status.at_work(self.port, self._transport.local_address))

    def wanted(self) -> tuple[str, ...]:
        """The topic filters of all mappings."""
        return filters(self._topics, self.settings.site, self._marker_topic, *self.mappings.foreign_filters())

    def _subscribed(self) -> None:
        self.status_changed()
        self._confirmations.again()
        if not self._reception.backlog.over or not self._hearing.heard:
            self._send_marker()
            self._hearing.subscribed()

    def _send_marker(self) -> None:
        self._transport.publish(Message(self._marker_topic, self._reception.marker.encode()))

    # --- health and stopping ---

    def _check_health(self) -> None:
        self.health.require_alive(
            "journal", lambda: "damaged, restart to set it aside" if self._journal.corrupt else None
        )
        self.health.require_ready("mqtt", lambda: self._transport.status)
        self.health.require_ready("subscriptions", lambda: self._subscriptions.problem or self._hearing.problem)
        self.health.require_ready("journal", lambda: self._journal.problem)
        source = self._source
        self.health.require_ready(
            "mappings", lambda: str(source.problem) if source.problem else source.subscription_problem
        )
        self.health.require_ready("functions", self._parked)
        traces = self.traces
        self.metrics.observe_audit(
            lambda: self.auditor.missing(self.now()), lambda: traces.size_bytes if traces is not None else 0
        )
        if traces is not None:
            self.feed.keep = traces.keep
            self.health.require_ready("traces", lambda: traces.problem)

    def _tracing(self, clock: Clock) -> Traces | None:
        settings = self.settings.traces
        if not settings.enabled:
            return None
        return Traces(
            self.settings.state_dir / "traces",
            settings.max_size_bytes,
            clock,
            self.metrics.traces_lost,
            threads=self._threads,
        )

    def _parked(self) -> str | None:
        parked = self.ledger.parked_because
        return "; ".join(f"{function} is parked: {why}" for function, why in parked.items()) or None

    async def _drain(self) -> None:
        self._decisions.invoke_no_more()
        await self._attempts.drain()

    async def _finish(self) -> None:
        self._reception.backlog.stop()
        self._hearing.stop()
        await self._keeper.finish(self.now())
        self._decisions.stop()
