"""mqttwarn from PyPI: one section that POSTs every message through its `http` service, with a pool of workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.installing import python_with
from benchmarks.peers.peer import Peer, Place
from benchmarks.processes import Child

VERSION = "0.36.1"
_WORKERS = 32
_SETTINGS = """[defaults]
hostname = '127.0.0.1'
port = {port}
clientid = 'peer-mqttwarn'
cleansession = False
protocol = 4
loglevel = 'ERROR'
logfile = 'stream://sys.stderr'
num_workers = {workers}
launch = http

[config:http]
targets = {{'sink': ['post', '{url}', None, None, True]}}

[events]
topic = {topic}
qos = 1
targets = http:sink
"""


def _install() -> Path:
    return python_with("mqttwarn", [f"mqttwarn=={VERSION}", "paho-mqtt==1.6.1"])


@contextmanager
def _start(place: Place) -> Iterator[Child]:
    config = place.folder / "mqttwarn.ini"
    text = _SETTINGS.format(port=place.broker_port, workers=_WORKERS, url=place.url, topic=place.topic)
    config.write_text(text, encoding="utf-8")
    command = [str(_install()), "-m", "mqttwarn", f"--config-file={config}"]
    with Child(command, place.folder / "mqttwarn.log", environment={"MQTTWARNINI": str(config)}) as child:
        yield child


MQTTWARN = Peer(
    f"mqttwarn {VERSION}",
    _start,
    _install,
    share=0.1,
    told=f"mqttwarn: persistent session, QoS 1, {_WORKERS} workers; it has no retry.",
)
