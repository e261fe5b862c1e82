"""The bus and its master: which thermometers are there, and converting them all at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bridge.agent.models import Ds18b20 as Model
from bridge.virtual.one_wire.files import Reading, replace_text, written
from bridge.virtual.one_wire.thermometer import READ, Ds18b20

_LOOK_S: Final = 0.05
"""How often somebody looks what was written into the files, in real time."""
_MASTER: Final = "w1_bus_master1"


class OneWireBus:
    """The tree under one folder (the kernel's is `/sys/bus/w1/devices`).

    In real time a reader waits as long as a conversion takes, and what is written into a file is obeyed soon. Without
    `threads`, on a virtual clock, both happen in `read`, which tells how long a reading would have taken.
    """

    def __init__(self, root: Path, *, now_s: Callable[[], float], threads: bool = True) -> None:
        self.root = root
        self._now_s = now_s
        self._threads = threads
        self._master = root / _MASTER
        self._master.mkdir(parents=True, exist_ok=True)
        self._bulk = self._master / "therm_bulk_read"
        self._thermometers: dict[str, Ds18b20] = {}
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._lock = threading.Lock()
        self._there()

    def thermometer(self, address: str, celsius: float = 21.0, model: Model | None = None) -> Ds18b20:
        """The thermometer of this address (`28-...`); put on the bus when it is first asked for."""
        if address not in self._thermometers:
            made = Ds18b20(
                self.root / address, celsius, model, now_s=self._now_s, threads=self._threads, moved=self._there
            )
            self._thermometers[address] = made
            self._there()
            if model is not None and self._threads and self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="virtual 1-Wire bus", daemon=True)
                self._watcher.start()
        return self._thermometers[address]

    def read(self, file: Path) -> Reading:
        """What a file says to somebody who reads it now, and how long he waits; without threads only.

        Raises FileNotFoundError.
        """
        self.look()  # who triggered a conversion of all wants to read it afterwards
        thermometer = self._thermometers.get(file.parent.name)
        if thermometer is not None and thermometer.waits and file.name in READ and file.exists():
            reading = thermometer.answer(file.name)
            self.look()
            return reading
        return Reading(file.read_text(encoding="ascii", errors="replace"))

    def look(self) -> None:
        """Obey what was written into the files since the last time."""
        with self._lock:
            for thermometer in self._thermometers.values():
                thermometer.look()
            there = [one for one in self._thermometers.values() if one.obeys]
            if not there:
                return
            said = written(self._bulk)  # once: what is written meanwhile is obeyed the next time, not overwritten
            if said == "trigger":
                longest_s = max(one.waiting_s for one in there)
                for one in there:
                    one.convert_in_bulk(longest_s)
            states = {one.bulk for one in there}
            state = "-1" if -1 in states else "1" if 1 in states else "0"
            if said != state:
                replace_text(self._bulk, f"{state}\n")

    def close(self) -> None:
        """Let go of readers that still wait."""
        self._closed.set()
        if self._watcher is not None:
            self._watcher.join()
        for thermometer in self._thermometers.values():
            thermometer.close()

    def _there(self) -> None:
        """Show who is on the bus; only then there is something to convert."""
        there = [address for address, one in self._thermometers.items() if one.there]
        with self._lock:
            replace_text(self._master / "w1_master_slaves", "\n".join(there or ["not found."]) + "\n")
            if not there:
                self._bulk.unlink(missing_ok=True)
            elif not self._bulk.exists():
                replace_text(self._bulk, "0\n")

    def _watch(self) -> None:
        while not self._closed.wait(_LOOK_S):
            self.look()
