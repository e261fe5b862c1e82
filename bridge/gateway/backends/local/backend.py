"""The local backend: deployments become supervised processes of the function server on loopback ports."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bridge.clock import Clock
from bridge.errors import FunctionError, FunctionNotFound
from bridge.gateway.backends import BackendInfo, Lease, LogQuery, health
from bridge.gateway.backends.local.function import LocalFunction, Replica
from bridge.gateway.backends.local.process import Launch
from bridge.gateway.backends.local.program import KnownHandlers, Program, resolve
from bridge.gateway.backends.local.records import Record, Records
from bridge.gateway.backends.local.reload import FolderWatch, Stamp, stamp
from bridge.gateway.backends.local.rollout import Phase
from bridge.gateway.backends.local.secrets import FileSecrets
from bridge.gateway.backends.local.usage import cpu_s, resident_bytes
from bridge.gateway.background import Background
from bridge.gateway.settings import GatewaySettings
from bridge.openfaas.deployment import Deployment, FunctionStatus, LogLine, Usage
from bridge.openfaas.stack_file import fingerprint, load_stack
from bridge.service import make_folder

_log = logging.getLogger(__name__)

_PASSED_ON = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SYSTEMROOT")
"""What functions get of our own environment; the rest may hold secrets of ours."""
_STARTS_AT_A_TIME = 4
_USAGE_LEAST_S, _USAGE_WINDOW_S = 1.0, 5.0


@dataclass(slots=True)
class _Deployed:
    record: Record
    program: Program | None
    function: LocalFunction
    stamp: Stamp = frozenset()
    problem: str | None = None


class LocalBackend:
    """Runs each function as `replicas` processes.

    Deployments outlive a restart of the gateway, and the replicas of a function may crash, hang or not start: they are
    replaced with growing pauses, and never given up. Limits and constraints are kept and returned, not enforced.
    `restarted` is told a function's name whenever a replica of it ended by itself.
    """

    info = BackendInfo("gpio-bridge", "local processes")

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        clock: Clock,
        background: Background,
        restarted: Callable[[str], None],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.secrets = FileSecrets(settings.secrets)
        self._settings = settings
        self._clock = clock
        self._background = background
        self._restarted = restarted
        self._environ = environ
        self._records = Records(settings.state_dir / "functions")
        self._known = KnownHandlers()
        self._deployed: dict[str, _Deployed] = {}
        self._starts = asyncio.Semaphore(_STARTS_AT_A_TIME)
        self._watch = FolderWatch(self._folders, clock)
        self._lifeline: tuple[int, int] | None = None

    async def __aenter__(self) -> Self:
        make_folder(self._settings.state_dir, mode=0o700)
        self.secrets.open()
        records = self._restored()
        # Functions watch one end and stop when the other closes, where the system cannot end them with us.
        self._lifeline = os.pipe()
        for record in records.values():
            self._run(record)
        self._background.spawn(self._check_health(), "health of replicas")
        if self._settings.local.reload:
            self._background.spawn(self._reload(), "changed handlers")
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(deployed.function.close() for deployed in self._deployed.values()))
        if self._lifeline is not None:
            for descriptor in self._lifeline:
                os.close(descriptor)
            self._lifeline = None

    # --- deployments

    async def deploy(self, deployment: Deployment) -> None:
        if deployment.service in self._deployed:
            await self.update(deployment)
            return
        self._check(deployment)
        replicas = min(deployment.scale_min, self._settings.local.max_replicas)
        record = Record(deployment, replicas, self._clock.now())
        self._records.save(record)
        self._run(record)
        _log.info("Deployed", extra={"op": "deploy", "function": deployment.service})

    async def update(self, deployment: Deployment) -> None:
        deployed = self._find(deployment.service)
        program = self._check(deployment)
        before = deployed.record
        replicas = min(max(before.replicas, deployment.scale_min), self._settings.local.max_replicas)
        record = dataclasses.replace(before, deployment=deployment, replicas=replicas)
        self._records.save(record)
        deployed.record, deployed.program, deployed.problem = record, program, None
        deployed.stamp = stamp(program.folder) if program.folder else frozenset()
        deployed.function.scale(replicas)
        deployed.function.renew("the deployment was updated")
        self._watch.refresh()

    async def remove(self, name: str) -> None:
        deployed = self._find(name)
        self._records.forget(name)
        del self._deployed[name]
        self._watch.refresh()
        self._background.spawn(deployed.function.retire(), f"retire {name}")
        _log.info("Removed", extra={"op": "remove", "function": name})

    async def scale(self, name: str, replicas: int) -> None:
        deployed = self._find(name)
        if replicas > self._settings.local.max_replicas:
            raise FunctionError(
                f"{replicas} replicas of {name} are more than this machine is set to run"
                f" (local.max_replicas: {self._settings.local.max_replicas})"
            )
        self._set_replicas(deployed, replicas)

    # --- questions

    async def list(self) -> list[FunctionStatus]:
        return [self._status(self._deployed[name]) for name in sorted(self._deployed)]

    async def describe(self, name: str, *, usage: bool = False) -> FunctionStatus:
        deployed = self._find(name)
        return self._status(deployed, self._usage(deployed) if usage else None)

    def known(self, name: str) -> bool:
        return name in self._deployed

    def deployments(self) -> Mapping[str, Deployment]:
        return {name: deployed.record.deployment for name, deployed in self._deployed.items()}

    def wanted(self) -> Mapping[str, int]:
        return {name: deployed.function.wanted for name, deployed in self._deployed.items()}

    def logs(self, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        return self._find(query.name).function.logs.read(query)

    def not_ready(self) -> str | None:
        reasons = [f"kept deployment set aside as {reason}" for reason in self._records.broken]
        for name, deployed in sorted(self._deployed.items()):
            function = deployed.function
            problem = deployed.problem or function.problem
            if function.wanted > 0 and function.available == 0:
                reasons.append(f"{name}: {problem or 'its replicas are starting'}")
        return "; ".join(reasons) or None

    async def acquire(self, name: str) -> Lease:
        deployed = self._find(name)
        if deployed.function.wanted == 0:
            # Wanted changes at once, so whoever comes next finds it set and waits for the same start.
            self._set_replicas(deployed, max(1, deployed.record.deployment.scale_min))
        return await deployed.function.acquire(self._settings.local.start_s)

    # --- inside

    def _find(self, name: str) -> _Deployed:
        deployed = self._deployed.get(name)
        if deployed is None:
            raise FunctionNotFound(f"the function {name} is not deployed")
        return deployed

    def _check(self, deployment: Deployment) -> Program:
        program = resolve(deployment, self._known)
        missing = [name for name in deployment.secrets or () if not self.secrets.has(name)]
        if missing:
            raise FunctionError(f"{deployment.service}: create the secret {', '.join(missing)} first")
        if deployment.scale_min > self._settings.local.max_replicas:
            raise FunctionError(
                f"{deployment.service}: com.openfaas.scale.min is above local.max_replicas,"
                f" {self._settings.local.max_replicas}"
            )
        return program

    def _restored(self) -> dict[str, Record]:
        """What ran before, with the entries of the stack file that have changed since applied."""
        records = self._records.load()
        if self._settings.functions is None:
            return records
        stack = {entry.service: entry for entry in load_stack(self._settings.functions, self._environ)}
        self._known = KnownHandlers(stack.values())
        for name in [name for name, record in records.items() if record.stack is not None and name not in stack]:
            _log.info("Not in the stack file any more", extra={"op": "restore", "function": name})
            self._records.forget(name)
            del records[name]
        for name, entry in stack.items():
            mark, before = fingerprint(entry), records.get(name)
            if before is not None and before.stack == mark:
                continue
            replicas = min(entry.scale_min, self._settings.local.max_replicas)
            records[name] = Record(entry, replicas, self._clock.now(), mark)
            self._records.save(records[name])
        return records

    def _run(self, record: Record) -> None:
        name = record.deployment.service
        assert self._lifeline is not None
        program, problem = None, None
        try:
            program = self._check(record.deployment)
        except FunctionError as error:
            # It was good when it was deployed: a folder or a secret has gone since. The others must run all the same.
            problem = str(error)
            _log.error("Function cannot run", extra={"op": "restore", "function": name, "reason": problem})
        function = LocalFunction(
            name,
            lambda: self._launch(name),
            wanted=record.replicas,
            settings=self._settings.local,
            clock=self._clock,
            background=self._background,
            lifeline=self._lifeline[0],
            starts=self._starts,
            restarted=self._restarted,
        )
        deployed = _Deployed(record, program, function, problem=problem)
        if program is not None and program.folder is not None:
            deployed.stamp = stamp(program.folder)
        self._deployed[name] = deployed
        function.start()
        self._watch.refresh()

    def _launch(self, name: str) -> Launch:
        deployed = self._deployed[name]
        if deployed.problem is not None:
            # Asked again at each start, so that a function runs as soon as what it misses is there.
            deployed.program = self._check(deployed.record.deployment)
            deployed.problem = None
        program = deployed.program
        assert program is not None
        timeouts, local = self._settings.timeouts, self._settings.local
        environment = {key: self._environ[key] for key in _PASSED_ON if key in self._environ}
        environment |= {
            "exec_timeout": f"{timeouts.upstream_s:g}s",
            "read_timeout": f"{timeouts.read_s:g}s",
            "write_timeout": f"{timeouts.write_s:g}s",
            "max_request_bytes": str(self._settings.max_body_bytes),
            "log_format": "text",
        }
        environment |= deployed.record.deployment.env_vars or {}
        environment |= {
            "port": "0",
            "bind_address": "127.0.0.1",
            "drain_timeout": f"{local.stop_s * 0.8:.3f}s",
            "drain_delay": "0s",
            "secret_path": str(self._settings.secrets.absolute()),
            "function_name": name,
            "PYTHONUNBUFFERED": "1",
            # Python knows compiled code by its source's second and size: a change within a second could go unseen.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if program.handler is not None:
            environment["function_handler"] = str(program.handler)
            environment.pop("fprocess", None)
        else:
            environment["fprocess"] = program.command
            environment.pop("function_handler", None)
        python = local.python or Path(sys.executable)
        if local.python is not None:
            # Another interpreter does not have us installed; it needs h11 of its own.
            ours = str(Path(__file__).resolve().parents[4])
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (ours, environment.get("PYTHONPATH"))))
        return Launch(python, environment, program.folder or self._settings.state_dir.absolute())

    def _set_replicas(self, deployed: _Deployed, replicas: int) -> None:
        deployed.record = dataclasses.replace(deployed.record, replicas=replicas)
        # A number lost to a power cut is soon found again; a request that waits should not wait for the disk.
        self._records.save(deployed.record, durable=False)
        deployed.function.scale(replicas)

    def _status(self, deployed: _Deployed, usage: Usage | None = None) -> FunctionStatus:
        function, record = deployed.function, deployed.record
        problem = deployed.problem or function.problem
        return FunctionStatus(record.deployment, function.wanted, function.available, record.created_at, usage, problem)

    def _usage(self, deployed: _Deployed) -> Usage:
        """CPU over the last seconds (at most since the replica became ready), memory now."""
        now, rate, memory = self._clock.monotonic(), 0.0, 0
        for replica in deployed.function.replicas.values():
            pid = replica.process.pid
            if pid is None or not replica.at(Phase.READY):
                continue
            used, (since, used_then) = cpu_s(pid), replica.cpu_sample
            # The system counts in hundredths of a second: over a shorter time than this the rate would be noise.
            rate += max(0.0, used - used_then) / max(_USAGE_LEAST_S, now - since)
            if now - since >= _USAGE_WINDOW_S:
                replica.cpu_sample = (now, used)
            memory += resident_bytes(pid)
        return Usage(round(rate * 1000, 3), memory)

    def _folders(self) -> frozenset[Path]:
        programs = (deployed.program for deployed in self._deployed.values())
        return frozenset(each.folder for each in programs if each is not None and each.folder is not None)

    async def _reload(self) -> None:
        async with contextlib.aclosing(self._watch.changes()) as changes:
            async for _ in changes:
                for name, deployed in list(self._deployed.items()):
                    folder = deployed.program.folder if deployed.program else None
                    if folder is None:
                        continue
                    now = await asyncio.to_thread(stamp, folder)
                    if now != deployed.stamp and self._deployed.get(name) is deployed:
                        deployed.stamp = now
                        deployed.function.renew("its files have changed")

    async def _check_health(self) -> None:
        while True:
            await self._clock.sleep(self._settings.local.health_every_s)
            for deployed in list(self._deployed.values()):
                for replica in list(deployed.function.replicas.values()):
                    if replica.at(Phase.READY):
                        await self._examine(deployed.function, replica)

    async def _examine(self, function: LocalFunction, replica: Replica) -> None:
        """Replace a replica that complains for three rounds, or is silent for longer than any call may take.

        Silence alone is no proof: a handler that computes on the loop answers nobody until it is done.
        """
        limit_s = 2.5 * self._settings.local.health_every_s
        try:
            said = await health.ask("127.0.0.1", replica.port)
            complaint = None if said.status == 200 else said.text or "its health check failed"
        except TimeoutError:
            complaint = "it does not answer"
            limit_s = max(limit_s, self._settings.timeouts.upstream_s)
        except OSError as error:
            complaint = f"it takes no connection: {error}"
        if not replica.at(Phase.READY):
            return
        if complaint is None:
            replica.bad_since, replica.suspect = None, False
            return
        now = self._clock.monotonic()
        replica.bad_since = now if replica.bad_since is None else replica.bad_since
        if now - replica.bad_since >= limit_s:
            function.replace_sick(replica, complaint)
