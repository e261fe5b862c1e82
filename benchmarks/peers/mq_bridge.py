"""mq-bridge from PyPI: its Rust core runs one route from MQTT to HTTP, with its retry middleware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.installing import python_with
from benchmarks.peers.peer import Peer, Place, written
from benchmarks.processes import Child

VERSION = "1.2.0"
_IN_FLIGHT = 32


def _install() -> Path:
    return python_with("mq-bridge", [f"mq-bridge=={VERSION}"])


@contextmanager
def _start(place: Place) -> Iterator[Child]:
    route = {
        "input": {
            "mqtt": {
                "url": f"mqtt://127.0.0.1:{place.broker_port}",
                "topic": place.topic,
                "client_id": "peer-mq-bridge",
                "qos": 1,
                "clean_session": False,
                "session_expiry_interval": 3600,
                "delayed_ack": False,  # its documentation: False acknowledges after processing, True on receipt
                "max_inflight": 1000,
                # With less than what waits at the broker it never gets its SUBACK after a restart.
                "queue_capacity": 100_000,
            }
        },
        "output": {
            "http": {"url": place.url, "batch_concurrency": _IN_FLIGHT},
            "middlewares": [{"retry": {"max_attempts": 20}}],
        },
    }
    config = written(place.folder / "mq-bridge.json", route)
    command = [str(_install()), "-m", "benchmarks.peers.programs.mq_bridge_route", str(config)]
    with Child(command, place.folder / "mq-bridge.log") as child:
        yield child


MQ_BRIDGE = Peer(
    f"mq-bridge {VERSION}",
    _start,
    _install,
    told=f"mq-bridge: persistent session, QoS 1 acknowledged after processing, {_IN_FLIGHT} requests at a time, retry.",
)
