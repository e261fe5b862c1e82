"""A compose file, as far as a Docker Swarm can carry it out: every key is read or is a mistake, and none is ignored.

The keys are those of the Compose file format that `docker stack deploy` takes
(https://docs.docker.com/reference/compose-file/). Those that only `docker compose` carries out are refused, each with
what to do instead; keys that begin with `x-` are anybody's own and mean nothing here.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.config import Node, Reader, Within, checked, finish
from bridge.config.spelled import Spelled
from bridge.manager.stack import turns
from bridge.manager.stack.shapes import (
    Attachments,
    Cpus,
    Duration,
    External,
    Grant,
    Memory,
    Mount,
    Pairs,
    PublishedPort,
    Texts,
    Ulimit,
    Words,
)
from bridge.manager.stack.variables import replaced

DEFAULT_NETWORK = "default"

_NOT_ON_A_SWARM: Mapping[str, str] = {
    "build": "a swarm builds nothing; build and push the image before, and name it under image",
    "container_name": "a service has several containers, which Swarm names",
    "depends_on": "Swarm starts everything at once; a service must wait for what it needs by itself",
    "devices": "Swarm gives containers no devices; run what needs one outside of the stack",
    "expose": "the services of a network reach each other's ports without it",
    "links": "the services of a network know each other by their names",
    "external_links": "the services of a network know each other by their names",
    "network_mode": "name networks under networks",
    "privileged": "Swarm gives no container all rights; name what it needs under cap_add",
    "restart": "write it under deploy.restart_policy",
    "scale": "write it under deploy.replicas",
    "mem_limit": "write it under deploy.resources.limits.memory",
    "cpus": "write it under deploy.resources.limits.cpus",
    "tmpfs": "write it under volumes, with type: tmpfs and target",
    "profiles": "a stack is deployed as a whole",
    "extends": "write the keys out",
    "pull_policy": "Swarm pulls an image wherever it is missing",
    "security_opt": "Swarm does not take it",
    "shm_size": "Swarm does not take it; mount /dev/shm under volumes, with type: tmpfs",
    "ipc": "Swarm does not take it",
    "pid": "Swarm does not take it",
    "userns_mode": "Swarm does not take it",
    "cgroup_parent": "Swarm does not take it",
    "mac_address": "Swarm does not take it",
    "domainname": "Swarm does not take it; write the whole name under hostname",
}
"""Keys of a service that `docker compose` knows and a swarm cannot carry out, and what to do about each."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one task may use at most."""

    cpus: Cpus | None = None
    memory: Memory | None = None
    pids: Annotated[int, Within(0)] | None = None


@dataclass(frozen=True, slots=True)
class Reservations:
    """What a cluster node must have left for one task."""

    cpus: Cpus | None = None
    memory: Memory | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """What one task may use, and what is kept for it."""

    limits: Limits = field(default_factory=Limits)
    reservations: Reservations = field(default_factory=Reservations)


@dataclass(frozen=True, slots=True)
class Update:
    """How new tasks take the place of old ones."""

    parallelism: Annotated[int, Within(0)] = 1
    delay: Duration | None = None
    failure_action: Literal["continue", "pause", "rollback"] | None = None
    monitor: Duration | None = None
    max_failure_ratio: Annotated[float, Within(0, 1)] = 0.0
    order: Literal["stop-first", "start-first"] | None = None


@dataclass(frozen=True, slots=True)
class Restarting:
    """When a task that has ended is started anew."""

    condition: Literal["none", "on-failure", "any"] | None = None
    delay: Duration | None = None
    max_attempts: Annotated[int, Within(0)] | None = None
    window: Duration | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """How tasks spread."""

    spread: Spelled


@dataclass(frozen=True, slots=True)
class Placement:
    """On which cluster nodes tasks run."""

    constraints: tuple[Spelled, ...] = ()
    preferences: tuple[Preference, ...] = ()
    max_replicas_per_node: Annotated[int, Within(0)] = 0


@dataclass(frozen=True, slots=True)
class Deploy:
    """How a service runs on a swarm."""

    mode: Literal["replicated", "global"] = "replicated"
    replicas: Annotated[int, Within(0)] | None = None
    labels: Pairs = field(default_factory=Pairs)
    update_config: Update | None = None
    rollback_config: Update | None = None
    resources: Resources = field(default_factory=Resources)
    restart_policy: Restarting | None = None
    placement: Placement = field(default_factory=Placement)
    endpoint_mode: Literal["vip", "dnsrr"] | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself."""
        if self.mode == "global" and self.replicas is not None:
            yield "replicas", "a global service has one task on each cluster node; leave it out"
        wrong = turns.mistake(self.labels)
        if wrong is not None:
            yield "labels", wrong


@dataclass(frozen=True, slots=True)
class HealthTest:
    """How a container is asked whether it is well."""

    test: Words | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    start_period: Duration | None = None
    start_interval: Duration | None = None
    retries: Annotated[int, Within(0)] | None = None
    disable: bool = False
    shell: str | None = None
    """The test as one text, for the container's shell."""

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> object:
        """A test that is written as one text goes to a shell as it stands."""
        if not isinstance(node.value, dict):
            return reader.object(node, cls, key)
        test = node.value.get("test")
        if "shell" in node.value:
            return reader.problem(node.value["shell"], f"{key}.shell", "unknown key")
        if test is None or isinstance(test.value, list):
            return reader.object(node, cls, key)
        rest = {name: child for name, child in node.value.items() if name != "test"}
        read = reader.object(dataclasses.replace(node, value=rest), cls, key)
        text = Spelled.from_node(test, reader, f"{key}.test")
        if isinstance(text, str) and isinstance(read, cls):
            return dataclasses.replace(read, shell=str(text))
        return read

    def problems(self) -> Iterator[tuple[str, str]]:
        """How a list begins."""
        if self.test is not None and (not self.test or self.test[0] not in ("NONE", "CMD", "CMD-SHELL")):
            yield "test", "a list begins with CMD, CMD-SHELL or NONE"


@dataclass(frozen=True, slots=True)
class Logging:
    """Where a container's output goes."""

    driver: Spelled | None = None
    options: Pairs = field(default_factory=Pairs)


@dataclass(frozen=True, slots=True)
class StackService:
    """One entry under `services`."""

    image: Spelled
    command: Words | None = None
    entrypoint: Words | None = None
    environment: Pairs = field(default_factory=Pairs)
    env_file: Texts | None = None
    labels: Pairs = field(default_factory=Pairs)
    deploy: Deploy = field(default_factory=Deploy)
    networks: Attachments | None = None
    ports: tuple[PublishedPort, ...] = ()
    volumes: tuple[Mount, ...] = ()
    configs: tuple[Grant, ...] = ()
    secrets: tuple[Grant, ...] = ()
    healthcheck: HealthTest | None = None
    hostname: Spelled | None = None
    user: Spelled | None = None
    working_dir: Spelled | None = None
    read_only: bool = False
    init: bool | None = None
    stop_grace_period: Duration | None = None
    stop_signal: Spelled | None = None
    stdin_open: bool = False
    tty: bool = False
    dns: Texts = field(default_factory=Texts)
    dns_search: Texts = field(default_factory=Texts)
    extra_hosts: Pairs | None = None
    cap_add: Texts = field(default_factory=Texts)
    cap_drop: Texts = field(default_factory=Texts)
    sysctls: Pairs = field(default_factory=Pairs)
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    logging: Logging | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What contradicts itself."""
        if self.deploy.endpoint_mode == "dnsrr":
            for i, port in enumerate(self.ports):
                if port.mode == "ingress":
                    yield f"ports[{i}]", "endpoint_mode dnsrr has no ingress; write it with mode: host"
        for kind, grants in (("configs", self.configs), ("secrets", self.secrets)):
            targets = [grant.target for grant in grants]
            for i, target in enumerate(targets):
                if target in targets[:i]:
                    yield f"{kind}[{i}]", f"two of them would stand at {target}"


@dataclass(frozen=True, slots=True)
class Subnet:
    """Addresses of a network."""

    subnet: Spelled
    gateway: Spelled | None = None


@dataclass(frozen=True, slots=True)
class Addressing:
    """Where a network's addresses come from."""

    driver: Spelled | None = None
    config: tuple[Subnet, ...] = ()


@dataclass(frozen=True, slots=True)
class StackNetwork:
    """One entry under `networks`."""

    driver: Spelled = field(default_factory=lambda: Spelled("overlay"))
    driver_opts: Pairs = field(default_factory=Pairs)
    attachable: bool = False
    internal: bool = False
    ipam: Addressing | None = None
    labels: Pairs = field(default_factory=Pairs)
    external: External = field(default_factory=External)
    name: Spelled | None = None


@dataclass(frozen=True, slots=True)
class StackVolume:
    """One entry under `volumes`."""

    driver: Spelled | None = None
    driver_opts: Pairs | None = None
    labels: Pairs = field(default_factory=Pairs)
    external: External = field(default_factory=External)
    name: Spelled | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """One entry under `configs` or `secrets`: a file, or something that is there already."""

    file: Path | None = None
    labels: Pairs = field(default_factory=Pairs)
    template_driver: Spelled | None = None
    external: External = field(default_factory=External)
    name: Spelled | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each has exactly one origin."""
        if self.external.external == (self.file is not None):
            yield "file", "name a file, or say external: true of what is there already"


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file; `variables` of each service hold its env_file's, below its environment."""

    services: Mapping[str, StackService]
    networks: Mapping[str, StackNetwork] = field(default_factory=dict)
    volumes: Mapping[str, StackVolume] = field(default_factory=dict)
    configs: Mapping[str, Content] = field(default_factory=dict)
    secrets: Mapping[str, Content] = field(default_factory=dict)
    version: Spelled | None = None
    name: Spelled | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """What services name and the file does not have."""
        if not self.services:
            yield "services", "has none"
        for name, service in self.services.items():
            at = f"services.{name}"
            for network in service.networks or ():
                if network not in self.networks and network != DEFAULT_NETWORK:
                    yield f"{at}.networks", f"there is no network {network} under networks"
            for i, mount in enumerate(service.volumes):
                if mount.type == "volume" and mount.source and mount.source not in self.volumes:
                    yield f"{at}.volumes[{i}]", f"there is no volume {mount.source} under volumes"
            kinds = (("configs", service.configs, self.configs), ("secrets", service.secrets, self.secrets))
            for kind, grants, known in kinds:
                for i, grant in enumerate(grants):
                    if grant.source not in known:
                        yield f"{at}.{kind}[{i}]", f"there is no {grant.source} under {kind}"


def load_compose_file(path: Path, environ: Mapping[str, str]) -> ComposeFile:
    """A compose file with its variables replaced and its env files read. Raises ConfigError with every problem."""
    return checked(path, lambda node: read_compose_file(node, path.absolute().parent, environ))


def read_compose_file(node: Node, base: Path, environ: Mapping[str, str]) -> ComposeFile:
    """As `load_compose_file`, of a file that was parsed."""
    reader = Reader(base)
    node = replaced(node, environ, reader)
    node = _without_extensions(node)
    _refuse_foreign_keys(node, reader)
    stack = reader.object(node, ComposeFile, "")
    if isinstance(stack, ComposeFile) and not reader.found:
        services = {
            name: _completed(service, _inside(node, "services", name), reader, name, environ)
            for name, service in stack.services.items()
        }
        stack = dataclasses.replace(stack, services=services)
        _check_files(stack, node, reader)
    return finish(stack, reader)


def _inside(node: Node, *keys: str) -> Node:
    """The node at these keys, where a map of maps was read."""
    for key in keys:
        assert isinstance(node.value, dict)
        node = node.value[key]
    return node


def _without_extensions(node: Node) -> Node:
    """The document without anybody's own keys, at its top and in its services."""
    if not isinstance(node.value, dict):
        return node
    kept = {key: child for key, child in node.value.items() if not key.startswith("x-")}
    services = kept.get("services")
    if services is not None and isinstance(services.value, dict):
        stripped = {name: _stripped(child) for name, child in services.value.items()}
        kept["services"] = dataclasses.replace(services, value=stripped)
    return dataclasses.replace(node, value=kept)


def _stripped(node: Node) -> Node:
    if not isinstance(node.value, dict):
        return node
    return dataclasses.replace(node, value={key: v for key, v in node.value.items() if not key.startswith("x-")})


def _refuse_foreign_keys(node: Node, reader: Reader) -> None:
    """Say of keys that only `docker compose` carries out what to do; they are told here and taken out."""
    services = node.value.get("services") if isinstance(node.value, dict) else None
    if services is None or not isinstance(services.value, dict):
        return
    for name, child in services.value.items():
        if not isinstance(child.value, dict):
            continue
        for key in [key for key in child.value if key in _NOT_ON_A_SWARM]:
            wrong = child.value.pop(key)
            line, column = wrong.key_at or (wrong.line, wrong.column)
            at = Node(None, line, column, wrong.file)
            reader.problem(at, f"services.{name}.{key}", f"is not possible on a swarm: {_NOT_ON_A_SWARM[key]}")


def _completed(
    service: StackService, node: Node, reader: Reader, name: str, environ: Mapping[str, str]
) -> StackService:
    """With the variables of its env files below its own, and what has no value taken from the environment."""
    variables = Pairs()
    for text in service.env_file or ():
        variables.update(_env_file(Path(text), node, reader, f"services.{name}.env_file"))
    variables.update(service.environment)
    for key, value in variables.items():
        if value is None and key in environ:
            variables[key] = environ[key]
    mounts = tuple(
        dataclasses.replace(mount, source=Spelled(_absolute(mount.source or "", reader.base)))
        if mount.type == "bind"
        else mount
        for mount in service.volumes
    )
    return dataclasses.replace(service, environment=variables, env_file=None, volumes=mounts)


def _absolute(source: str, base: Path) -> str:
    """The folder of a cluster node; one that is given relative to the file is meant on this machine."""
    return posixpath.normpath(str(base / Path(source).expanduser()))


def _env_file(given: Path, node: Node, reader: Reader, key: str) -> Iterator[tuple[str, str]]:
    """The lines NAME=value of a file; empty ones and comments are left out."""
    path = reader.base / given.expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reader.problem(node, key, f"{path} cannot be read: {error}")
        return
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            reader.problem(node, key, f"{path}:{number}: {text[:40]!r} is not NAME=value")
            continue
        yield name.strip(), value.strip()


def _check_files(stack: ComposeFile, node: Node, reader: Reader) -> None:
    for kind, contents in (("configs", stack.configs), ("secrets", stack.secrets)):
        for name, content in contents.items():
            if content.file is not None and not content.file.is_file():
                at = _inside(node, kind, name, "file")
                reader.problem(at, f"{kind}.{name}.file", f"there is no file {content.file}")
