"""A lab: its nodes, its registry, and how all of it comes and goes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Self

from tests.lab import base_image, network
from tests.lab.cluster_node import ClusterNode, pids_of
from tests.lab.machine import (
    LabError,
    end,
    in_memory,
    missing,
    mounted,
    remove_control_groups,
    remove_folder,
    until,
)
from tests.lab.plan import FOR_TESTS, LARGEST_NUMBER, LARGEST_SIZE, LabPlan
from tests.lab.registry import Registry

_CLAIMS: Final = Path("/run/gpio-bridge-lab")
"""Of the whole machine: labs of other checkouts and folders use the same names and addresses."""
_RECORD: Final = "lab.json"
_JOINED_S: Final = 60.0
_MOVED_S: Final = 60.0


def default_cache() -> Path:
    """Where labs live unless told otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpio-bridge" / "lab"


class Lab:
    """Up to nine engines, one swarm and a registry; a context manager that takes it down.

    Whoever has a lab has claimed its number; the kernel lets go of the claim when the process ends, however it ends.
    """

    def __init__(self, number: int = 1, *, cache: Path | None = None) -> None:
        reason = missing()
        if reason is not None:
            raise LabError(reason)
        if not 0 <= number <= LARGEST_NUMBER:
            raise LabError(f"there is no lab {number}; take a number from 0 to {LARGEST_NUMBER}")
        self.number = number
        self._claim = _claim(number)
        before = _read(self._claim)
        self.cache = (cache or default_cache()).absolute()
        folder = self.cache / str(number)
        if before is not None and cache is None:
            # It was brought up with a folder of its own.
            folder, self.cache = Path(before["folder"]), Path(before["folder"]).parent
        self._left = None if before is None else LabPlan(number, int(before["size"]), Path(before["folder"]))
        self._take(LabPlan(number, 0 if before is None else int(before["size"]), folder))

    @classmethod
    def for_tests(cls, *, cache: Path | None = None) -> Self:
        """The first lab of the tests' own that nobody uses; what killed runs have left is cleared away first."""
        for number in [each for each in all_numbers() if each in FOR_TESTS]:
            with contextlib.suppress(LabTaken), cls(number):
                pass  # leaving it takes it down
        for number in FOR_TESTS:
            with contextlib.suppress(LabTaken):
                return cls(number, cache=cache)
        raise LabError("all numbers of labs for tests are taken")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()
        self.close()

    def close(self) -> None:
        """Let go of the number; the lab stays up."""
        if _read(self._claim) is None:
            _claim_file(self.number).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the others' claims are in it
                _CLAIMS.rmdir()
        self._claim.close()

    def up(self, size: int) -> None:
        """Bring up that many engines as one swarm, the first of them its manager; what was there before is gone."""
        if not 1 <= size <= LARGEST_SIZE:
            raise LabError(f"a lab has 1 to {LARGEST_SIZE} engines, not {size}")
        self.down()
        plan = LabPlan(self.number, size, self.cache / str(self.number))
        network.check_free(plan)
        self._write(plan)
        self._take(plan)
        plan.folder.mkdir(parents=True, exist_ok=True)
        if any(plan.folder.iterdir()):
            raise LabError(f"{plan.folder} has files in it that are no lab's; empty it, or take another folder")
        in_memory(plan.folder, plan.name)
        (plan.folder / _RECORD).write_text(json.dumps({"size": size}), encoding="ascii")
        network.build(plan)
        have_base = base_image.take(self.cache, self.registry)
        self.registry.start()
        for node in self.nodes:
            node.begin()
        for node in self.nodes:
            node.wait()
        if not have_base:
            base_image.make(self.cache, self.registry, self.manager)
        self._make_swarm()

    def down(self) -> None:
        """Take away everything that this lab has or left behind."""
        for plan in {self.plan, self._left or self.plan}:
            Registry(plan).stop()
            for namespace in {*network.namespaces(plan), *(node.namespace for node in plan.nodes)}:
                end(lambda namespace=namespace: pids_of(namespace), namespace)  # type: ignore[misc]  # bound at once
                network.remove_namespace(namespace)
                remove_control_groups(namespace)
            network.demolish(plan)
            if (plan.folder / _RECORD).exists() or plan.folder in mounted(plan.name):
                remove_folder(plan.folder)
        self._left = None
        self._write(None)
        self._take(LabPlan(self.number, 0, self.plan.folder))

    @property
    def is_up(self) -> bool:
        """Whether all of it runs."""
        return bool(self.nodes) and self.registry.running and all(node.running for node in self.nodes)

    @property
    def manager(self) -> ClusterNode:
        """The swarm's manager."""
        return self.nodes[0]

    @property
    def base(self) -> str:
        """The base image's name."""
        return f"{self.registry.address}/{base_image.NAME}"

    def node(self, name: str) -> ClusterNode:
        """A node by its name. Raises LabError for one that is not there."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(
            f"lab {self.number} has no node {name!r}; it has {', '.join(n.name for n in self.nodes) or 'none'}"
        )

    def states(self) -> dict[str, str]:
        """What the manager says of each node: ready, down, ..."""
        lines = self.manager.docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}").splitlines()
        return {name: state.lower() for name, state in (line.split() for line in lines)}

    def wait_for(self, name: str, state: str, within_s: float = _MOVED_S) -> None:
        """Wait until the manager says so of a node."""
        until(lambda: self.states().get(name) == state, f"{name} is {state}", within_s, lambda: str(self.states()))

    def environment(self) -> dict[str, str]:
        """What a shell, or a program of ours, has to be told of the lab."""
        return {
            "DOCKER_HOST": self.manager.host,
            "REGISTRY": self.registry.address,
            "OPENFAAS_URL": f"http://{self.manager.address}:8080",
        }

    def _make_swarm(self) -> None:
        first = self.manager
        listen = ("--advertise-addr", first.address, "--listen-addr", f"{first.address}:2377")
        first.docker("swarm", "init", *listen)
        token = first.docker("swarm", "join-token", "--quiet", "worker")
        for node in self.nodes[1:]:
            here = ("--advertise-addr", node.address, "--listen-addr", f"{node.address}:2377")
            node.docker("swarm", "join", "--token", token, *here, f"{first.address}:2377", within_s=_JOINED_S)
        for node in self.nodes:
            self.wait_for(node.name, "ready")

    def _take(self, plan: LabPlan) -> None:
        self.plan = plan
        self.registry = Registry(plan)
        self.nodes = tuple(ClusterNode(each) for each in plan.nodes)

    def _write(self, plan: LabPlan | None) -> None:
        """Note beside the claim where the lab is, for whoever has the number next."""
        self._claim.seek(0)
        self._claim.truncate()
        if plan is not None:
            json.dump({"folder": str(plan.folder), "size": plan.size}, self._claim)
        self._claim.flush()


class LabTaken(LabError):
    """Another process works with this lab."""


def _claim_file(number: int) -> Path:
    return _CLAIMS / f"{number}.json"


def _claim(number: int) -> IO[str]:
    while True:
        _CLAIMS.mkdir(exist_ok=True)
        try:
            claim = _claim_file(number).open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # somebody has removed the folder just now
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.close()
            raise LabTaken(f"another process works with lab {number}; wait for it, or take another number") from None
        # Who had it before may have removed the file after we opened it.
        if os.fstat(claim.fileno()).st_nlink:
            return claim
        claim.close()


def _read(claim: IO[str]) -> dict[str, str] | None:
    claim.seek(0)
    text = claim.read()
    return json.loads(text) if text else None


def all_numbers() -> Iterator[int]:
    """The numbers of all labs on this machine that are up, or were not taken down."""
    if _CLAIMS.is_dir():
        for file in sorted(_CLAIMS.glob("*.json"), key=lambda each: int(each.stem)):
            with contextlib.suppress(FileNotFoundError):  # it was taken down just now
                if file.stat().st_size:
                    yield int(file.stem)
