"""The gateway's settings, as they stand in `gateway.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.config import Bytes, Port, Seconds, Within
from bridge.config.hosts import is_loopback

USER_FILE, PASSWORD_FILE = "basic-auth-user", "basic-auth-password"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where Prometheus finds the metrics, besides `/metrics` of the main port; OpenFaaS' dashboards expect 8082."""

    enabled: bool = True
    port: Port = 8082


@dataclass(frozen=True, slots=True)
class BasicAuthSettings:
    """Who may use `/system/` and `/ui/`: user and password are read from files, as in an OpenFaaS stack."""

    enabled: bool = False
    secret_mount_path: Path = Path("/run/secrets")

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if self.enabled:
            for name in (USER_FILE, PASSWORD_FILE):
                if not (self.secret_mount_path / name).is_file():
                    yield "secret_mount_path", f"there is no file {self.secret_mount_path / name}"


@dataclass(frozen=True, slots=True)
class TimeoutSettings:
    """How long things may take."""

    read_s: Annotated[float, Seconds(0.1, 3600)] = 60.0
    """A client may pause this long while it sends its request's body."""
    write_s: Annotated[float, Seconds(0.1, 3600)] = 60.0
    """A client may take nothing of its answer for this long."""
    upstream_s: Annotated[float, Seconds(0.1, 86400)] = 60.0
    """A function may take this long until it begins to answer, and pause this long while it answers; beyond it 504."""
    drain_s: Annotated[float, Seconds(0, 600)] = 5.0
    """When the gateway stops, calls in flight get this long."""


@dataclass(frozen=True, slots=True)
class AsyncSettings:
    """The queue behind `/async-function/`."""

    concurrency: Annotated[int, Within(1, 1000)] = 8
    """Calls at a time."""
    max_calls: Annotated[int, Within(1, 1_000_000)] = 1000
    """Accepted calls that wait; beyond it 503."""
    max_waiting_bytes: Annotated[int, Bytes(1024)] = 64 * 1024 * 1024
    """Bytes of their bodies together; beyond it 503."""
    max_body_bytes: Annotated[int, Bytes(0)] = 1024 * 1024
    attempts: Annotated[int, Within(1, 100)] = 5
    first_s: Annotated[float, Seconds(0, 3600)] = 1.0
    """The longest pause after the first failed attempt; it doubles with each."""
    max_s: Annotated[float, Seconds(0, 86400)] = 60.0


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """Functions as processes of this machine."""

    python: Path | None = None
    """The interpreter that runs handlers; ours where it is not given."""
    max_replicas: Annotated[int, Within(1, 1000)] = 20
    """Of one function; asking for more is refused."""
    start_s: Annotated[float, Seconds(0.1, 600)] = 10.0
    """A replica that is not ready after this long is given up; requests wait as long for one."""
    drain_s: Annotated[float, Seconds(0, 3600)] = 30.0
    """Calls in flight in a replica that is being replaced get this long."""
    stop_s: Annotated[float, Seconds(0.1, 60)] = 3.0
    """From SIGTERM to SIGKILL."""
    backoff_max_s: Annotated[float, Seconds(0.1, 600)] = 30.0
    """The longest pause before a replica that keeps failing is started again; the first is 0.1 s."""
    idle_s: Annotated[float, Seconds(1)] = 900.0
    """A function with the label com.openfaas.scale.zero gives up its replicas when it was not called for this long."""
    health_every_s: Annotated[float, Seconds(0.1, 3600)] = 5.0
    """How often replicas are asked for their health; three bad answers in a row and one is replaced."""
    log_lines: Annotated[int, Within(1, 100_000)] = 1000
    """Lines of output kept per replica."""
    reload: bool = True
    """Replace a function's replicas when the files of its handler change."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the gateway listens, what it runs and where it keeps it."""

    state_dir: Path
    """Deployments are kept here, so that they come back after a restart."""
    host: str = "127.0.0.1"
    port: Port = 8080
    backend: Literal["local"] = "local"
    role: Literal["gateway", "provider"] = "gateway"
    """What `/system/info` looks like: `provider` for an OpenFaaS gateway in front of us."""
    functions: Path | None = None
    """A stack.yml whose functions are deployed at the start."""
    secrets_dir: Path | None = None
    """The functions' secrets, one file each; `secrets` in state_dir where it is not given."""
    allow_open: bool = False
    """Serve other machines without basic authentication all the same."""
    max_body_bytes: Annotated[int, Bytes(0)] = 100 * 1024 * 1024
    """The largest request body; beyond it 413."""
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    basic_auth: BasicAuthSettings = field(default_factory=BasicAuthSettings)
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    asynchronous: AsyncSettings = field(default_factory=AsyncSettings, metadata={"key": "async"})
    local: LocalSettings = field(default_factory=LocalSettings)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        if not (is_loopback(self.host) or self.basic_auth.enabled or self.allow_open):
            message = (
                f"{self.host} is reachable by other machines, and whoever reaches the gateway can start programs here;"
                " enable basic_auth, or say allow_open: true"
            )
            yield "host", message
        if self.functions is not None and not self.functions.is_file():
            yield "functions", f"there is no file {self.functions}"
        if self.metrics.enabled and self.port and self.port == self.metrics.port:
            yield "metrics.port", "is the port of the gateway itself; choose another, or set metrics.enabled: false"

    @property
    def secrets(self) -> Path:
        """The folder of the functions' secrets."""
        return self.secrets_dir or self.state_dir / "secrets"
