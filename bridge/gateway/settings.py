"""The gateway's settings, as they stand in `gateway.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.config import Bytes, Pattern, Port, Seconds, Within
from bridge.config.hosts import is_loopback
from bridge.swarm.address import DEFAULT_HOST
from bridge.swarm.settings import ENGINE_HOST, EngineTlsSettings, host_problems
from bridge.swarm.specification import EndpointMode

Balance = Literal["least_in_flight", "round_robin"]

_ORIGIN = Pattern(r"\*|https?://[^/?#@\s]+", "an origin such as https://house.example, or *")

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

    idle_s: Annotated[float, Seconds(0.1, 3600)] = 75.0
    """A connection that brings no request, or none whole up to its body, is closed after this long."""
    read_s: Annotated[float, Seconds(0.1, 3600)] = 60.0
    """A client may pause this long while it sends its request's body, and take this long for the first 1 KiB of it and
    a second for each further one; beyond it 408."""
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
class ScalingSettings:
    """The built-in scaler. Functions with the label com.openfaas.scale.zero are scaled to zero in any case."""

    enabled: bool = False
    """Scale by load between com.openfaas.scale.min and max, without Prometheus. Use this or its alerts, not both."""
    every_s: Annotated[float, Seconds(0.1, 60)] = 1.0
    """How often the load is looked at."""
    window_s: Annotated[float, Seconds(0.1, 600)] = 5.0
    """The load is the average over this time."""
    in_flight: Annotated[int, Within(1, 100_000)] = 10
    """Calls at a time that one replica is to carry."""
    rate: Annotated[int, Within(1, 1_000_000)] = 50
    """Calls a second that one replica is to carry."""
    down_after_s: Annotated[float, Seconds(0, 3600)] = 60.0
    """A function is scaled down when its load has needed less for this long."""
    idle_s: Annotated[float, Seconds(1)] = 900.0
    """A function with the label com.openfaas.scale.zero gives up its replicas when it was not called for this long; its
    label com.openfaas.scale.zero-duration says otherwise for it alone."""


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
    health_every_s: Annotated[float, Seconds(0.1, 3600)] = 5.0
    """How often replicas are asked for their health; three bad answers in a row and one is replaced."""
    log_lines: Annotated[int, Within(1, 100_000)] = 1000
    """Lines of output kept per replica."""
    reload: bool = True
    """Replace a function's replicas when the files of its handler change."""


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """The health check that each function's service gets; Swarm replaces a replica that fails it."""

    enabled: bool = True
    """Without it, a health check that the image brings is left as it is."""
    every_s: Annotated[float, Seconds(0.5, 3600)] = 10.0
    """The pause between two checks."""
    timeout_s: Annotated[float, Seconds(0.5, 600)] = 5.0
    """A check that takes longer has failed."""
    start_s: Annotated[float, Seconds(0, 3600)] = 30.0
    """Failures in a replica's first while do not count."""
    retries: Annotated[int, Within(1, 100)] = 3
    """Failures in a row until it is replaced."""


@dataclass(frozen=True, slots=True)
class SecretFileSettings:
    """Whom a function's secrets belong to inside of its container."""

    uid: Annotated[int, Within(0, 2**31 - 1)] = 0
    """The files' owner, by number."""
    gid: Annotated[int, Within(0, 2**31 - 1)] = 0
    """The files' group, by number."""
    mode: Annotated[str, Pattern("0?[0-7]{3}", "an octal mode in quotes, such as '0444'")] = "0444"
    """Who may read them. Functions rarely run as root, hence everybody in the container."""


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """Functions as services of a Docker Swarm."""

    host: Annotated[str, ENGINE_HOST] = DEFAULT_HOST
    """The Docker Engine of one of the swarm's managers."""
    tls: EngineTlsSettings | None = None
    timeout_s: Annotated[float, Seconds(0.5, 300)] = 10.0
    """The engine may take this long for an answer."""
    network: Annotated[str, Pattern("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}", "a network's name")] = "gpio-bridge-functions"
    """The overlay network of functions and gateway; made, and attachable, where it is missing."""
    endpoint_mode: EndpointMode = "dnsrr"
    """`dnsrr`: we choose the task of each call. `vip`: the kernel of each machine does, which needs IPVS in it."""
    balance: Balance = "least_in_flight"
    """How a task is chosen under `dnsrr`."""
    max_replicas: Annotated[int, Within(1, 10_000)] = 100
    """Of one function; asking for more is refused."""
    start_s: Annotated[float, Seconds(0.1, 3600)] = 60.0
    """A call waits this long for a replica; a machine may have to pull the image first."""
    restart_delay_s: Annotated[float, Seconds(0, 3600)] = 2.0
    """The pause before Swarm replaces a replica that ended; it never gives up."""
    monitor_s: Annotated[float, Seconds(0, 3600)] = 5.0
    """A new replica that ends this soon makes an update fail, and Swarm goes back to the version before."""
    stop_grace_s: Annotated[float, Seconds(1, 3600)] = 15.0
    """From SIGTERM to SIGKILL; a replica finishes its calls in it."""
    look_s: Annotated[float, Seconds(1, 3600)] = 30.0
    """How often all tasks are looked at while nothing changes; changes are seen at once."""
    log_lines: Annotated[int, Within(1, 100_000)] = 1000
    """Lines of each replica that a log without `tail` begins with."""
    registry_config: Path | None = None
    """Docker's `config.json` with the registries' credentials; where the Docker CLI looks if not given."""
    secret_files: SecretFileSettings = field(default_factory=SecretFileSettings)
    health: HealthSettings = field(default_factory=HealthSettings)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        yield from host_problems(self.host, self.tls)
        if self.registry_config is not None and not self.registry_config.is_file():
            yield "registry_config", f"there is no file {self.registry_config}"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the gateway listens, what it runs and where it keeps it."""

    state_dir: Path
    """Deployments are kept here, so that they come back after a restart."""
    host: str = "127.0.0.1"
    port: Port = 8080
    backend: Literal["local", "swarm"] = "local"
    """Functions as processes of this machine, or as services of a Docker Swarm."""
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
    cors_origins: tuple[Annotated[str, _ORIGIN], ...] = ()
    """Origins whose pages may use `/system/` and `/async-function/` from a browser; `*` for all."""
    max_connections: Annotated[int, Within(1, 100_000)] = 1000
    """Of clients at a time; beyond it 503."""
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    basic_auth: BasicAuthSettings = field(default_factory=BasicAuthSettings)
    timeouts: TimeoutSettings = field(default_factory=TimeoutSettings)
    asynchronous: AsyncSettings = field(default_factory=AsyncSettings, metadata={"key": "async"})
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    local: LocalSettings = field(default_factory=LocalSettings)
    swarm: SwarmSettings = field(default_factory=SwarmSettings)

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
