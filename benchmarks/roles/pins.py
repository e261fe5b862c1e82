"""The pins: a virtual Pi exactly as `gpio-bridge agent` runs one, and a thread that toggles its pins when asked."""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from pathlib import Path

from benchmarks.roles.conversation import Command, commands, say
from bridge.agent.settings import AgentSettings
from bridge.cli.logs import configure
from bridge.cli.run import run_program
from bridge.clock import RealClock
from bridge.config import load
from bridge.mqtt.paho import connector
from bridge.virtual.node import VirtualNode


class Toggler:
    """Turns sensors on and off, one after the other, and remembers when."""

    def __init__(self, node: VirtualNode) -> None:
        self._board = node.board
        self._wishes = itertools.cycle([(sensor, value) for value in ("on", "off") for sensor in node.board.devices])

    def toggle(self, command: Command) -> list[int]:
        """Toggle `count` times, `interval_s` apart or (0) without a pause; just before each, in ns since the epoch."""
        at_ns, interval_s = [], float(command["interval_s"])
        due = time.monotonic()
        for _ in range(int(command["count"])):
            if interval_s:
                time.sleep(max(0.0, due - time.monotonic()))
                due += interval_s
            sensor, value = next(self._wishes)
            at_ns.append(time.time_ns())
            self._board.drive_now(sensor, value)
        return at_ns


def _obey(toggler: Toggler) -> None:
    say(ready=True)
    for command in commands():
        say(at_ns=toggler.toggle(command))


def main(config: Path) -> int:
    """Run until SIGTERM."""
    configure("warning", default="warning")
    settings = load(config, AgentSettings)

    def make(clock: RealClock) -> VirtualNode:
        return VirtualNode(settings, clock=clock, connect=connector(settings.mqtt, clock))

    def started(node: VirtualNode) -> None:
        threading.Thread(target=_obey, args=(Toggler(node),), name="toggler", daemon=True).start()

    return run_program(make, settings.clock, started=started)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    sys.exit(main(parser.parse_args().config))
