"""The whole stack on a lab's swarm, deployed as its owner would, in a folder of their own."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPMessage
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
DEPLOY: Final = ("stack", "deploy", "--timeout", str(_DEPLOYED_S), "--settle", "2")
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
        at = {"DOCKER_HOST": lab.manager.host, "HEALTH_EVERY": "4s", "GPIO_BRIDGE_IMAGE": programs}
        # Grafana is off, and not to be had here: any image that is there will do.
        at["GRAFANA_IMAGE"] = programs
        self.variables = {**at, **images_of(lab)}
        self.first: list[str] = []
        """What the first deployment said; nothing while there is none."""
        self.first_s = 0.0

    def ensure(self) -> None:
        """Deploy it, unless it is deployed already, and make a token for its manager."""
        if not self.first:
            began_s = time.monotonic()
            self.first = self.deploy()
            self.first_s = time.monotonic() - began_s
            form = ("gpio-bridge", "tokens", "create", f"test-{time.time_ns()}", "--role", "operator")
            (self.folder / "token").write_text(self.inside("manager", *form, *_MANAGER), encoding="utf-8")

    def remove(self, *options: str) -> list[str]:
        """Remove the stack; what was said."""
        self.first = []
        return self.run("stack", "rm", *options)

    def run(self, *arguments: str) -> list[str]:
        """What `gpio-bridge ARGUMENTS` prints, which must succeed."""
        done = self.tried(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{self.told()}"
        return done.stdout.splitlines()

    def tried(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`gpio-bridge ARGUMENTS`, whatever becomes of it; it complains into what it prints."""
        return subprocess.run(
            [*COMMAND, *arguments], cwd=self.folder, env=environment(self.folder) | self.variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_DEPLOYED_S + 30, check=False,
        )  # fmt: skip

    def deploy(self) -> list[str]:
        return self.run(*DEPLOY)

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

    def images(self) -> dict[str, str]:
        """The image of each service, with its digest."""
        names = [f"{STACK}_{service}" for service in SERVICES]
        form = "{{.Spec.Name}} {{.Spec.TaskTemplate.ContainerSpec.Image}}"
        lines = self.docker("service", "inspect", "--format", form, *names).splitlines()
        return dict(line.split() for line in lines)

    def lives(self, service: str) -> list[tuple[str, str]]:
        """When each container of a service began and ended, those that are remembered; one that runs ends last."""
        label = f"label=com.docker.swarm.service.name={STACK}_{service}"
        containers = self.docker("ps", "--all", "--quiet", "--filter", label).split()
        form = "{{.State.StartedAt}} {{if .State.Running}}9{{else}}{{.State.FinishedAt}}{{end}}"
        lines = self.docker("inspect", "--format", form, *containers).splitlines()
        return sorted((began, ended) for began, ended in (line.split() for line in lines))

    def made_at(self) -> float:
        """When the manager wrote its last revision down (wall time)."""
        (newest,) = self.manager("/mappings/history?limit=1")["revisions"]
        return datetime.fromisoformat(newest["at"]).timestamp()

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
        """Put mappings in force over the manager's API."""
        (self.folder / "mappings.yaml").write_text(mappings, encoding="utf-8")
        url = f"http://{self.lab.manager.address}:8088"
        self.run("mappings", "apply", "mappings.yaml", "--yes", "--url", url, "--token-file", "token")

    def manager(self, path: str) -> Any:
        """What the manager's API says to the bearer of the token."""
        status, _, document = self.ask_manager("GET", path)
        assert status == 200, document
        return document

    def manager_answers(self) -> bool:
        """Whether the manager is there, and the dispatcher that it asks."""
        try:
            return self.ask_manager("GET", "/deadletters?limit=1")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ask_manager(
        self, method: str, path: str, document: object = None, **headers: str
    ) -> tuple[int, HTTPMessage, Any]:
        """One request to the manager's API; status, headers, document."""
        token = (self.folder / "token").read_text(encoding="utf-8").strip()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.lab.manager.address, 8088, timeout=_ASKED_S)
        try:
            body = None if document is None else json.dumps(document)
            kind = {} if body is None else {"Content-Type": "application/json"}
            bearer = {"Authorization": f"Bearer {token}"}
            connection.request(method, f"/api/v1{path}", body, {**bearer, **kind, **given})
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())
        finally:
            connection.close()

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
