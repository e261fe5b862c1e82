"""A three-Pi cluster with our gateway as a service in it, asked over HTTP from outside as faas-cli would."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self

from bridge.openfaas.deployment import Deployment
from tests.lab import function_images
from tests.lab.lab import Lab
from tests.lab.machine import until

NETWORK: Final = "gpio-bridge-functions"
_PORT: Final = 8080
_ASKED_S: Final = 90.0
_SETTINGS: Final = {
    "version": 1,
    "backend": "swarm",
    "host": "0.0.0.0",
    "state_dir": "/var/lib/gpio-bridge/gateway",
    "basic_auth": {"enabled": True},
    # An engine looks at a container for the first time after this long, and calls it running then.
    "swarm": {"health": {"every": "2s"}, "monitor": "2s", "restart_delay": "1s"},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Cluster:
    """The gateway of a lab, and the questions of its users; a context manager that leaves the lab empty."""

    def __init__(self, lab: Lab, programs: str) -> None:
        self.lab = lab
        self._programs = programs
        self.runtime = function_images.build_runtime(lab)
        self._password = secrets.token_hex(16)

    def __enter__(self) -> Self:
        manager = self.lab.manager
        with ThreadPoolExecutor() as threads:
            # Meanwhile the others fetch what every function's image begins with.
            pulls = [threads.submit(node.docker, "pull", "--quiet", self.runtime) for node in self.lab.nodes[1:]]
            for pull in pulls:
                pull.result()
        manager.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
        for name, value in (("basic-auth-user", "admin"), ("basic-auth-password", self._password)):
            manager.docker("secret", "create", name, "-", stdin=value)
        manager.docker("config", "create", "gateway.yaml", "-", stdin=json.dumps(_SETTINGS))
        service = (
            *("--name", "gateway", "--constraint", "node.role==manager", "--network", NETWORK),
            *("--endpoint-mode", "dnsrr", "--publish", f"mode=host,published={_PORT},target=8080"),
            *("--secret", "basic-auth-user", "--secret", "basic-auth-password"),
            *("--config", "source=gateway.yaml,target=/etc/gpio-bridge/gateway.yaml"),
            # It is not root; the engine's socket belongs to a group of this machine.
            *("--group", str(manager.plan.socket.stat().st_gid)),
            *("--mount", "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock"),
            *("--mount", "type=volume,source=gateway,target=/var/lib/gpio-bridge"),
        )
        manager.docker(
            "service",
            "create",
            "--detach",
            *service,
            self._programs,
            "gateway",
            "--config",
            "/etc/gpio-bridge/gateway.yaml",
        )
        until(self._is_ready, "the gateway is ready", _ASKED_S, self.gateway_log)
        return self

    def __exit__(self, *exc: object) -> None:
        manager = self.lab.manager
        for kind in ("service", "secret", "config"):
            found = manager.docker(kind, "ls", "--quiet").split()
            if found:
                manager.docker(kind, "rm", *found)

    # --- the gateway

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; status 0 and the reason where there is no answer."""
        connection = self.connection()
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, {}, repr(error).encode())
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """To the gateway, by the address of the Pi that it is on."""
        return http.client.HTTPConnection(self.lab.manager.address, _PORT, timeout=_ASKED_S)

    def system(self, method: str, path: str, document: object = None) -> Answer:
        """A question of somebody who is logged in."""
        given = b"" if document is None else json.dumps(document).encode()
        token = base64.b64encode(f"admin:{self._password}".encode()).decode()
        return self.call(method, f"/system/{path}", given, Authorization=f"Basic {token}")

    def invoke(self, name: str, body: bytes = b"", **headers: str) -> Answer:
        return self.call("POST", f"/function/{name}", body, **headers)

    def status(self, name: str) -> Any:
        answer = self.system("GET", f"function/{name}")
        assert answer.status == 200, answer
        return answer.document

    # --- functions

    def examples(self) -> tuple[Deployment, ...]:
        """The functions of functions/stack.yml, with images that this lab can make."""
        return function_images.examples()

    def build_example(self, deployment: Deployment) -> Deployment:
        """The same, as an image in the lab's registry."""
        image = function_images.build_example(self.lab, self.runtime, deployment)
        return dataclasses.replace(deployment, image=image)

    def build(self, name: str, code: str) -> str:
        """An image of a handler; its name."""
        return function_images.build_handler(self.lab, self.runtime, name, code)

    def deploy(self, document: dict[str, Any], *, ready: bool = True) -> None:
        answer = self.system("POST", "functions", document)
        assert answer.status == 202, answer
        if ready:
            self.ready(document["service"])

    def ready(self, name: str, replicas: int | None = None) -> None:
        """Wait until a function has as many replicas as it wants, or as are said here."""

        def enough() -> bool:
            status = self.status(name)
            return bool(status["availableReplicas"] == (status["replicas"] if replicas is None else replicas))

        until(enough, f"{name} has its replicas", _ASKED_S, lambda: f"{self.status(name)}\n{self.tasks(name)}")

    def scale(self, name: str, replicas: int) -> None:
        answer = self.system("POST", f"scale-function/{name}", {"serviceName": name, "replicas": replicas})
        assert answer.status in (200, 202), answer

    def nodes_of(self, name: str) -> list[str]:
        """Where a function's replicas run or start."""
        form = ("--filter", "desired-state=running", "--format", "{{.Node}}")
        return sorted(self.lab.manager.docker("service", "ps", name, *form).split())

    def tasks(self, name: str) -> str:
        form = "{{.Name}} {{.Node}} {{.DesiredState}} {{.CurrentState}} {{.Error}}"
        return self.lab.manager.docker("service", "ps", name, "--no-trunc", "--format", form)

    def eventually(self, condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        """Wait for a condition; the gateway's log is shown if it does not come true."""
        until(condition, what, within_s, self.gateway_log)

    def gateway_log(self) -> str:
        """The gateway's tasks and the end of their log."""
        return f"{self.tasks('gateway')}\n{self.lab.manager.docker('service', 'logs', '--tail', '40', 'gateway')}"

    def _is_ready(self) -> bool:
        return self.call("GET", "/readyz").status == 200
