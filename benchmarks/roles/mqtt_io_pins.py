"""The pins of mqtt-io: its own program, unchanged, on gpiozero's mock pins, and a thread that toggles them when asked.

It runs in the environment that mqtt-io is installed in. Its gpiozero module takes whatever pin factory gpiozero has.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

from gpiozero import Device
from gpiozero.pins.mock import MockFactory
from mqtt_io.__main__ import main as mqtt_io

from benchmarks.roles.toggling import toggle

_POLL_S = 0.01


def main(config: Path, pins: list[int]) -> None:
    """Run until SIGTERM."""
    factory = Device.pin_factory = MockFactory()
    wires = [factory.pin(pin) for pin in pins]

    def toggle_buttons() -> None:
        # A button pulls its pin up, which would undo what was done to the pin before.
        while any(wire.pull != "up" for wire in wires):
            time.sleep(_POLL_S)
        toggle([wire.drive_low for wire in wires] + [wire.drive_high for wire in wires])

    threading.Thread(target=toggle_buttons, name="toggler", daemon=True).start()
    sys.argv = ["mqtt_io", str(config)]
    mqtt_io()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("pins", type=int, nargs="+")
    arguments = parser.parse_args()
    main(arguments.config, arguments.pins)
