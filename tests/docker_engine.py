"""A Docker Engine of a test's own: in a network namespace without a way out, a swarm of one node if wanted.

Nothing is pulled: the image that functions run is made of this machine's Python and the function server. A test may
step into the network of a container, where it reaches the tasks of an overlay network as a gateway on it would.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import h11
import pip
import pytest

import bridge.runtime
from tests.lab.cluster_node import INSIDE, pids_of
from tests.lab.machine import end, in_memory, mounted, remove_control_groups, run, unmount
from tests.lab.network import remove_namespace
from tests.real_parts import find, require, require_none_missing

HANDLERS = "127.0.0.1:5000/handlers:1"
"""Runs the code in its variable `handler_code`; nothing listens at the address, so that no look-up costs time."""

_START = r"""
import os, pathlib, sys
code = os.environ.get("handler_code")
if code is not None:
    folder = pathlib.Path("/tmp/function")
    folder.mkdir(exist_ok=True)
    (folder / "handler.py").write_text(code)
    os.environ["function_handler"] = str(folder)
os.execv(sys.executable, [sys.executable, "-m", "bridge.runtime"])
"""
_PYTHON = os.path.realpath(sys.executable)
_LEFT_OUT = {
    "site-packages",
    "test",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "turtledemo",
    "pydoc_data",
}
_NOBODY_IMPORTS = ("_tkinter.", "_test", "_ctypes_test.", "_xxtest")
"""Beginnings of extension modules: the libraries of the first alone are a tenth of an image."""
_PROGRAMS = ("cat", "id", "rm", "touch", "wc")
_CLONE_NEWNET = 0x40000000
_STARTED_S, _STOPPED_S = 90.0, 20.0


class DockerEngine:
    """One dockerd; a context manager. Its name is its host's and its network namespace's."""

    def __init__(self, folder: Path, name: str = "one", *options: str) -> None:
        require("dockerd", "docker", "ip", "iptables", "unshare", "nsenter", "mount")
        require_none_missing(None if os.geteuid() == 0 else "a Docker Engine of its own needs root; run as root")
        self.folder = folder
        # Tests of another checkout may run at the same time.
        self.name = f"gb-{name}-{os.getpid()}"
        self.socket = folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self._options = options
        self._dockerd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for left in _left_behind():
            _clear(left)
        run("ip", "netns", "add", self.name)
        inside = ("ip", "-n", self.name)
        # Both ends inside: an address that is not loopback, and no way out.
        run(*inside, "link", "add", "uplink", "type", "veth", "peer", "name", "nowhere")
        run(*inside, "address", "add", "10.79.0.1/24", "dev", "uplink")
        for link in ("lo", "uplink", "nowhere"):
            run(*inside, "link", "set", link, "up")
        try:
            data = self.folder / "data"
            data.mkdir()
            in_memory(data, self.name)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(subprocess.SubprocessError):
            self.docker("swarm", "leave", "--force")
        self.stop()
        _clear(self.name)
        unmount(self.folder)

    def start(self) -> None:
        """Start dockerd, and wait until it answers."""
        folders = {"--data-root": "data", "--exec-root": "exec", "--pidfile": "pid"}
        places = [part for option, name in folders.items() for part in (option, str(self.folder / name))]
        config = self.folder / "daemon.json"
        # By their control group what runs in containers is found even when a run was killed.
        config.write_text(json.dumps({"cgroup-parent": f"/{self.name}"}), encoding="utf-8")
        (self.folder / "resolv.conf").write_text("", encoding="ascii")
        dockerd = [str(find("dockerd")), *places, "-H", self.host, "--config-file", str(config), *self._options]
        namespaces = ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "--uts"]
        inside = ["sh", "-c", INSIDE, "sh", self.name, str(self.folder), *dockerd]
        with (self.folder / "dockerd.log").open("ab") as log:
            self._dockerd = subprocess.Popen(
                [*namespaces, *inside], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._until_it_answers()

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + _STARTED_S
        while time.monotonic() < deadline:
            assert self._dockerd is not None
            if self._dockerd.poll() is not None:
                break
            if self.socket.exists():
                with contextlib.suppress(subprocess.SubprocessError):
                    self.docker("version")
                    return
            time.sleep(0.05)
        log = (self.folder / "dockerd.log").read_text(encoding="utf-8", errors="replace")
        pytest.fail(f"dockerd does not run:\n{log[-2000:]}")

    def stop(self) -> None:
        """Stop dockerd; its containers end with it."""
        if self._dockerd is None:
            return
        self._dockerd.send_signal(signal.SIGTERM)
        try:
            self._dockerd.wait(_STOPPED_S)
        except subprocess.TimeoutExpired:
            self._dockerd.kill()
            self._dockerd.wait()
        self._dockerd = None

    def pause(self) -> None:
        """Let dockerd hang: it takes connections and says nothing."""
        assert self._dockerd is not None
        self._dockerd.send_signal(signal.SIGSTOP)
        # A thread that runs on another core stops a moment later, and could still answer.
        threads = Path(f"/proc/{self._dockerd.pid}/task")
        deadline = time.monotonic() + _STOPPED_S
        while any(_state(thread) != "T" for thread in threads.iterdir()):
            assert time.monotonic() < deadline, "dockerd does not stop"
            time.sleep(0.01)

    def resume(self) -> None:
        """Let it go on."""
        assert self._dockerd is not None
        self._dockerd.send_signal(signal.SIGCONT)

    def docker(self, *arguments: str, stdin: bytes | None = None) -> str:
        """What the Docker CLI prints."""
        docker = str(find("docker"))
        done = subprocess.run(
            [docker, "-H", self.host, *arguments], input=stdin, capture_output=True, timeout=120, check=False
        )
        if done.returncode:
            raise subprocess.SubprocessError(f"docker {' '.join(arguments)}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def make_swarm(self) -> None:
        """A swarm of this node alone."""
        self.docker("swarm", "init", "--advertise-addr", "10.79.0.1", "--task-history-limit", "5")

    def make_images(self) -> None:
        """The image HANDLERS."""
        self.docker(
            "import",
            "--change", "ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PATH=/usr/bin:/bin",
            "--change", f"ENTRYPOINT {json.dumps([_PYTHON, '/app/start.py'])}",
            "-", HANDLERS,
            stdin=_image(),
        )  # fmt: skip

    def make_base_image(self, name: str, wheels: Path) -> None:
        """An image to build Python functions on: this machine's Python with pip, and a folder of wheels for it."""
        self.docker(
            "import",
            "--change", "ENV PATH=/usr/bin:/bin PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels",
            "-", name,
            stdin=_base(wheels),
        )  # fmt: skip

    @contextlib.contextmanager
    def registry(self) -> Iterator[str]:
        """A registry that the engine reaches, and nobody else; its address."""
        require("docker-registry")
        address = "127.0.0.1:5000"
        config = self.folder / "registry.yml"
        storage = f"storage: {{filesystem: {{rootdirectory: {self.folder}/registry}}}}"
        config.write_text(f"version: 0.1\n{storage}\nhttp: {{addr: {address!r}}}\n", encoding="utf-8")
        log = self.folder / "registry.log"
        # Only started from within: whoever has the registry stands where they were.
        with log.open("ab") as sink, self.inside_namespace():
            serving = subprocess.Popen(
                [str(find("docker-registry")), "serve", str(config)], stdout=sink, stderr=sink, stdin=subprocess.DEVNULL
            )
        try:
            with self.inside_namespace():
                _until_it_listens(5000, serving, log)
            yield address
        finally:
            serving.terminate()
            serving.wait(_STOPPED_S)

    @contextlib.contextmanager
    def inside(self, container: str) -> Iterator[None]:
        """This thread's new sockets are in a container's network for as long as it lasts."""
        pid = self.docker("inspect", "--format", "{{.State.Pid}}", container)
        with _standing_in(Path(f"/proc/{pid}/ns/net")):
            yield

    @contextlib.contextmanager
    def inside_namespace(self) -> Iterator[None]:
        """This thread's new sockets are in the engine's own network for as long as it lasts."""
        with _standing_in(Path(f"/run/netns/{self.name}")):
            yield


@contextlib.contextmanager
def _standing_in(namespace: Path) -> Iterator[None]:
    with Path("/proc/self/ns/net").open("rb") as outside, namespace.open("rb") as network:
        _enter(network.fileno())
        try:
            yield
        finally:
            _enter(outside.fileno())


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _until_it_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTED_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    pytest.fail(f"nothing listens at port {port}:\n{log.read_text(errors='replace')[-2000:]}")


def _left_behind() -> list[str]:
    """The engines of tests that were killed: their names end with a process that is gone."""
    names = (line.split()[0] for line in run("ip", "netns", "list").splitlines() if line)
    ours = (re.fullmatch(r"gb-[a-z]+-([0-9]+)", name) for name in names)
    return [each[0] for each in ours if each is not None and not Path("/proc", each[1]).exists()]


def _clear(name: str) -> None:
    """Take away what is left of an engine."""
    end(lambda: pids_of(name), name)
    remove_namespace(name)
    remove_control_groups(name)
    for folder in mounted(name):
        unmount(folder)


def _state(thread: Path) -> str:
    """The letter of a thread's state (proc(5)), behind its name in brackets."""
    return (thread / "stat").read_text(encoding="utf-8").rpartition(") ")[2][0]


@functools.cache
def _image() -> bytes:
    """A root file system with this Python, its libraries, a shell and the function server."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        _add_python(archive)
        archive.add(str(Path(h11.__file__).parent), "/app/h11", filter=_wanted)
        runtime = Path(bridge.runtime.__file__).parent
        archive.add(str(runtime), "/app/bridge/runtime", filter=_wanted)
        archive.add(str(runtime.parent / "__init__.py"), "/app/bridge/__init__.py")
        _add_folders(archive, "tmp", "var/openfaas/secrets")
        start = tarfile.TarInfo("app/start.py")
        start.size = len(_START.encode())
        archive.addfile(start, io.BytesIO(_START.encode()))
    return raw.getvalue()


def _base(wheels: Path) -> bytes:
    """A root file system with this Python, pip, wheels, a shell and what Dockerfiles and commands call."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        _add_python(archive, *(str(find(program)) for program in _PROGRAMS))
        archive.add(str(Path(pip.__file__).parent), f"{sysconfig.get_path('stdlib')}/pip", filter=_wanted)
        archive.add(str(wheels), "/wheels")
        _add_folders(archive, "tmp", "etc")
    return raw.getvalue()


def _add_python(archive: tarfile.TarFile, *programs: str) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    shell = os.path.realpath("/bin/sh")
    parts = [
        path
        for path in stdlib.rglob("*.so")
        if not _LEFT_OUT & set(path.relative_to(stdlib).parts) and not path.name.startswith(_NOBODY_IMPORTS)
    ]
    for library in sorted(_libraries([_PYTHON, shell, *programs, *map(str, parts)])):
        archive.add(os.path.realpath(library), library)
    archive.add(_PYTHON, _PYTHON)
    archive.add(shell, "/bin/sh")
    for program in programs:
        archive.add(os.path.realpath(program), program)
    archive.add(str(stdlib), str(stdlib), filter=_wanted)
    python = tarfile.TarInfo("usr/bin/python3")
    python.type, python.linkname = tarfile.SYMTYPE, _PYTHON
    archive.addfile(python)


def _add_folders(archive: tarfile.TarFile, *names: str) -> None:
    for name in names:
        folder = tarfile.TarInfo(name)
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = Path(member.name).name
    if name in _LEFT_OUT or name.startswith(("config-", *_NOBODY_IMPORTS)):
        return None
    # Nobody starts Python with -O there.
    return None if name.endswith((".a", ".opt-1.pyc", ".opt-2.pyc")) else member


def _libraries(programs: Iterable[str]) -> set[str]:
    """What the dynamic linker loads for them (ldd(1)): `name => path (address)`, or the path alone."""
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    words = (word for line in listed.splitlines() for word in line.split() if word.startswith("/"))
    return {word for word in words if not word.endswith(":")}
