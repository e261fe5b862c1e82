"""The dispatcher: carries out what the ledger decides.

Order of stopping, and why: first the connection to the broker ends (nothing new comes in; what is not acknowledged will
come again), then attempts under way get a moment to end (their outcome spares a repetition), then the last commit is
written, then the HTTP API and the invoker's connections close, and the journal last.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, Self, get_args

import orjson
from prometheus_client import CollectorRegistry

from bridge.clock import Clock, RealClock, Timer
from bridge.core.delivery import Ledger, Limits
from bridge.core.mapping import MappingSet
from bridge.core.records import Restored
from bridge.core.retry import Outcome, Verdict
from bridge.core.steps import (
    Acknowledge,
    Answered,
    Attempted,
    BacklogEnded,
    Confirm,
    Connected,
    Effect,
    Fetch,
    Forgotten,
    Input,
    Instant,
    Invoke,
    MappingsReplaced,
    Parked,
    Received,
    TimersReleased,
)
from bridge.core.topics import Topics, client_id
from bridge.dispatcher.api import Api
from bridge.dispatcher.audit import AUDITED, Auditor
from bridge.dispatcher.backlog import Backlog
from bridge.dispatcher.confirmations import Confirmations
from bridge.dispatcher.feed import Feed, Hear
from bridge.dispatcher.intake import Intake, filters
from bridge.dispatcher.invoker import HttpInvoker, Invoker
from bridge.dispatcher.keeping import Keeper
from bridge.dispatcher.kept_letters import KeptLetters
from bridge.dispatcher.manager_mappings import ManagerMappings
from bridge.dispatcher.mappings import MappingFile, MappingSource
from bridge.dispatcher.metrics import Metrics
from bridge.dispatcher.quarantine import Quarantine
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.subscriptions import Subscriptions
from bridge.dispatcher.traces import Traces
from bridge.dispatcher.whereabouts import where
from bridge.errors import BrokenDecision, ConfigError, JournalError
from bridge.journal.crashes import Crash
from bridge.journal.dead_letters import Chosen, listed
from bridge.journal.drops import load_drops
from bridge.journal.engine import Journal
from bridge.journal.ledger import MIGRATIONS, load
from bridge.journal.salvage import lost_with_ledger
from bridge.mapping_file.timezone import local_timezone
from bridge.mqtt.transport import Connector, Delivery, Message
from bridge.service import Disk, Health
from bridge.ulid import mint

_log = logging.getLogger(__name__)

DRAIN_S = 3.0
"""How long attempts under way may go on when the dispatcher stops."""


class Dispatcher:
    """One dispatcher: a program (bridge.service.Program) and a listener (bridge.mqtt.transport.Listener).

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
        self._clock = clock
        self._random = randomness or random.Random()  # noqa: S311 - jitter, not a secret
        self._topics = Topics(settings.root)
        self._mint_id = mint_id or (lambda: mint(clock.now()))
        self._source = self._mapping_source(connect)
        self._journal = Journal(settings.state_dir / "ledger.sqlite", MIGRATIONS, name="ledger", threads=self._threads)
        self.letters = KeptLetters(self._journal, self.metrics, settings.limits.dead_letters)
        self._status_topic = self._topics.dispatcher(settings.site, settings.id, "status")
        self.status_changed: Callable[[], None] = self._say_status
        """Called when what there is to say of the mappings in force has changed; of a pair somebody else says it."""
        # In a pair, whoever watches the other one says who is at work, and is the one who is missed.
        alone = settings.standby is None
        will = Message(self._status_topic, self._offline(), retain=True) if alone else None
        self._transport = connect(client_id(settings.site, "dispatcher"), self, will=will)
        if alone:
            self._transport.set_farewell(will)
        self._invoker = invoker or HttpInvoker(settings.gateway, clock, connections=settings.limits.total)
        self._backlog = Backlog(clock, self._backlog_ended)
        self._quarantine = Quarantine(settings.state_dir, self._journal, clock)
        self._intake = Intake(self._topics, self._mint_id, self.metrics.ignored, self._backlog, self._held)
        self._confirmations = Confirmations(self._topics, clock, self._transport)
        self.auditor = Auditor(self._topics, self.now(), self.metrics.dropped, paired=not alone)
        self.traces = self._tracing()
        """None when they are switched off."""
        self._told_forgotten = False  # once is enough for people: the metric counts on
        self._keeper = Keeper(
            self._journal,
            self.auditor,
            self.letters,
            self.metrics,
            clock,
            commit_every_s=settings.commit_every_s,
            step=self.step,
            broken=lambda: self.broken,
        )
        self._hearers = self._hear()
        self._under_way = 0  # attempts that nothing has been heard of
        self._ended: list[Attempted] = []  # attempts whose end the ledger is told at the loop's next turn
        self._draining = False
        self._idle = asyncio.Event()  # while draining: nothing is under way any more
        self._broken: asyncio.Future[None] | None = None
        self.broken = False
        """Whether a decision broke half-way: nothing that the ledger holds can be trusted any more."""
        self._timer: Timer | None = None
        self._timer_at: float | None = None
        self._marker = ""
        self._marker_topic = self._topics.dispatcher(settings.site, settings.id, "marker")
        self._subscriptions = Subscriptions(self._transport, self._journal, clock, self.wanted, self._subscribed)
        self._stack = AsyncExitStack()
        self.ledger: Ledger
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
        return bool(self._hearers[Invoke])

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
            self.settings.state_dir.mkdir(parents=True, exist_ok=True)
            await stack.enter_async_context(self._journal)
            self._broken = asyncio.get_running_loop().create_future()
            await self._quarantine.open()
            stack.callback(lambda: self._quarantine.close(broken=self.broken))
            restored: Restored = await self._journal.read(load)
            await self._subscriptions.restore()
            limits = self.settings.limits
            alone = self.settings.standby is None
            self.ledger = Ledger(
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
            self._keeper.ledger = self.ledger
            self.metrics.observe(self.ledger)
            self._confirmations.note(self.ledger.confirmed())
            self.auditor.restore(self.ledger.confirmed(), await self._journal.read(load_drops), self.now())
            await self.letters.open()
            await self._count_lost()
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
            tasks = await stack.enter_async_context(_Tasks())
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

    async def _count_lost(self) -> None:
        """A damaged journal was set aside: what was stored in it and not finished is lost, and never in silence."""
        aside = self._journal.quarantined
        if aside is None:
            return
        lost = await asyncio.to_thread(lost_with_ledger, aside)
        self.auditor.bereave(lost, aside)
        self.metrics.quarantined.set(1)
        try:
            await self._journal.write(self.auditor.with_drops(_nothing))
        except JournalError:
            self.auditor.not_kept()  # it goes with the next commit
        else:
            self.auditor.kept()
        _log.error(
            "stored events are lost with a damaged journal",
            extra={
                "op": "dispatcher.lost",
                "events": lost.events,
                "dead_letters": lost.dead_letters,
                "all_known": lost.whole,
                "aside": str(aside),
            },
        )

    async def failed(self) -> None:
        """Wait until a task, or a decision, ends by an error, and raise it."""
        assert self._broken is not None
        tasks = asyncio.ensure_future(self._tasks.failed())
        try:
            await asyncio.wait((tasks, self._broken), return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._broken, tasks):
                if ended.done():
                    ended.result()
        finally:
            tasks.cancel()

    def fence(self) -> None:
        """Invoke nothing more from now on: somebody else may be at work. What follows is the stop."""
        self._invoke_no_more()
        self._give_up()

    def abandon(self) -> None:
        """Let go of everything at once, as a kill of the process does: nothing more is committed, written or invoked.

        Only without threads; the connection to the broker is for whoever made it to cut.
        """
        self.fence()
        self._backlog.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._tasks.cancel()
        self._keeper.abandon()
        self._quarantine.close(broken=self.broken)
        if self._broken is not None and not self.broken:  # from now on every decision comes too late
            self.broken = True
            self._broken.set_exception(BrokenDecision("the dispatcher was abandoned"))
            self._broken.exception()
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

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._marker = self._mint_id()
        self._backlog.begin(self._marker)  # now, not when it is sent: what waited in our session comes at once
        self._subscriptions.connected(session_present=session_present)
        self.step((Connected(generation),))

    def disconnected(self, generation: int, reason: str) -> None:
        pass  # the transport's status says it

    def received(self, batch: Sequence[Delivery]) -> None:
        try:
            self.step(self._read(batch))
            if not self.broken:
                self._quarantine.handled()
        except BaseException as error:  # noqa: BLE001 - the outermost frame of a decision
            self._broke(error)

    def _read(self, batch: Sequence[Delivery]) -> Iterator[Input]:
        """The inputs one by one, each read when the one before has been planned: the black box names one alone."""
        at, box = self._clock.now(), self._quarantine.box
        for delivery in batch:
            if box is not None:
                box.enter(delivery.message.topic, delivery.message.payload)
            given = self._intake.read(delivery, at)
            if given is None:
                continue
            if type(given) is Received and given.covers_from is not None:
                self.auditor.before((given,), self.ledger.confirmed, self.now())
            if box is not None:
                box.plan()
            yield given
        if box is not None:
            box.leave()

    def _held(self, message: Message) -> Crash | None:
        crash = self._quarantine.holds(message)
        if crash is not None:
            self.metrics.held.inc()
        return crash

    def take(self, inputs: Sequence[Input]) -> None:
        """Step what somebody has asked for, under the eyes of the auditor."""
        self.auditor.before(inputs, self.ledger.confirmed, self.now())
        self.step(inputs)

    def _broke(self, error: BaseException) -> None:
        """A decision is made as a whole; one that breaks ends the program, which begins anew from what is on the disk.

        What was being handled stays in the black box, so that the same message does not end it for ever (rule 12).
        Whoever decides catches whatever it raises: an extension may raise anything.
        """
        if self._broken is not None and not self.broken:
            self.broken = True
            _log.critical("a decision broke: the dispatcher ends", extra={"op": "dispatcher.step"}, exc_info=error)
            self._broken.set_exception(BrokenDecision("a decision of the ledger broke; see the log"))
            self._broken.exception()  # it is told by `failed`, where somebody waits
            self._invoke_no_more()

    # --- the ledger's steps ---

    def step(self, inputs: Iterable[Input]) -> list[Effect]:
        """Let the ledger decide, and carry out what it says; the effects are the answer."""
        now = self.now()
        effects: list[Effect] = []
        if self.broken:
            return effects
        try:
            effects = self.ledger.step(inputs, now)
            hearers = self._hearers
            for effect in effects:
                for hear in hearers[type(effect)]:
                    hear(effect, now)
            self._see_to_it(now)
        except BaseException as error:  # noqa: BLE001 - the outermost frame of a decision
            self._broke(error)
        return effects

    def _see_to_it(self, now: Instant) -> None:
        """Let what was decided be kept, and come back when the ledger wants to be asked."""
        self._keeper.look(now.monotonic)
        self._set_timer()

    def _hear(self) -> dict[type, tuple[Hear, ...]]:
        """Who hears of each kind of effect, in this order: who counts it, who carries it out, who tells it."""
        carried: dict[type, Hear] = {
            Invoke: self._attempt,
            Acknowledge: lambda effect, _: self._transport.acknowledge(effect.tickets),
            Fetch: self._keeper.fetch,
            Confirm: self._confirm,
            Parked: self._park,
            Answered: self._unpark,
            Forgotten: self._tell_forgotten,
        }
        heard = {
            kind: (
                self.metrics.counter(kind),
                self.auditor.count if kind in AUDITED else None,
                carried.get(kind),
                self.feed.teller(kind),
            )
            for kind in get_args(Effect)
        }
        return {kind: tuple(one for one in hearers if one is not None) for kind, hearers in heard.items()}

    def _invoke_no_more(self) -> None:
        self._hearers[Invoke] = ()

    def _confirm(self, effect: Confirm, now: Instant) -> None:
        self._confirmations.note(effect.rows)
        self.auditor.observe(effect.rows, now)

    def _tell_forgotten(self, effect: Forgotten, _: Instant) -> None:
        if self._told_forgotten:
            return
        self._told_forgotten = True
        extra = {"op": "dispatcher.forget", "what": effect.keys[0]}
        _log.warning("too much mapping state: the oldest gives way, and mappings decide without it", extra=extra)

    def _park(self, effect: Parked, _: Instant) -> None:
        extra = {"op": "dispatcher.park", "function": effect.function, "why": effect.reason}
        _log.warning("function parked: its invocations wait until it answers", extra=extra)
        self.metrics.parked(effect.function, now=True)

    def _unpark(self, effect: Answered, _: Instant) -> None:
        self.metrics.parked(effect.function, now=False)
        _log.info("function answers again", extra={"op": "dispatcher.park", "function": effect.function})

    def _backlog_ended(self) -> None:
        """Somebody is no longer behind: let go what waited for that."""
        inputs: list[Input] = [BacklogEnded(place) for place in self.ledger.slots if not self._backlog.waits(place)]
        if self.ledger.timers_held and self._backlog.over:
            inputs.append(TimersReleased())
        if inputs:
            self.step(inputs)

    def _attempt(self, invoke: Invoke, _: Instant) -> None:
        self._under_way += 1
        done = partial(self._attempted, invoke.invocation.id)
        try:
            self._invoker.invoke(invoke.invocation, invoke.event, invoke.attempt, done)
        except Exception as error:  # noqa: BLE001 - an attempt must have an outcome, or its lane waits for ever
            _log.exception("attempt broke", extra={"op": "attempt", "invocation": invoke.invocation.id})
            reason = f"{type(error).__name__}: {error}"
            broken = Outcome(verdict=Verdict.RETRYABLE, status=None, reason=reason, duration_s=0.0)
            asyncio.get_running_loop().call_soon(done, broken)  # not now: this is the middle of a step

    def _attempted(self, invocation_id: str, outcome: Outcome) -> None:
        """Gather what ends in one turn of the loop: the ledger is stepped once with all of it, in the order it came."""
        self._ended.append(Attempted(invocation_id, outcome, self._random.random()))
        if self._under_way == 1:
            self._step_ended()  # it is alone: nothing else can end in this turn
        elif len(self._ended) == 1:
            asyncio.get_running_loop().call_soon(self._step_ended)

    def _step_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._under_way -= len(ended)
        if ended:
            self.step(ended)
        if not self._under_way and self._draining:
            self._idle.set()

    def _set_timer(self) -> None:
        wake_at = self.ledger.wake_at
        if wake_at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = wake_at
        self._timer = self._clock.call_at(wake_at, self._woken) if wake_at is not None else None

    def _woken(self) -> None:
        self._timer, self._timer_at = None, None
        self.step(())

    def now(self) -> Instant:
        """Now, on both clocks."""
        return Instant(self._clock.now(), self._clock.monotonic())

    # --- mappings and subscriptions ---

    def _replace(self, mappings: MappingSet) -> None:
        self._quarantine.lift()
        self.step((MappingsReplaced(mappings),))
        self._subscriptions.changed()
        self.status_changed()

    def mappings_status(self) -> dict[str, str | None]:
        """What the retained status says of the mappings in force."""
        problem = self._source.problem
        return {
            "version": self._source.version,
            "from": self._source.source,
            "problem": str(problem) if problem else None,
        }

    def _say_status(self) -> None:
        """Tell everybody that we are at work, and with which mappings."""
        if self._transport.connected:
            said = {
                "version": 1,
                "state": "active",
                "term": 0,
                "mappings": self.mappings_status(),
                **where(self.settings.http, self.port, self._transport.local_address),
            }
            self._transport.publish(Message(self._status_topic, orjson.dumps(said), retain=True))

    def _mappings_told(self) -> None:
        self.status_changed()

    @staticmethod
    def _offline() -> bytes:
        return orjson.dumps({"version": 1, "state": "offline", "term": 0})

    def _mapping_source(self, connect: Connector) -> MappingSource:
        settings, timezone = self.settings, local_timezone()
        if settings.mappings == "manager":
            return ManagerMappings(
                settings.site,
                settings.id,
                settings.state_dir,
                clock=self._clock,
                connect=connect,
                timezone=timezone,
                root=settings.root,
                told=self._mappings_told,
            )
        return MappingFile(
            settings.mappings,
            settings.state_dir,
            self._clock,
            timezone=timezone,
            root=settings.root,
            threads=self._threads,
            told=self._mappings_told,
        )

    def wanted(self) -> tuple[str, ...]:
        """The topic filters of all mappings."""
        return filters(self._topics, self.settings.site, self._marker_topic, *self.mappings.foreign_filters())

    def _subscribed(self) -> None:
        self.status_changed()
        self._confirmations.again()
        if not self._backlog.over:
            self._transport.publish(Message(self._marker_topic, self._marker.encode()))

    # --- health and stopping ---

    def _check_health(self) -> None:
        self.health.require_alive(
            "journal", lambda: "damaged, restart to set it aside" if self._journal.corrupt else None
        )
        self.health.require_ready("mqtt", lambda: self._transport.status)
        self.health.require_ready("subscriptions", lambda: self._subscriptions.problem)
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

    def _tracing(self) -> Traces | None:
        settings = self.settings.traces
        if not settings.enabled:
            return None
        return Traces(
            self.settings.state_dir / "traces",
            settings.max_size_bytes,
            self._clock,
            self.metrics.traces_lost,
            threads=self._threads,
        )

    def _parked(self) -> str | None:
        parked = self.ledger.parked_because
        return "; ".join(f"{function} is parked: {why}" for function, why in parked.items()) or None

    async def _drain(self) -> None:
        """Begin no more attempts, let those under way end for a moment, and give up the rest."""
        self._invoke_no_more()
        self._draining = True
        if self._under_way:
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._idle.wait()
        self._step_ended()  # what came in the last turn
        self._give_up()

    def _give_up(self) -> None:
        self._invoker.give_up()
        self._under_way = 0
        self._ended.clear()

    async def _finish(self) -> None:
        self._backlog.stop()
        await self._keeper.finish(self.now())
        if self._timer is not None:
            self._timer.cancel()


class _Tasks:
    """The long-lived tasks of the dispatcher; leaving cancels them."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def start(self, name: str, work: object) -> None:
        """Run a coroutine under this name."""
        self._tasks.append(asyncio.create_task(work, name=f"dispatcher {name}"))  # type: ignore[arg-type]

    async def failed(self) -> None:
        """Wait for the first task that ends, and raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _nothing(_: sqlite3.Connection) -> None:
    """A commit that only keeps what the auditor adds."""
