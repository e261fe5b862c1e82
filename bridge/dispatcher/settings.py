"""The dispatcher's settings, as in `config/dispatcher.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.config import Bytes, Name, Port, Seconds, Within
from bridge.config.hosts import HOST
from bridge.core.topics import DEFAULT_ROOT, DEFAULT_SITE, check_topic
from bridge.dispatcher.http.request import Origin
from bridge.errors import TopicError
from bridge.mqtt.settings import MqttSettings


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the functions are: any OpenFaaS gateway."""

    url: str = "http://127.0.0.1:8080"
    username: str | None = None
    password_file: Path | None = None
    """For a gateway that asks for basic authentication on its functions too (OpenFaaS' own does not)."""
    connect_timeout_s: Annotated[float, Seconds(0.1, 300)] = 5.0

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        try:
            origin = Origin(self.url)
        except ValueError as error:
            yield "url", f"must be an http or https URL such as http://127.0.0.1:8080, not {self.url!r}: {error}"
        else:
            if origin.credentials:
                yield "url", "must not hold credentials; use username and password_file"
        if self.username is not None and ":" in self.username:
            yield "username", "must not hold a colon: basic authentication has no way to tell it (RFC 7617, 2)"
        if (self.username is None) != (self.password_file is None):
            yield "username" if self.username else "password_file", "username and password_file are given together"
        if self.password_file is not None and not self.password_file.is_file():
            yield "password_file", f"there is no file {self.password_file}"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where the dispatcher serves its API, health and metrics. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8089
    advertise: Annotated[str, HOST] | None = None
    """The name or address under which Prometheus finds it, told to the manager; by default `host`, and with `0.0.0.0`
    the address of its connection to the broker."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What may run at once, and how much may wait before the broker is made to wait."""

    per_function: Annotated[int, Within(1, 10_000)] = 32
    total: Annotated[int, Within(1, 10_000)] = 128
    open_events: Annotated[int, Within(1, 10_000_000)] = 2_000
    """Unfinished events in memory; what is more waits on the disk when its lane is slow, else in the broker."""
    stored_events: Annotated[int, Within(1, 100_000_000)] = 100_000
    """Unfinished events of slow lanes on the disk; beyond it the broker has to wait. Each takes about 1 KiB."""
    dead_letters: Annotated[int, Within(1, 100_000_000)] = 100_000
    """Dead letters on the disk; beyond it the oldest are dropped, counted and told. Each takes about 2 KiB."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a function counts as broken: its lanes are parked, and one attempt at a time probes it."""

    failures: Annotated[int, Within(1, 1_000_000)] = 10
    """Failed attempts in a row, of whatever lane; one that succeeds, or is refused, counts anew."""


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """The story of every event, in the state folder; the oldest make room for new ones."""

    enabled: bool = True
    """Whether stories are kept; without them `gpio-bridge trace` knows only the last moments."""
    max_size_bytes: Annotated[int, Bytes(1024 * 1024)] = 32 * 1024 * 1024
    """How much of the disk they take at most; an event with one invocation takes about 0.5 KiB."""


@dataclass(frozen=True, slots=True)
class StandbySettings:
    """A second dispatcher with an `id` of its own watches this one and takes over when it is gone."""

    takeover_after_s: Annotated[float, Seconds(0.1, 3600)] = 5.0
    """How long nobody may be at work before the standby takes over."""


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """Everything the dispatcher can be told."""

    state_dir: Path
    mappings: Literal["manager"] | Path
    """The YAML file with the mappings, which is read again when it changes; or `manager`: those that it publishes."""
    site: Name = DEFAULT_SITE
    id: Name = "main"
    """Its name in topics; a site has one dispatcher at work."""
    root: str = DEFAULT_ROOT
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    traces: TraceSettings = field(default_factory=TraceSettings)
    standby: StandbySettings | None = None
    """Given for both dispatchers of a pair; each has its own `id` and `state_dir`."""
    commit_every_s: Annotated[float, Seconds(0.001, 10)] = 0.02
    """How long a group commit gathers: what finishes within it never has its body written to the disk."""
    clock: Literal["auto", "always", "never"] = "auto"
    """Whether wall time can be believed: ask the kernel, always, or never."""
    clock_mark: Path | None = None
    """With `clock: auto`: a file whose existence says that the clock is right, asked instead of the kernel. For what
    sets the clock without telling the kernel: a clock chip, a GPS receiver, the host of a virtual machine."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the keys must agree on."""
        try:
            check_topic(self.root)
        except TopicError as error:
            yield "root", str(error)
