"""Node-RED from npm: a flow of two nodes, `mqtt in` and `http request`, with kept-alive connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.installing import node_with
from benchmarks.peers.peer import Peer, Place, written
from benchmarks.processes import Child
from bridge.broker import free_port

VERSION = "5.0.7"
_LEAST_NODE = (22, 9)
_SETTINGS = """module.exports = {{
  flowFile: "flows.json", uiHost: "127.0.0.1", uiPort: {port}, disableEditor: true, credentialSecret: false,
  telemetry: {{ enabled: false }}, externalModules: {{ autoInstall: false }},
  logging: {{ console: {{ level: "warn", metrics: false, audit: false }} }}
}}
"""


def _install() -> tuple[Path, Path]:
    return node_with("node-red", [f"node-red@{VERSION}"], least=_LEAST_NODE, fallback="node@22.23.3")


@contextmanager
def _start(place: Place) -> Iterator[Child]:
    node, prefix = _install()
    user = place.folder / "node-red"
    user.mkdir(exist_ok=True)  # it may have been killed, and be started again
    (user / "settings.js").write_text(_SETTINGS.format(port=free_port()), encoding="utf-8")
    written(user / "flows.json", _flow(place))
    script = prefix / "node_modules" / "node-red" / "red.js"
    command = [str(node), str(script), "--userDir", str(user), "--settings", str(user / "settings.js")]
    with Child(command, place.folder / "node-red.log", environment={"NODE_ENV": "production"}) as child:
        yield child


def _flow(place: Place) -> list[dict[str, object]]:
    broker = {
        "id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(place.broker_port),
        "clientid": "peer-node-red", "autoConnect": True, "usetls": False, "protocolVersion": "5", "keepalive": "60",
        "cleansession": False, "sessionExpiry": "3600", "autoUnsubscribe": False,
    }  # fmt: skip
    received = {
        "id": "received", "type": "mqtt in", "z": "flow", "topic": place.topic, "qos": "1", "datatype": "utf8",
        "broker": "broker", "inputs": 0, "wires": [["posted"]],
    }  # fmt: skip
    posted = {
        "id": "posted", "type": "http request", "z": "flow", "method": "POST", "ret": "txt", "paytoqs": "ignore",
        "url": place.url, "persist": True, "headers": [], "wires": [[]],
    }  # fmt: skip
    return [{"id": "flow", "type": "tab", "label": "events"}, broker, received, posted]


NODE_RED = Peer(
    f"Node-RED {VERSION}",
    _start,
    _install,
    share=0.25,
    told="Node-RED: persistent session, QoS 1, kept-alive connections, as many requests at a time as come; no retry.",
)
