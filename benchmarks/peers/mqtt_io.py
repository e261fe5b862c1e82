"""mqtt-io from PyPI: digital inputs with interrupts, through its gpiozero module, on gpiozero's mock pins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.installing import python_with
from benchmarks.peers.peer import AgentPeer, written
from benchmarks.processes import Role

VERSION = "2.7.0"
_REQUIREMENTS = (f"mqtt-io=={VERSION}", "aiomqtt==2.5.1", "paho-mqtt==2.2.0", "gpiozero==2.0.1.post3")


def _install() -> Path:
    return python_with("mqtt-io", _REQUIREMENTS)


@contextmanager
def _start(folder: Path, broker_port: int, pins: Sequence[int]) -> Iterator[Role]:
    settings = {
        "mqtt": {"host": "127.0.0.1", "port": broker_port, "topic_prefix": "mqtt-io", "client_id": "peer-mqtt-io"},
        "options": {"install_requirements": False},
        "gpio_modules": [{"name": "pins", "module": "gpiozero"}],
        "digital_inputs": [{"name": f"pin-{pin}", "module": "pins", "pin": pin, "interrupt": "both"} for pin in pins],
        "logging": {"version": 1},  # its default writes a line for every edge
    }
    config = written(folder / "mqtt-io.json", settings)
    with Role("mqtt_io_pins", folder, str(config), *(str(pin) for pin in pins), python=_install()) as role:
        yield role


MQTT_IO = AgentPeer(
    f"mqtt-io {VERSION}",
    _start,
    "mqtt-io/input/+",
    _install,
    told="mqtt-io: interrupts instead of polling, persistent session; it publishes at QoS 0.",
)
