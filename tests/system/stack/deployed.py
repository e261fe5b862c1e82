"""The whole stack on a lab's swarm, deployed as its owner would, in a folder of their own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from tests.lab import installed
from tests.lab.lab import Lab
from tests.lab.machine import LabError, until
from tests.system.processes import COMMAND, environment

STACK: Final = "gpio-bridge"
SERVICES: Final = ("broker", "dispatcher", "gateway", "manager", "engine-door", "prometheus", "alertmanager")
VOLUMES: Final = sorted(
    {f"{STACK}_{service}" for service in SERVICES if service != "engine-door"}
    | {f"{STACK}_engine-door-{client}" for client in ("gateway", "manager")}
)
_DEPLOYED_S: Final = 200.0
_ASKED_S: Final = 10.0
_MANAGER: Final = ("--config", "/etc/gpio-bridge/manager.yaml")


def images_of(lab: Lab) -> dict[str, str]:
    """The variables that name the images of what is installed on this machine."""
    wanted: dict[str, Callable[[], str]] = {
        "MOSQUITTO_IMAGE": lambda: installed.build(
            lab,
            "mosquitto:installed",
            {"mosquitto": "mosquitto", "mosquitto_sub": "mosquitto_sub"},
            folders={"/mosquitto/data/": "1883:1883"},
        ),
        "PROMETHEUS_IMAGE": lambda: installed.build(
            lab,
            "prometheus:installed",
            {"prometheus": "prometheus", "promtool": "promtool"},
            entrypoint=("prometheus",),
            folders={"/prometheus/": "65534:65534"},
        ),
        "ALERTMANAGER_IMAGE": lambda: installed.build(
            lab,
            "alertmanager:installed",
            {"alertmanager": "prometheus-alertmanager", "amtool": "amtool"},
            entrypoint=("alertmanager",),
            folders={"/alertmanager/": "65534:65534"},
            files=("/usr/share/prometheus/alertmanager",),
        ),
    }
    with ThreadPoolExecutor() as threads:
        built = {name: threads.submit(build) for name, build in wanted.items()}
        return {name: each.result() for name, each in built.items()}


class Deployed:
    """A folder, a shell's variables, and the command in it."""

    def __init__(self, lab: Lab, folder: Path, programs: str) -> None:
        self.lab, self.folder = lab, folder
        self.stack = folder / "stack"
        at = {"DOCKER_HOST": lab.manager.host, "HEALTH_EVERY": "2s", "GPIO_BRIDGE_IMAGE": programs}
        # Grafana is off, and not to be had here: any image that is there will do.
        at["GRAFANA_IMAGE"] = programs
        self.variables = {**at, **images_of(lab)}

    def run(self, *arguments: str) -> list[str]:
        """What `gpio-bridge ARGUMENTS` prints, which must succeed."""
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=self.folder, env=environment(self.folder) | self.variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_DEPLOYED_S + 30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{self.told()}"
        return done.stdout.splitlines()

    def deploy(self) -> list[str]:
        return self.run("stack", "deploy", "--timeout", str(_DEPLOYED_S), "--settle", "2")

    def secret(self, name: str) -> Path:
        return self.stack / "secrets" / name

    def docker(self, *arguments: str) -> str:
        return self.lab.manager.docker(*arguments)

    def tasks(self) -> dict[str, str]:
        """The running task of each service, by the service's short name: another one is another id."""
        found = {}
        for service in SERVICES:
            form = ("--filter", "desired-state=running", "--quiet")
            found[service] = self.docker("service", "ps", f"{STACK}_{service}", *form)
        return found

    def gateway(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        """One request of somebody who is logged in, from outside of the swarm."""
        password = self.secret("gateway-password").read_text(encoding="utf-8")
        token = base64.b64encode(f"admin:{password}".encode()).decode()
        connection = http.client.HTTPConnection(self.lab.manager.address, 8080, timeout=_ASKED_S)
        try:
            body = None if document is None else json.dumps(document)
            connection.request(method, path, body, {"Authorization": f"Basic {token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 0, repr(error).encode()
        finally:
            connection.close()

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in the container of a service; all of them run on the manager here."""
        label = f"label=com.docker.swarm.service.name={STACK}_{service}"
        (container, *_) = self.docker("ps", "--quiet", "--filter", label).split()
        return self.docker("exec", container, *command)

    def apply(self, mappings: str) -> None:
        """Put mappings in force over the manager's API, with a token that was made for it."""
        token = self.inside("manager", "gpio-bridge", "tokens", "create", "test", "--role", "operator", *_MANAGER)
        for name, text in (("token", token), ("mappings.yaml", mappings)):
            (self.folder / name).write_text(text, encoding="utf-8")
        url = f"http://{self.lab.manager.address}:8088"
        self.run("mappings", "apply", "mappings.yaml", "--yes", "--url", url, "--token-file", "token")

    def manager(self, path: str) -> Any:
        """What the manager's API says, to the bearer of the token that `apply` has made."""
        token = (self.folder / "token").read_text(encoding="utf-8").strip()
        connection = http.client.HTTPConnection(self.lab.manager.address, 8088, timeout=_ASKED_S)
        try:
            connection.request("GET", f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, body
        return json.loads(body)

    def targets(self) -> dict[str, str]:
        """What Prometheus says of whom it asks."""
        code = "import urllib.request as h; print(h.urlopen('http://prometheus:9090/api/v1/targets').read().decode())"
        document: dict[str, Any] = json.loads(self.inside("manager", "python3", "-c", code))
        return {each["labels"]["job"]: each["health"] for each in document["data"]["activeTargets"]}

    def eventually(self, condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        until(condition, what, within_s, self.told)

    def told(self) -> str:
        """What the services say."""
        lines = []
        for service in SERVICES:
            name = f"{STACK}_{service}"
            done = subprocess.run(
                ["docker", "-H", self.lab.manager.host, "service", "logs", "--raw", "--tail", "15", name],
                capture_output=True, text=True, timeout=20, check=False,
            )  # fmt: skip
            lines.append(f"--- {service}\n{done.stdout}{done.stderr}")
        return "\n".join(lines)

    def without_volumes(self) -> bool:
        """Remove the volumes; whether none is left. For a moment after the last task they are in use."""
        for name in self.left()["volume"]:
            with contextlib.suppress(LabError):
                self.docker("volume", "rm", name)
        return not self.left()["volume"]

    def left(self) -> dict[str, list[str]]:
        """What there is of the stack in the swarm, and on this cluster node of its volumes."""
        kinds = {
            kind: self.docker(kind, "ls", "--format", "{{.Name}}").split() for kind in ("service", "secret", "config")
        }
        networks = self.docker("network", "ls", "--filter", "scope=swarm", "--format", "{{.Name}}").split()
        volumes = self.docker("volume", "ls", "--format", "{{.Name}}").split()
        return {
            **kinds,
            "network": [name for name in networks if name != "ingress"],
            "volume": sorted(name for name in volumes if name.startswith(f"{STACK}_")),
        }
