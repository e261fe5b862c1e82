"""The manager's settings, as in `config/manager.yaml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from bridge.config import Bytes, Name, Pattern, Port, Seconds, Within
from bridge.config.hosts import HOST, is_loopback
from bridge.core.topics import DEFAULT_ROOT, DEFAULT_SITE, check_topic
from bridge.errors import TopicError
from bridge.manager.access.tokens import split
from bridge.mqtt.settings import MqttSettings
from bridge.swarm.address import DEFAULT_HOST
from bridge.swarm.settings import ENGINE_HOST, EngineTlsSettings, host_problems

ORIGIN: Final = Pattern(r"https?://[A-Za-z0-9.\[\]:_-]+", "an origin such as https://house.example:8443")
_URL = re.compile(r"https?://[^/?#@\s]+/?")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the manager serves its API, health and metrics."""

    host: str = "127.0.0.1"
    """Where to listen; `0.0.0.0` for other machines too."""
    port: Port = 8088
    """Port 0 takes a free one."""
    origins: tuple[Annotated[str, ORIGIN], ...] = ()
    """Whose pages may open a WebSocket here, besides those of the manager's own address."""
    advertise: Annotated[str, HOST] | None = None
    """The name or address under which Prometheus finds it; by default `host`, and with `0.0.0.0` the address of its
    connection to the broker."""


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """How much is kept of what the mapping file was before."""

    revisions: Annotated[int, Within(2, 100_000)] = 1000
    """So many; the oldest make room for new ones."""


@dataclass(frozen=True, slots=True)
class SensorHistorySettings:
    """What every sensor told in the last hours, for charts; in a file of its own in the state folder."""

    enabled: bool = True
    """Whether it is kept."""
    keep_s: Annotated[float, Seconds(60, 7 * 86400)] = 86400.0
    """How far back it reaches."""
    max_events: Annotated[int, Within(1000, 10_000_000)] = 1_000_000
    """How many events it holds at most; beyond that, or the size, the sensor with most of them loses its oldest."""
    max_size_bytes: Annotated[int, Bytes(1024**2)] = 64 * 1024**2
    """How much of the disk it takes at most; an event takes about 45 bytes."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Whether a token is asked for (`gpio-bridge tokens create` makes one), and how patient we are with wrong ones."""

    enabled: bool = True
    """Without it everybody who reaches the manager may do everything: on this machine only."""
    failures: Annotated[int, Within(1, 1000)] = 10
    """So many wrong tokens from one address within the window; then 429 until it is over."""
    window_s: Annotated[float, Seconds(1, 86400)] = 60.0
    """The window for `failures`."""
    viewers: Mapping[Name, Path] = field(default_factory=dict)
    """Tokens that viewers bring along, each in a file, by whose they are. For Prometheus in a stack, whose secret is
    there before the manager."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        for name, file in self.viewers.items():
            try:
                if split(file.read_text(encoding="utf-8").strip()) is None:
                    yield f"viewers.{name}", f"{file} holds no token such as `gpio-bridge tokens create` prints"
            except (OSError, UnicodeDecodeError) as error:
                yield f"viewers.{name}", f"cannot read {file}: {getattr(error, 'strerror', None) or error}"


@dataclass(frozen=True, slots=True)
class DispatcherAddress:
    """Where the manager asks for events that were recorded."""

    url: str = "http://127.0.0.1:8089"
    """The dispatcher's address."""


@dataclass(frozen=True, slots=True)
class FunctionGateway:
    """Where the manager asks for functions: any OpenFaaS gateway."""

    url: str = "http://127.0.0.1:8080"
    """The gateway's address."""
    username: str | None = None
    """For a gateway with basic authentication."""
    password_file: Path | None = None
    """The file with the password."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if not _URL.fullmatch(self.url):
            yield "url", f"must be such as http://127.0.0.1:8080, without credentials, not {self.url!r}"
        if (self.username is None) != (self.password_file is None):
            yield "username" if self.username else "password_file", "username and password_file are given together"
        if self.password_file is not None and not self.password_file.is_file():
            yield "password_file", f"there is no file {self.password_file}"


@dataclass(frozen=True, slots=True)
class TopicAnnotationSettings:
    """Whether functions' `topic` annotations count as mappings, as the OpenFaaS connectors read them."""

    enabled: bool = False
    """Then the gateway is asked for them."""
    every_s: Annotated[float, Seconds(1, 3600)] = 10.0
    """So often."""


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Whom Prometheus is to ask; the manager knows them, see docs/how-to/alerts-and-dashboards.md."""

    file: Path | None = None
    """Where the list is kept, for `file_sd_configs`; by default `targets.json` in the state folder."""
    loopback: bool | None = None
    """Whether Prometheus is on this machine, and so reaches what listens on a loopback address here. By default that is
    so where `http.host` is one."""
    gateways: tuple[str, ...] = ()
    """The addresses of several gateways, such as http://10.0.0.5:8080; by default `gateway.url` alone."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        for i, url in enumerate(self.gateways):
            if not _URL.fullmatch(url):
                yield f"gateways[{i}]", f"must be such as http://127.0.0.1:8080, without credentials, not {url!r}"


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """The Docker Swarm whose cluster nodes and stacks the API shows and changes; without the section there is none."""

    host: Annotated[str, ENGINE_HOST] = DEFAULT_HOST
    """The Docker Engine of one of the swarm's managers."""
    tls: EngineTlsSettings | None = None
    timeout_s: Annotated[float, Seconds(0.5, 300)] = 10.0
    """The engine may take this long for an answer."""
    own_stack: str | None = None
    """The stack that this manager is a part of. It is neither deployed nor removed over the API: that would end the
    manager in the midst of it."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        yield from host_problems(self.host, self.tls)


@dataclass(frozen=True, slots=True)
class ManagerSettings:
    """Everything the manager can be told."""

    state_dir: Path
    """Where the manager keeps its state."""
    mappings: Path
    """The mapping file, which it changes and watches; it must be able to replace files in its folder."""
    site: Name = DEFAULT_SITE
    """The site whose mappings these are."""
    root: str = DEFAULT_ROOT
    """What every topic starts with; the same for all programs."""
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    dispatcher: DispatcherAddress = field(default_factory=DispatcherAddress)
    history: HistorySettings = field(default_factory=HistorySettings)
    sensor_history: SensorHistorySettings = field(default_factory=SensorHistorySettings)
    gateway: FunctionGateway = field(default_factory=FunctionGateway)
    topic_annotations: TopicAnnotationSettings = field(default_factory=TopicAnnotationSettings)
    targets: TargetSettings = field(default_factory=TargetSettings)
    swarm: SwarmSettings | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        try:
            check_topic(self.root)
        except TopicError as error:
            yield "root", str(error)
        if not self.auth.enabled and not is_loopback(self.http.host):
            yield "auth.enabled", f"may be false on this machine only, and http.host is {self.http.host}"
