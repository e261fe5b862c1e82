"""The pins: a virtual Pi exactly as `gpio-bridge agent` runs one, and a thread that toggles its pins when asked."""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from pathlib import Path

from gpiozero import DigitalInputDevice

from benchmarks.roles.conversation import Command, commands, say
from bridge.agent.settings import AgentSettings
from bridge.cli.logs import configure
from bridge.cli.run import run_program
from bridge.clock import RealClock
from bridge.config import load
from bridge.mqtt.paho import connector
from bridge.virtual.factory import VirtualFactory
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
        if command["do"] == "bare":
            say(seconds=_bare(int(command["count"])))
        else:
            say(at_ns=toggler.toggle(command))


def _bare(count: int) -> float:
    """How long a mock pin of its own and gpiozero take for so many edges when the callback only counts."""
    seen = 0

    def changed() -> None:
        nonlocal seen
        seen += 1

    factory = VirtualFactory()
    with DigitalInputDevice(4, pin_factory=factory) as device:
        device.when_activated = device.when_deactivated = changed
        pin = factory.pin(4)
        began = time.thread_time()
        for i in range(count):
            pin.hold(high=not i % 2)
        took = time.thread_time() - began
    if seen != count:
        raise ValueError(f"{count} edges made {seen} callbacks")
    return took


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
