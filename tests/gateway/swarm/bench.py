"""The bench whose gateway runs functions on a real swarm of one node, from inside of the functions' network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bridge.gateway.settings import HealthSettings, SwarmSettings
from tests.docker_engine import HANDLERS, DockerEngine
from tests.gateway.workbench import ECHO, Bench

NETWORK = "gpio-bridge-functions"
STANDING = "gateway"
"""The container in whose network tests stand."""


def prepare(engine: DockerEngine) -> None:
    """What every test of the backend needs of an engine."""
    engine.make_swarm()
    engine.make_images()
    engine.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    stand(engine)


def stand(engine: DockerEngine) -> None:
    """Start the container in whose network tests stand."""
    wait = ["python3", "-c", "import time; time.sleep(1e9)"]
    engine.docker(
        *("run", "--detach", "--name", STANDING, "--network", NETWORK, "--init", "--entrypoint", wait[0], HANDLERS),
        *wait[1:],
    )


class SwarmBench(Bench):
    """Deploys handlers by the image that runs the code in a variable."""

    def __init__(self, folder: Path, engine: DockerEngine) -> None:
        super().__init__(folder)
        self.engine = engine
        self.changes: dict[str, Any] = {
            "backend": "swarm",
            "swarm": SwarmSettings(
                host=engine.host,
                timeout_s=3.0,
                start_s=20.0,
                restart_delay_s=0.5,
                monitor_s=1.0,
                stop_grace_s=2.0,
                # As patient as by default: on a busy machine Swarm must not end replicas that are well, but slow.
                health=HealthSettings(every_s=1.0, timeout_s=10.0, start_s=60.0, retries=5),
            ),
        }

    async def start(self, **changes: Any) -> Any:
        return await super().start(**(self.changes | changes))

    def deployment(self, name: str, code: str = ECHO, **parts: Any) -> dict[str, Any]:
        variables = {"handler_code": code, **parts.pop("envVars", {})}
        return {"service": name, "image": HANDLERS, "envVars": variables, **parts}

    def service(self, name: str) -> Any:
        return json.loads(self.engine.docker("service", "inspect", name))[0]

    def pids(self, name: str) -> list[Any]:
        return self.containers(name)

    def containers(self, name: str) -> list[str]:
        label = f"label=com.docker.swarm.service.name={name}"
        return self.engine.docker("ps", "--quiet", "--filter", label).split()

    def clear(self) -> None:
        """Remove what a test has left."""
        for kind in ("service", "secret"):
            found = self.engine.docker(kind, "ls", "--quiet").split()
            if found:
                self.engine.docker(kind, "rm", *found)
