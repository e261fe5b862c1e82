"""The lab's registry of images: Debian's docker-registry, on the lab's bridge and with a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import Final

from tests.lab.machine import alive, spawn, until
from tests.lab.plan import LabPlan
from tests.real_parts import find

_STARTED_S: Final = 15.0
_STOPPED_S: Final = 5.0


class Registry:
    """One registry process; every engine of the lab takes images from it without TLS."""

    def __init__(self, plan: LabPlan) -> None:
        self.address = plan.registry
        self.folder = plan.folder / "registry"
        self._config = plan.folder / "registry.yml"
        self._log = plan.folder / "registry.log"
        self._pid_file = plan.folder / "registry.pid"

    @property
    def running(self) -> bool:
        return alive(self._pid_file, str(self._config)) is not None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.folder.mkdir(exist_ok=True)
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder)}},
            "http": {"addr": self.address},
        }
        self._config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        serve = 'echo $$ >"$1"; shift; exec "$@"'
        spawn(("sh", "-c", serve, "sh", self._pid_file, str(find("docker-registry")), "serve", self._config), self._log)
        until(self._answers, f"the registry answers at {self.address}", _STARTED_S, self._last_words)

    def stop(self) -> None:
        """End it, if it runs."""
        pid = alive(self._pid_file, str(self._config))
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            until(lambda: not self.running, "the registry ends", _STOPPED_S)

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((host, int(port))) == 0

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
