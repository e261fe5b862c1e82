"""faas-cli's stack.yml: which functions there are, where their handlers stand and how they are to run.

What faas-cli writes and we have no use for (templates, secrets of a build) is left alone; a function's keys that no
faas-cli knows are mistakes. `${NAME}` and `${NAME:-default}` are replaced from the environment before the file is
read as YAML, as faas-cli does. Numbers and truths that stand where text is wanted keep their spelling, as with
faas-cli: `version: 1.10` is the text `1.10`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bridge.config import INVALID, Invalid, Node, Reader, composed, read, text_of
from bridge.config.spelled import SpelledOrEmpty
from bridge.config.substitution import unset
from bridge.errors import ConfigError, FunctionError, Problem
from bridge.openfaas.deployment import Deployment, Resources, parse_deployment
from bridge.openfaas.names import NAMESPACE

HANDLER_ANNOTATION = "io.gpio-bridge.handler"
"""Names the folder (or handler.py) of a function's code on this machine."""

_VERSIONS = (1, 1.0, "1.0", "1")
_TOP = ("version", "provider", "functions", "configuration")
_NOT_USED = frozenset({"build_secrets", "platforms", "copy_extra_paths", "extra_paths"})


@dataclass(frozen=True, slots=True)
class _Resources:
    memory: SpelledOrEmpty | None = None
    cpu: SpelledOrEmpty | None = None


@dataclass(frozen=True, slots=True)
class _Function:
    """One entry under `functions:`."""

    image: SpelledOrEmpty | None = None
    lang: str | None = None
    handler: Path | None = None
    fprocess: SpelledOrEmpty | None = None
    environment: Mapping[str, SpelledOrEmpty] | None = None
    environment_file: tuple[Path, ...] | None = None
    secrets: tuple[SpelledOrEmpty, ...] | None = None
    labels: Mapping[str, SpelledOrEmpty] | None = None
    annotations: Mapping[str, SpelledOrEmpty] | None = None
    constraints: tuple[str, ...] | None = None
    limits: _Resources | None = None
    requests: _Resources | None = None
    readonly_root_filesystem: bool = False
    namespace: str | None = None
    name: str | None = None
    skip_build: bool = False
    build_args: Mapping[str, SpelledOrEmpty] | None = None
    build_options: tuple[SpelledOrEmpty, ...] | None = None


@dataclass(frozen=True, slots=True)
class StackFunction:
    """One function of a stack file: how it is to run, and what its image is to be built of."""

    deployment: Deployment
    place: str
    """Where it stands, `file:line`, for messages."""
    lang: str = ""
    handler: Path | None = None
    skip_build: bool = False
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_options: tuple[str, ...] = ()
    copied: Mapping[str, Path] = field(default_factory=dict)
    """Files and folders that get in beside the handler (`configuration.copy`), by their places there."""


@dataclass(frozen=True, slots=True)
class StackFile:
    """A whole stack file. `gateway` is the one it names, if any."""

    functions: tuple[StackFunction, ...]
    gateway: str | None = None


def load_stack(path: Path, environ: Mapping[str, str]) -> tuple[Deployment, ...]:
    """What a stack file wants deployed, in its order. Raises ConfigError with every problem and its line.

    A Python function's handler becomes the annotation `io.gpio-bridge.handler` with an absolute path; so does a
    command's (`lang: classic` with `fprocess`), which then runs in that folder.
    """
    return tuple(each.deployment for each in load_stack_file(path, environ).functions)


def load_stack_file(path: Path, environ: Mapping[str, str]) -> StackFile:
    """As `load_stack`, with what else the file says of its functions."""
    return _stack_file(composed(text_of(path).text, str(path), environ), Reader(path.absolute().parent), here=True)


def received_stack_file(text: str, name: str) -> StackFile:
    """As `load_stack_file`, for a text that came from another machine; `name` is what messages call it.

    Images are what runs: handlers stand on that other machine, and are left alone. Nothing of this machine
    goes into it: `${NAME:-default}` is its default; `${NAME}` and files of variables are mistakes. Raises ConfigError.
    """
    reader = Reader(Path("/"))
    for variable, line, column in unset(text, {}):
        why = f"${{{variable}}} is not set: variables are replaced where the file is, before it is sent"
        reader.found.append(Problem(name, line, column, "", why))
    if reader.found:
        raise ConfigError(reader.found)
    return _stack_file(composed(text, name, {}), reader, here=False)


def _stack_file(node: Node, reader: Reader, *, here: bool) -> StackFile:
    if not isinstance(node.value, dict):
        reader.problem(node, "", "must be a map with the key functions")
        raise ConfigError(reader.found)
    for key, child in node.value.items():
        if key not in _TOP:
            reader.problem(child, key, f"unknown key; a stack file has {', '.join(_TOP)}")
    version = node.value.get("version")
    if version is not None and version.value not in _VERSIONS:
        reader.problem(version, "version", "must be 1.0")
    gateway = _provided(node.value.get("provider"), node, reader)
    copied = dict(_copied(node.value.get("configuration"), reader)) if here else {}
    functions = node.value.get("functions")
    found: list[StackFunction] = []
    if functions is None or not isinstance(functions.value, dict):
        reader.problem(functions or node, "functions", "must be a map of functions by their names")
    else:
        for name, child in functions.value.items():
            function = _function(name, child, reader, here=here)
            if function is not None:
                found.append(dataclasses.replace(function, copied=copied))
    if reader.found:
        raise ConfigError(reader.found)
    return StackFile(tuple(found), gateway)


def fingerprint(deployment: Deployment) -> str:
    """Changes when the deployment does."""
    canonical = orjson.dumps(deployment.document(), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def _provided(node: Node | None, document: Node, reader: Reader) -> str | None:
    if node is None or not isinstance(node.value, dict):
        reader.problem(node or document, "provider", "must be a map, such as {name: openfaas}")
        return None
    name = node.value.get("name")
    if name is not None and name.value not in ("openfaas", "faas"):
        reader.problem(name, "provider.name", "must be openfaas")
    gateway = node.value.get("gateway")
    if gateway is None or gateway.value is None:
        return None
    if not isinstance(gateway.value, str) or not gateway.value.startswith(("http://", "https://")):
        reader.problem(gateway, "provider.gateway", "must be an address such as http://127.0.0.1:8080")
        return None
    return gateway.value


def _copied(node: Node | None, reader: Reader) -> Iterator[tuple[str, Path]]:
    """What `configuration.copy` names, each below the stack file's folder, by its place there."""
    given = node.value.get("copy") if node is not None and isinstance(node.value, dict) else None
    if given is None or given.value is None:
        return
    if not isinstance(given.value, list):
        reader.problem(given, "configuration.copy", f"must be a list of paths, not {given.kind()}")
        return
    for i, each in enumerate(given.value):
        path = Path(str(each.value)) if isinstance(each.value, str) and each.value else Path("/")
        if path.is_absolute() or ".." in path.parts:
            reader.problem(each, f"configuration.copy.{i}", "must be a path below the folder of the stack file")
        elif not (reader.base / path).exists():
            reader.problem(each, f"configuration.copy.{i}", f"there is nothing at {reader.base / path}")
        else:
            yield path.as_posix(), reader.base / path


def _function(name: str, node: Node, reader: Reader, *, here: bool) -> StackFunction | None:
    key = f"functions.{name}"
    if isinstance(node.value, dict):
        kept = {given: child for given, child in node.value.items() if given not in _NOT_USED}
        node_read = dataclasses.replace(node, value=kept)
    else:
        node_read = node
    before = len(reader.found)
    entry: _Function | Invalid = reader.object(node_read, _Function, key)
    if entry is INVALID or len(reader.found) > before:
        return None
    assert not isinstance(entry, Invalid)
    if here and entry.handler is not None and not entry.handler.exists():
        reader.problem(_child(node, "handler"), f"{key}.handler", f"there is nothing at {entry.handler}")
    if not here and not entry.image:
        reader.problem(node, f"{key}.image", "is missing: on another machine an image is what runs")
        return None
    if not here and entry.environment_file:
        why = "is not read from another machine; write the variables under environment"
        reader.problem(_child(node, "environment_file"), f"{key}.environment_file", why)
        return None
    # faas-cli's order: what stands in the file itself is the default, and the last of its files wins.
    variables: dict[str, str] = dict(entry.environment or {})
    variables |= dict(_environment_files(entry, node, key, reader))
    annotations: dict[str, str] = dict(entry.annotations or {})
    if here and entry.handler is not None:
        annotations.setdefault(HANDLER_ANNOTATION, str(entry.handler.resolve()))
    deployment = Deployment(
        service=name,
        image=entry.image or "",
        env_process=entry.fprocess or "",
        env_vars=variables or None,
        constraints=entry.constraints,
        secrets=entry.secrets,
        labels=entry.labels or {},
        annotations=annotations,
        limits=_resources(entry.limits),
        requests=_resources(entry.requests),
        read_only_root_filesystem=entry.readonly_root_filesystem,
    )
    try:
        deployment = parse_deployment(deployment.document() | {"namespace": entry.namespace or NAMESPACE})
    except FunctionError as error:
        reader.problem(node, key, str(error))
        return None
    line, _ = node.key_at or (node.line, 0)
    return StackFunction(
        deployment,
        f"{node.file}:{line}",
        entry.lang or "",
        entry.handler,
        entry.skip_build,
        entry.build_args or {},
        entry.build_options or (),
    )


def _environment_files(entry: _Function, node: Node, key: str, reader: Reader) -> Iterator[tuple[str, str]]:
    """The `environment:` maps of the files that a function names, in their order."""
    for path in entry.environment_file or ():
        at = _child(node, "environment_file")
        try:
            document = read(path)
        except ConfigError as error:
            reader.found.extend(error.problems)
            continue
        variables = document.value.get("environment") if isinstance(document.value, dict) else None
        if variables is None or not isinstance(variables.value, dict):
            reader.problem(at, f"{key}.environment_file", f"{path} has no map environment:")
            continue
        for name, value in variables.value.items():
            spelled = SpelledOrEmpty.from_node(value, reader, f"environment.{name}")
            if not isinstance(spelled, Invalid):
                yield name, spelled


def _child(node: Node, key: str) -> Node:
    return node.value.get(key, node) if isinstance(node.value, dict) else node


def _resources(given: _Resources | None) -> Resources | None:
    return None if given is None else Resources(given.memory or "", given.cpu or "")
