"""A real Mosquitto for tests, on a port of its own, which can be killed, paused, restarted and made to forget."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from bridge.broker import mosquitto_config
from bridge.mqtt.settings import MqttSettings
from tests.ports import free_port
from tests.real_parts import find, require

START_S = 60.0


class Mosquitto:
    """A broker with the configuration that we ship; a context manager. Blocks for some 50 ms at each start.

    `access` replaces the lines that say who may connect (default: everybody, without TLS).
    """

    def __init__(self, folder: Path, *, access: Sequence[str] = ("allow_anonymous true",), save_s: int = 1) -> None:
        require("mosquitto")
        self.host = "127.0.0.1"
        self.port = free_port()
        self.store = folder / "mosquitto-store"
        self.log = folder / "mosquitto.log"
        self.access = tuple(access)
        self._config = folder / "mosquitto.conf"
        self._save_s = save_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> MqttSettings:
        """How a transport reaches this broker, with short pauses."""
        return MqttSettings(host=self.host, port=self.port, reconnect_max_s=0.5, connect_timeout_s=5)

    @property
    def pid(self) -> int:
        """The broker's process."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        assert self._process is None, "the broker is running"
        self.store.mkdir(exist_ok=True)
        config = mosquitto_config(self.host, self.port, self.store, self.access, save_s=self._save_s)
        self._config.write_text(config, encoding="utf-8")
        mosquitto, setpriv = find("mosquitto"), find("setpriv")
        assert mosquitto is not None
        command = [mosquitto, "-c", str(self._config)]
        if setpriv is not None and threading.current_thread() is threading.main_thread():
            # The kernel ends it with the thread that started it: none is left when a run is killed.
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
            except OSError:
                ended = self._process.poll() is not None
                assert not ended, f"mosquitto ended at once: {self.log.read_text()}"
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End it in order: it saves its store."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with SIGKILL: what it has not saved is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start it again on the same port, after ending it in order if it still runs."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop its process without ending it: connections stay open, nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Make it read its access list again (SIGHUP)."""
        self._signal(signal.SIGHUP)

    def wipe(self) -> None:
        """Make a stopped broker forget its sessions, queues and retained messages."""
        assert self._process is None, "stop or kill the broker first"
        shutil.rmtree(self.store, ignore_errors=True)

    def saved(self) -> None:
        """Make it save its store now (SIGUSR1), and wait until it has."""
        database = self.store / "mosquitto.db"
        before = database.stat().st_mtime_ns if database.exists() else 0
        self._signal(signal.SIGUSR1)
        deadline = time.monotonic() + START_S
        while not database.exists() or database.stat().st_mtime_ns <= before:
            assert time.monotonic() < deadline, "mosquitto does not save its store"
            time.sleep(0.01)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the broker is not running"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        if number is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)  # a paused one cannot end in order; a killed one must not go on
        self._process.wait(START_S)
        self._process = None
