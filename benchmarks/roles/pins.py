"""The pins: a virtual Pi exactly as `gpio-bridge agent` runs one, and a thread that toggles its pins when asked."""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from functools import partial
from pathlib import Path

from gpiozero import DigitalInputDevice

from benchmarks.roles.calls import Calls
from benchmarks.roles.conversation import Answer, Command
from benchmarks.roles.toggling import toggle
from bridge.agent.sensors.digital import Digital
from bridge.agent.settings import AgentSettings
from bridge.cli.logs import configure
from bridge.cli.run import run_program
from bridge.clock import RealClock
from bridge.config import load
from bridge.mqtt.paho import connector
from bridge.virtual.factory import VirtualFactory
from bridge.virtual.node import VirtualNode


def _bare(command: Command) -> Answer:
    """How long a mock pin of its own and gpiozero take for so many edges when the callback only counts."""
    seen, count = 0, int(command["count"])

    def changed() -> None:
        nonlocal seen
        seen += 1

    factory = VirtualFactory(time.monotonic)
    with DigitalInputDevice(4, pin_factory=factory) as device:
        device.when_activated = device.when_deactivated = changed
        pin = factory.pin(4)
        began = time.thread_time()
        for i in range(count):
            pin.hold(high=not i % 2)
        took = time.thread_time() - began
    if seen != count:
        raise ValueError(f"{count} edges made {seen} callbacks")
    return {"seconds": took}


def main(config: Path) -> int:
    """Run until SIGTERM."""
    configure("warning", default="warning")
    settings = load(config, AgentSettings)

    def make(clock: RealClock) -> VirtualNode:
        return VirtualNode(settings, clock=clock, connect=connector(settings.mqtt, clock))

    def started(node: VirtualNode) -> None:
        # The pins themselves, as with every peer: a virtual Pi's words for people are no part of an edge.
        digital = [each for each in settings.sensors.values() if isinstance(each, Digital)]
        wires = [node.board.pin_factory.pin(each.pin.bcm) for each in digital]
        changes = [wire.drive_high for wire in wires] + [wire.drive_low for wire in wires]
        calls = Calls(asyncio.get_running_loop())
        asked = partial(toggle, changes, {"bare": _bare, "begin": calls.begin, "end": calls.end})
        threading.Thread(target=asked, name="toggler", daemon=True).start()

    return run_program(make, settings.clock, started=started)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    sys.exit(main(parser.parse_args().config))
