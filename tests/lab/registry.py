"""The lab's registry of images: Debian's docker-registry, on the lab's bridge and with a folder of its own."""

from __future__ import annotations

import json
import socket
from typing import Final

from tests.lab.machine import end, spawn, until, with_arguments
from tests.lab.plan import LabPlan
from tests.real_parts import find

_STARTED_S: Final = 15.0


class Registry:
    """One registry process; every engine of the lab takes images from it without TLS."""

    def __init__(self, plan: LabPlan) -> None:
        self.address = plan.registry
        self.folder = plan.folder / "registry"
        self._config = plan.folder / "registry.yml"
        self._log = plan.folder / "registry.log"

    @property
    def running(self) -> bool:
        return bool(self._pids())

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
        spawn((str(find("docker-registry")), *self._ending), self._log)
        until(self._answers, f"the registry answers at {self.address}", _STARTED_S, self._last_words)

    def stop(self) -> None:
        """End it, if it runs."""
        end(self._pids, "the registry")

    @property
    def _ending(self) -> tuple[str, str]:
        """What the command line of our registry, and of no other program, ends with."""
        return "serve", str(self._config)

    def _pids(self) -> set[int]:
        return with_arguments(*self._ending)

    def _answers(self) -> bool:
        host, _, port = self.address.partition(":")
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return self.running and probe.connect_ex((host, int(port))) == 0

    def _last_words(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
