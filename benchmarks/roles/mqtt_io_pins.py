"""The pins of mqtt-io: its own program, unchanged, on gpiozero's mock pins, and a thread that toggles them when asked.

It runs in the environment that mqtt-io is installed in. Its gpiozero module takes whatever pin factory gpiozero has.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from mqtt_io.__main__ import main as mqtt_io

from benchmarks.roles.toggling import toggle


def main(config: Path, pins: list[int]) -> None:
    """Run until SIGTERM."""
    factory = Device.pin_factory = MockFactory()
    wires = [factory.pin(pin) for pin in pins]  # a button has a pull-up: low is on
    changes = [wire.drive_low for wire in wires] + [wire.drive_high for wire in wires]
    threading.Thread(target=toggle, args=(changes,), name="toggler", daemon=True).start()
    sys.argv = ["mqtt_io", str(config)]
    mqtt_io()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("pins", type=int, nargs="+")
    arguments = parser.parse_args()
    main(arguments.config, arguments.pins)
