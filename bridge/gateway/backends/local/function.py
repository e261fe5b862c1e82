"""One function: its replicas, kept at the number and version that are wanted, and lent out for calls."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.clock import Clock
from bridge.errors import FunctionError, FunctionUnavailable
from bridge.gateway.backends.local.logs import LogBook
from bridge.gateway.backends.local.process import FunctionProcess, Launch, how_it_ended
from bridge.gateway.backends.local.rollout import Phase, View, decide
from bridge.gateway.backends.local.usage import cpu_s
from bridge.gateway.background import Background
from bridge.gateway.settings import LocalSettings

_log = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.1
_LIVED_S = 10.0
"""A replica that ended after this long counts as one that had worked."""
_TOLD_LINES = 3
_LOOK_S = 0.05


@dataclass(slots=True, eq=False)
class Replica:
    """One process of a function."""

    key: int
    place: int
    version: int
    instance: str
    process: FunctionProcess
    phase: Phase = Phase.STARTING
    port: int = 0
    in_flight: int = 0
    ready_at: float = 0.0
    cpu_sample: tuple[float, float] = (0.0, 0.0)
    """Monotonic time and CPU seconds used until then."""
    suspect: bool = False
    """It took no connection or broke one, and was not looked at since."""
    bad_since: float | None = None
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    life: asyncio.Task[None] | None = None

    def at(self, phase: Phase) -> bool:
        """Whether it is in this phase now."""
        return self.phase is phase


class ReplicaLease:
    """One call's hold on a replica."""

    __slots__ = ("_replica", "_returned", "host", "instance", "port")

    def __init__(self, replica: Replica, returned: Callable[[Replica], None]) -> None:
        self._replica = replica
        self._returned = returned
        self.instance = replica.instance
        self.host = "127.0.0.1"
        self.port = replica.port

    def release(self) -> None:
        self._returned(self._replica)

    def suspect(self) -> None:
        self._replica.suspect = True


class LocalFunction:
    """Starts, replaces and ends the replicas of one function.

    `launch` is asked at each start. `wanted` and the version change at any time; a task brings the replicas there.
    `restarted` is called when a replica ended that should not have.
    """

    def __init__(
        self,
        name: str,
        launch: Callable[[], Launch],
        *,
        wanted: int,
        settings: LocalSettings,
        clock: Clock,
        background: Background,
        lifeline: int,
        starts: asyncio.Semaphore,
        restarted: Callable[[str], None],
    ) -> None:
        self.name = name
        self.launch = launch
        self.wanted = wanted
        self.logs = LogBook(name, settings.log_lines, clock)
        self.replicas: dict[int, Replica] = {}
        self.problem: str | None = None
        self._settings = settings
        self._clock = clock
        self._background = background
        self._lifeline = lifeline
        self._starts = starts
        self._restarted = restarted
        self._version = 1
        self._keys = itertools.count(1)
        self._failures = 0
        self._retry_at = 0.0
        self._changed = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._supervisor: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to supervise."""
        self._supervisor = self._background.spawn(self._supervise(), f"function {self.name}")

    @property
    def available(self) -> int:
        """How many replicas take calls."""
        return sum(replica.at(Phase.READY) for replica in self.replicas.values())

    def scale(self, wanted: int) -> None:
        """Change the wanted number."""
        if wanted != self.wanted:
            _log.info("Scaling", extra={"op": "scale", "function": self.name, "from": self.wanted, "to": wanted})
        self.wanted = wanted
        self._changed.set()

    def renew(self, reason: str) -> None:
        """Replace every replica by a new one, one after the other; who serves goes on until its successor does."""
        _log.info("Replacing replicas", extra={"op": "renew", "function": self.name, "reason": reason})
        self._version += 1
        self._failures, self._retry_at, self.problem = 0, 0.0, None
        self._changed.set()

    async def acquire(self, timeout_s: float) -> ReplicaLease:
        """The least busy replica; waits for one that is starting. Raises FunctionUnavailable."""
        replica = self._least_busy()
        if replica is None or replica.suspect:
            replica = await self._next_sound(timeout_s)
        replica.in_flight += 1
        return ReplicaLease(replica, self._returned)

    async def close(self) -> None:
        """Stop everything now: SIGTERM, and SIGKILL after the time for stopping."""
        self._closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait((self._supervisor,))
        self._wake()
        replicas = list(self.replicas.values())
        for replica in replicas:
            replica.phase = Phase.DRAINING
        await asyncio.gather(*(replica.process.stop(self._settings.stop_s) for replica in replicas))
        lives = [replica.life for replica in replicas if replica.life is not None]
        if lives:
            await asyncio.wait(lives, timeout=self._settings.stop_s)
        self.logs.close()

    async def retire(self) -> None:
        """The function was removed: let calls in flight finish, then stop."""
        self.wanted = 0
        self._closed = True
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait((self._supervisor,))
        self._wake()
        await asyncio.gather(*(self._drain(replica) for replica in list(self.replicas.values())))
        self.logs.close()

    def replace_sick(self, replica: Replica, reason: str) -> None:
        """End a replica that does not answer any more; another takes its place."""
        _log.error(
            "Replica is not healthy",
            extra={"op": "health", "function": self.name, "instance": replica.instance, "reason": reason},
        )
        self.logs.write(replica.place, replica.instance, f"[gateway] replaced: {reason}")
        replica.process.kill()

    # --- calls

    def _least_busy(self) -> Replica | None:
        best: Replica | None = None
        for replica in self.replicas.values():
            if not replica.at(Phase.READY):
                continue
            if best is None or (replica.suspect, replica.in_flight) < (best.suspect, best.in_flight):
                best = replica
        if best is not None and len(self.replicas) > 1:
            # To the end of the line: equals take turns.
            self.replicas[best.key] = self.replicas.pop(best.key)
        return best

    async def _next_sound(self, timeout_s: float) -> Replica:
        """A replica that is not about to be found dead: a process that ends closes its connections a moment before."""
        while True:
            replica = self._least_busy() or await self._next_ready(timeout_s)
            if not replica.suspect:
                return replica
            await asyncio.sleep(_LOOK_S)
            if replica.at(Phase.READY) and not replica.process.ended():
                replica.suspect = False

    async def _next_ready(self, timeout_s: float) -> Replica:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if self._closed:
                        raise FunctionUnavailable(f"the function {self.name} is being stopped")
                    if self.wanted == 0:
                        raise FunctionUnavailable(f"the function {self.name} is scaled to zero")
                    if self._failures >= 2 and not self._any_starting():
                        raise FunctionUnavailable(f"no replica of {self.name} runs: {self.problem}")
                    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.add(waiting)
                    try:
                        await waiting
                    finally:
                        self._waiting.discard(waiting)
                    replica = self._least_busy()
                    if replica is not None:
                        return replica
        except TimeoutError:
            why = self.problem or "it is still starting"
            raise FunctionUnavailable(f"no replica of {self.name} was ready within {timeout_s:g} s: {why}") from None

    def _returned(self, replica: Replica) -> None:
        replica.in_flight -= 1
        if replica.in_flight == 0:
            replica.idle.set()

    def _any_starting(self) -> bool:
        return any(replica.at(Phase.STARTING) for replica in self.replicas.values())

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    # --- replicas

    async def _supervise(self) -> None:
        while True:
            self._changed.clear()
            self._advance()
            self._wake()
            pause_s = self._retry_at - self._clock.monotonic()
            try:
                async with asyncio.timeout(pause_s if pause_s > 0 else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _advance(self) -> None:
        views = [View(each.key, each.version, each.phase, each.in_flight) for each in self.replicas.values()]
        may_start = self._clock.monotonic() >= self._retry_at
        steps = decide(self.wanted, self._version, views, may_start=may_start)
        for key in steps.drain:
            replica = self.replicas[key]
            replica.phase = Phase.DRAINING
            self._background.spawn(self._drain(replica), f"drain {replica.instance}")
        for _ in range(steps.start):
            self._begin()

    def _begin(self) -> None:
        key = next(self._keys)
        taken = {replica.place for replica in self.replicas.values()}
        place = next(number for number in itertools.count() if number not in taken)
        instance = f"{self.name}-{secrets.token_hex(4)}"
        try:
            launch = self.launch()
        except FunctionError as error:
            self._put_off(str(error))
            return
        process = FunctionProcess(launch, self._lifeline, lambda line: self.logs.write(place, instance, line))
        replica = Replica(key, place, self._version, instance, process)
        self.replicas[key] = replica
        replica.life = self._background.spawn(self._live(replica), f"replica {instance}")

    async def _live(self, replica: Replica) -> None:
        """One replica from its start to its end."""
        try:
            async with self._starts:
                if not replica.at(Phase.STARTING):
                    return
                began = self._clock.monotonic()
                replica.port = await replica.process.start(self._settings.start_s)
            if replica.at(Phase.STARTING):
                self._is_ready(replica, began)
            else:
                # Given up while it started: whoever did that may have found no process to stop yet.
                await replica.process.stop(self._settings.stop_s)
            code = await replica.process.wait()
            if not replica.at(Phase.DRAINING) and not self._closed:
                self._crashed(replica, code)
        except FunctionUnavailable as error:
            if not replica.at(Phase.DRAINING) and not self._closed:
                self._did_not_start(replica, str(error))
            await replica.process.stop(self._settings.stop_s)
        finally:
            replica.process.kill()
            del self.replicas[replica.key]
            replica.phase = Phase.DRAINING
            replica.idle.set()
            self._changed.set()

    def _is_ready(self, replica: Replica, began: float) -> None:
        replica.phase = Phase.READY
        replica.ready_at = self._clock.monotonic()
        replica.cpu_sample = (replica.ready_at, cpu_s(replica.process.pid or 0))
        if replica.version == self._version:
            self.problem = None
        _log.info(
            "Replica is ready",
            extra={
                "op": "replica",
                "function": self.name,
                "instance": replica.instance,
                "port": replica.port,
                "start_s": round(replica.ready_at - began, 3),
            },
        )
        self._changed.set()

    def _crashed(self, replica: Replica, code: int) -> None:
        if self._clock.monotonic() - replica.ready_at >= _LIVED_S:
            self._failures = 0
        self._failed(replica, f"it ended with {how_it_ended(code)}")
        self._restarted(self.name)

    def _did_not_start(self, replica: Replica, reason: str) -> None:
        if replica.version == self._version:
            self._failed(replica, reason)

    def _failed(self, replica: Replica, reason: str) -> None:
        """Say why, where people look for it, and try again later."""
        told = " | ".join(line for line in self.logs.last(replica.instance, _TOLD_LINES) if line.strip())
        why = f"{reason}; its last lines: {told}" if told else reason
        serving = [each for each in self.replicas.values() if each.at(Phase.READY) and each is not replica]
        if serving and all(each.version != self._version for each in serving):
            why = f"the newest version does not run, the one before still serves: {why}"
        pause_s = self._put_off(why)
        _log.error(
            "Replica failed",
            extra={
                "op": "replica",
                "function": self.name,
                "instance": replica.instance,
                "reason": self.problem,
                "failures": self._failures,
                "again_in_s": pause_s,
                "still_serving": len(serving),
            },
        )
        self.logs.write(replica.place, replica.instance, f"[gateway] {reason}; next start in {pause_s:g} s")

    def _put_off(self, why: str) -> float:
        """Put the next start off: 0.1 s first, doubled each time up to the bound, and never given up."""
        self.problem = why
        self._failures += 1
        pause_s = min(self._settings.backoff_max_s, _BACKOFF_FIRST_S * 2.0 ** min(self._failures - 1, 30))
        self._retry_at = self._clock.monotonic() + pause_s
        return pause_s

    async def _drain(self, replica: Replica) -> None:
        """Let the calls in flight finish, then stop the process."""
        replica.phase = Phase.DRAINING
        if replica.in_flight:
            replica.idle.clear()
            try:
                async with asyncio.timeout(self._settings.drain_s):
                    await replica.idle.wait()
            except TimeoutError:
                _log.warning(
                    "Calls cut off while draining",
                    extra={"op": "drain", "instance": replica.instance, "calls": replica.in_flight},
                )
        await replica.process.stop(self._settings.stop_s)
