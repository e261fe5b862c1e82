"""One Docker Engine in a network namespace of its own: a Raspberry Pi, as far as Docker can tell."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lab import network
from tests.lab.machine import (
    LabError,
    alive,
    end,
    in_control_group,
    in_network_namespace,
    remove_control_groups,
    run,
    spawn,
    until,
)
from tests.lab.plan import NodePlan
from tests.real_parts import find

if TYPE_CHECKING:
    from docker import DockerClient

_STARTED_S: Final = 60.0
_STOPPED_S: Final = 20.0
_ASKED_S: Final = 2.0

INSIDE: Final = """
set -eu
hostname "$1"
# A fresh sysfs shows the bridges of this namespace; the control groups belong into it again.
mkdir -p "$2/cgroup"
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
# A /run of its own, so that /var/run/docker.sock is this node's engine, also to what its containers mount.
mount -t tmpfs tmpfs /run
resolver=$(readlink -m /etc/resolv.conf)
mkdir -p "$(dirname "$resolver")"
[ -e "$resolver" ] || : >"$resolver"
mount --bind "$2/resolv.conf" "$resolver"
shift 2
exec "$@"
"""
"""A shell's lines, given NAME FOLDER COMMAND..., that make a machine of new namespaces; FOLDER has a resolv.conf."""


class ClusterNode:
    """An engine that can be started, stopped, killed like a machine whose power fails, and cut off."""

    def __init__(self, plan: NodePlan) -> None:
        self.plan = plan
        self.name = plan.name
        self.address = plan.address
        self.host = f"unix://{plan.socket}"
        """What DOCKER_HOST has to say."""

    @property
    def running(self) -> bool:
        """Whether its engine answers."""
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(_ASKED_S)
            connection.connect(str(self.plan.socket))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        return False

    def begin(self) -> None:
        """Switch it on, without waiting for anything."""
        plan = self.plan
        if self._pids():
            raise LabError(f"{self.name} is running")
        plan.folder.mkdir(parents=True, exist_ok=True)
        # As on a machine that starts: what was in memory is gone, the disk is as it was left.
        self._forget()
        network.plug_in(plan)
        config = plan.folder / "daemon.json"
        config.write_text(json.dumps(self._settings(), indent=1), encoding="utf-8")
        # Without a name server an unknown name is an error at once.
        (plan.folder / "resolv.conf").write_text("", encoding="ascii")
        namespaces = ("nsenter", f"--net=/run/netns/{plan.namespace}", "unshare", "--mount", "--uts")
        dockerd = (str(find("dockerd")), "--config-file", config)
        spawn((*namespaces, "sh", "-c", INSIDE, "sh", self.name, plan.folder, *dockerd), plan.folder / "dockerd.log")

    def wait(self) -> None:
        """Wait until its engine answers."""

        def answers() -> bool:
            return self.running or bool(self._failed())

        until(answers, f"the engine of {self.name} answers", _STARTED_S, self.last_words)
        if self._failed():
            raise LabError(f"the engine of {self.name} does not start:\n{self.last_words()}")

    def start(self) -> None:
        """Switch it on; it is there when this returns."""
        self.begin()
        self.wait()

    def stop(self) -> None:
        """Shut it down in order: containers are told to end."""
        pid = alive(self._pid_file, "dockerd")
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            until(lambda: alive(self._pid_file, "dockerd") != pid, f"the engine of {self.name} ends", _STOPPED_S)
        self.kill()

    def kill(self) -> None:
        """Let its power fail: the cable goes first, so that nobody hears of the end of what ran here."""
        if Path("/sys/class/net", self.plan.link).exists():
            network.pull_out(self.plan)
        end(self._pids, self.name)
        network.remove_link(self.plan.link)
        network.remove_namespace(self.plan.namespace)
        remove_control_groups(self.plan.namespace)

    def cut(self) -> None:
        """Pull out its network cable; everything on it runs on."""
        network.pull_out(self.plan)

    def heal(self) -> None:
        """Put the cable back."""
        network.put_back(self.plan)

    def docker(self, *arguments: str, within_s: float = 120.0, stdin: str | None = None) -> str:
        """What the Docker CLI prints."""
        return run("docker", "--host", self.host, *arguments, within_s=within_s, stdin=stdin).strip()

    def client(self) -> DockerClient:
        """A client of its engine, to be closed."""
        from docker import DockerClient

        return DockerClient(base_url=self.host, version="auto", timeout=120)

    def last_words(self) -> str:
        """The end of its engine's log."""
        log = self.plan.folder / "dockerd.log"
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:]) if log.exists() else ""

    @property
    def _pid_file(self) -> Path:
        return self.plan.folder / "dockerd.pid"

    def _settings(self) -> dict[str, object]:
        folder = self.plan.folder
        return {
            "data-root": str(folder / "data"),
            "exec-root": str(folder / "exec"),
            "pidfile": str(self._pid_file),
            "hosts": [self.host, "unix:///run/docker.sock"],
            "cgroup-parent": f"/{self.plan.namespace}",
            "insecure-registries": [self.plan.lab.registry],
        }

    def _failed(self) -> bool:
        """Whether what was started has ended. In its first moments it is not in the namespace yet."""
        started = (self.plan.folder / "dockerd.log").stat().st_size > 0
        return started and not in_network_namespace(self.plan.namespace)

    def _pids(self) -> set[int]:
        return pids_of(self.plan.namespace)

    def _forget(self) -> None:
        for name in ("dockerd.pid", "docker.sock", "dockerd.log"):
            (self.plan.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.plan.folder / "exec", ignore_errors=True)


def pids_of(namespace: str) -> set[int]:
    """Everything that runs on a node: engine, containerd and shims in its network, containers in its control groups."""
    return in_network_namespace(namespace) | in_control_group(namespace)
