"""The embedded broker of a laptop: an installed Mosquitto, or iotcore from pip, as a supervised child process.

It serves this machine only, without passwords; a cluster has a broker of its own (see `stack/`).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final, Literal, Self

from bridge.config.hosts import is_loopback
from bridge.errors import BrokerError

_log = logging.getLogger(__name__)

Kind = Literal["auto", "mosquitto", "iotcore"]

READY_S: Final = 10.0
STOP_S: Final = 5.0
_POLL_S: Final = 0.02
_SHOWN_BYTES: Final = 800

# Runs before the broker in its process: asks the kernel to kill it when we die, however that happens (prctl(2),
# PR_SET_PDEATHSIG = 1; it survives execve), then becomes the broker. Elsewhere than on Linux there is no such call.
_GUARD: Final = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_mosquitto() -> Path | None:
    """The installed Mosquitto; Debian puts it where an ordinary user's PATH does not look."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return Path(found) if found else None


def mosquitto_config(
    host: str, port: int, store: Path, access: Sequence[str] = ("allow_anonymous true",), *, save_s: int = 1
) -> str:
    """Mosquitto's configuration where its defaults would lose data quietly (mosquitto.conf(5)).

    By default nothing is kept on disk, a client's queue holds 1000 messages and drops further ones in silence, and 20
    are in flight. `save_s` bounds what a kill -9 can lose. `access` says who may connect and over what.
    """
    lines = [
        f"listener {port} {host}",
        *access,
        "persistence true",
        f"persistence_location {store}/",
        f"autosave_interval {save_s}",
        "max_queued_messages 100000",
        "max_queued_bytes 268435456",
        "max_inflight_messages 1000",
        "persistent_client_expiration 30d",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it would drop to a user that may not write to the store
    return "\n".join(lines) + "\n"


def iotcore_config(host: str, port: int, port_5: int) -> str:
    """The configuration of iotcore's broker (rumqttd), whose MQTT 5 has a port of its own."""
    address = "127.0.0.1" if host == "localhost" else f"[{host}]" if ":" in host else host
    listeners = "".join(
        f"[{version}.1]\n"
        f'name = "{version}"\n'
        f'listen = "{address}:{number}"\n'
        "next_connection_delay_ms = 1\n"
        f"[{version}.1.connections]\n"
        "connection_timeout_ms = 60000\n"
        "max_payload_size = 1048576\n"
        "max_inflight_count = 1000\n"
        "dynamic_filters = true\n"
        for version, number in (("v4", port), ("v5", port_5))
    )
    return (
        "id = 0\n"
        "[router]\n"
        "id = 0\n"
        "max_connections = 1000\n"
        "max_outgoing_packet_count = 2000\n"
        "max_segment_size = 104857600\n"
        "max_segment_count = 10\n"
    ) + listeners


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """A broker for this machine: entering starts it and returns when it accepts connections, leaving stops it.

    `port` 0 picks a free one; afterwards `port` says which. `port_5` is where MQTT 5 is spoken. What must survive
    (Mosquitto only) lies in `state_dir`. Entering raises BrokerError when the broker cannot be started.
    """

    def __init__(self, kind: Kind, host: str, port: int, state_dir: Path) -> None:
        self.kind: Kind = kind
        self.host = host
        self.port = port
        self.port_5 = port
        self.description = "no broker yet"
        self._state_dir = state_dir
        self._program: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def _store(self) -> Path:
        """What of Mosquitto survives."""
        return self._state_dir / "mosquitto"

    @property
    def pid(self) -> int | None:
        """The process of the broker, while there is one."""
        return self._process.pid if self._process is not None else None

    async def __aenter__(self) -> Self:
        if not is_loopback(self.host):
            raise BrokerError(
                f"the embedded broker asks for no password and serves this machine only, so it does not listen on"
                f" {self.host}; use 127.0.0.1, or set up a Mosquitto with users"
            )
        self._program = self._choose()
        try:
            self.port = self.port or free_port(self.host)
            self.port_5 = self.port if self._program is not None else free_port(self.host)
        except OSError as error:
            raise BrokerError(f"the embedded broker finds no free port on {self.host}: {error}") from error
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it (again) on its ports, with what its store holds; nothing where it runs. Raises BrokerError."""
        if self._process is not None:
            return
        try:
            self._state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_free(self.host, self.port)
            if self._program is not None:
                self._start_mosquitto(self._program)
            else:
                self._start_iotcore()
        except OSError as error:
            raise BrokerError(f"the embedded broker cannot be started in {self._state_dir}: {error}") from error
        try:
            await self._ready()
        except BaseException:
            await self.stop()
            raise
        _log.info(
            "embedded broker started", extra={"op": "broker.start", "broker": self.description, "port": self.port}
        )

    async def stop(self) -> None:
        """SIGTERM, so that Mosquitto saves its store, then SIGKILL; `failed` does not take this for a failure."""
        process, self._stopping = self._process, True
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + STOP_S
            if process.poll() is None:
                process.send_signal(number)
            while process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - as above
                await asyncio.sleep(_POLL_S)
        if process.stdin is not None:
            process.stdin.close()
        self._process = None

    async def forget(self) -> None:
        """Let it lose its store, with sessions, queues and retained messages; it runs afterwards."""
        await self.stop()
        try:
            if self._store.exists():
                await asyncio.to_thread(shutil.rmtree, self._store)
        except OSError as error:
            raise BrokerError(f"the embedded broker's store {self._store} cannot be removed: {error}") from error
        finally:
            await self.start()

    async def failed(self) -> None:
        """Wait until the broker ends by itself, and raise BrokerError; forever while it runs."""
        while self._stopping or self._process is None or self._process.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.2)
        raise BrokerError(
            f"the embedded broker ended by itself ({_ending(self._process.returncode)}); {self._last_words()}"
        )

    def _choose(self) -> Path | None:
        """Mosquitto's program, or None for iotcore; says in `description` which and why."""
        mosquitto = find_mosquitto() if self.kind in ("auto", "mosquitto") else None
        if mosquitto is not None:
            self.description = f"Mosquitto {_mosquitto_version(mosquitto)} (installed)"
            return mosquitto
        if self.kind == "mosquitto":
            raise BrokerError("Mosquitto is not installed; install it: sudo apt-get install mosquitto")
        if importlib.util.find_spec("iotcore") is None:
            raise BrokerError(
                "there is no broker to start; install one: sudo apt-get install mosquitto, or: pip install iotcore"
            )
        version = importlib.metadata.version("iotcore")
        self.description = f"iotcore {version} (from pip; nothing survives its restart)"
        if self.kind == "auto":
            _log.info(
                "no Mosquitto is installed, so the embedded broker is iotcore",
                extra={"op": "broker.choose", "broker": self.description},
            )
        return None

    def _start_mosquitto(self, program: Path) -> None:
        self._store.mkdir(exist_ok=True, mode=0o700)
        config = self._state_dir / "mosquitto.conf"
        config.write_text(mosquitto_config(self.host, self.port, self._store.resolve()), encoding="utf-8")
        self._spawn([str(program), "-c", str(config)])

    def _start_iotcore(self) -> None:
        config = self._state_dir / "iotcore.toml"
        config.write_text(iotcore_config(self.host, self.port, self.port_5), encoding="utf-8")
        # Its own entry point for a child process: it ends when its standard input is closed.
        options = json.dumps({"config_path": str(config)})
        self._spawn([sys.executable, "-m", "iotcore._serve", options])

    def _spawn(self, command: Sequence[str]) -> None:
        with self._log_file("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the programs found here, no input of others
                [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop the broker last of all
            )
        self._stopping = False

    async def _ready(self) -> None:
        deadline = time.monotonic() + READY_S
        assert self._process is not None
        for port in {self.port, self.port_5}:
            while not _accepts(self.host, port):
                if self._process.poll() is not None:
                    raise BrokerError(
                        f"the embedded broker on port {port} ended at once ({_ending(self._process.returncode)});"
                        f" {self._last_words()}"
                    )
                if time.monotonic() > deadline:
                    raise BrokerError(
                        f"the embedded broker did not listen on port {port} within {READY_S:g} s; {self._last_words()}"
                    )
                await asyncio.sleep(_POLL_S)

    def _log_file(self, mode: Literal["rb", "wb"]) -> IO[bytes]:
        return (self._state_dir / "broker.log").open(mode)

    def _last_words(self) -> str:
        with self._log_file("rb") as file:
            said = file.read()[-_SHOWN_BYTES:].decode("utf-8", "replace").strip()
        return f"it said: {said}" if said else "it said nothing"


def _check_free(host: str, port: int) -> None:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise BrokerError(f"port {port} needs administrator rights; choose one above 1023") from error
        except OSError as error:
            raise BrokerError(
                f"the embedded broker cannot listen on port {port} of {host}: {error.strerror}; another broker may be"
                f" running there (stop it, such as with: sudo systemctl stop mosquitto), or give another port"
            ) from error


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.2).close()
    except OSError:
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _mosquitto_version(program: Path) -> str:
    """What `mosquitto -h` says of itself; it has no option for the version alone, and exits with 3."""
    command = [str(program), "-h"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - as above
    found = re.search(r"version (\S+)", shown.stdout)
    return found.group(1) if found else "of unknown version"


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"
