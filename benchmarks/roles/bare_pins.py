"""The bare script: what somebody writes in ten lines: gpiozero's callbacks publish with paho. Nothing is kept.

It is the floor below which no program with these two libraries can be.
"""

from __future__ import annotations

import argparse
from functools import partial

from gpiozero import Button, Device
from gpiozero.pins.mock import MockFactory
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.roles.toggling import toggle


def main(port: int, pins: list[int]) -> None:
    """Publish edges at QoS 1 until the input ends."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    client.max_inflight_messages_set(1000)
    client.connect("127.0.0.1", port)
    client.loop_start()
    factory = Device.pin_factory = MockFactory()
    buttons = [Button(pin) for pin in pins]
    for pin, button in zip(pins, buttons, strict=True):
        button.when_pressed = partial(client.publish, f"bare/{pin}", "ON", qos=1)
        button.when_released = partial(client.publish, f"bare/{pin}", "OFF", qos=1)
    wires = [factory.pin(pin) for pin in pins]
    toggle([wire.drive_low for wire in wires] + [wire.drive_high for wire in wires])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("pins", type=int, nargs="+")
    arguments = parser.parse_args()
    main(arguments.port, arguments.pins)
