"""faas-cli's stack.yml: which functions there are, where their handlers stand and how they are to run.

What faas-cli writes and a gateway has no use for (templates, build options) is left alone at the top of the file and in
a function; a function's keys that no faas-cli knows are mistakes. `${NAME}` and `${NAME:-default}` in values are
replaced from the environment, as faas-cli does before it reads the file. Numbers and truths that stand where text is
wanted keep their spelling, as with faas-cli: `version: 1.10` is the text `1.10`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from bridge.config import INVALID, Invalid, Node, Reader, read
from bridge.errors import ConfigError, FunctionError
from bridge.gateway.deployment import Deployment, Resources, parse_deployment
from bridge.gateway.names import NAMESPACE

HANDLER_ANNOTATION = "io.gpio-bridge.handler"
"""Names the folder (or handler.py) of a function's code on this machine."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?-)([^}]*))?\}")
_VERSIONS = (1, 1.0, "1.0", "1")
_TOP = ("version", "provider", "functions", "configuration")
_BUILD_KEYS = frozenset(
    {"skip_build", "build_options", "build_args", "build_secrets", "platforms", "copy_extra_paths", "extra_paths"}
)
_COMMAND_LANGUAGES = frozenset({"dockerfile"})


class _Spelled(str):
    """A single value as it is spelled in the file; nothing is the empty text."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> _Spelled | Invalid:
        if isinstance(node.value, list | dict):
            return reader.problem(node, key, f"must be a single value, not {node.kind()}")
        if node.value is None:
            return cls()
        # Text is taken from the value, where the variables are replaced already; the rest from what stands in the file.
        return cls(node.value if isinstance(node.value, str) or node.written is None else node.written)


@dataclass(frozen=True, slots=True)
class _Resources:
    memory: _Spelled | None = None
    cpu: _Spelled | None = None


@dataclass(frozen=True, slots=True)
class _Function:
    """One entry under `functions:`."""

    image: _Spelled | None = None
    lang: str | None = None
    handler: Path | None = None
    fprocess: _Spelled | None = None
    environment: Mapping[str, _Spelled] | None = None
    environment_file: tuple[Path, ...] | None = None
    secrets: tuple[_Spelled, ...] | None = None
    labels: Mapping[str, _Spelled] | None = None
    annotations: Mapping[str, _Spelled] | None = None
    constraints: tuple[str, ...] | None = None
    limits: _Resources | None = None
    requests: _Resources | None = None
    readonly_root_filesystem: bool = False
    namespace: str | None = None
    name: str | None = None
    skip_build: object = field(default=None)


def load_stack(path: Path, environ: Mapping[str, str]) -> tuple[Deployment, ...]:
    """The functions of a stack file in its order. Raises ConfigError with every problem and its line.

    A Python function's handler becomes the annotation `io.gpio-bridge.handler` with an absolute path; so does a
    command's (`lang: dockerfile` with `fprocess`), which then runs in that folder.
    """
    node = _substituted(read(path), environ)
    reader = Reader(path.absolute().parent)
    if not isinstance(node.value, dict):
        reader.problem(node, "", "must be a map with the key functions")
        raise ConfigError(reader.found)
    for key, child in node.value.items():
        if key not in _TOP:
            reader.problem(child, key, f"unknown key; a stack file has {', '.join(_TOP)}")
    version = node.value.get("version")
    if version is not None and version.value not in _VERSIONS:
        reader.problem(version, "version", "must be 1.0")
    _check_provider(node.value.get("provider"), node, reader)
    functions = node.value.get("functions")
    found: list[Deployment] = []
    if functions is None or not isinstance(functions.value, dict):
        reader.problem(functions or node, "functions", "must be a map of functions by their names")
    else:
        for name, child in functions.value.items():
            deployment = _deployment(name, child, reader)
            if deployment is not None:
                found.append(deployment)
    if reader.found:
        raise ConfigError(reader.found)
    return tuple(found)


def fingerprint(deployment: Deployment) -> str:
    """Changes when the deployment does."""
    canonical = orjson.dumps(deployment.document(), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:16]


def _check_provider(node: Node | None, document: Node, reader: Reader) -> None:
    if node is None or not isinstance(node.value, dict):
        reader.problem(node or document, "provider", "must be a map, such as {name: openfaas}")
        return
    name = node.value.get("name")
    if name is not None and name.value not in ("openfaas", "faas"):
        reader.problem(name, "provider.name", "must be openfaas")


def _deployment(name: str, node: Node, reader: Reader) -> Deployment | None:
    key = f"functions.{name}"
    if isinstance(node.value, dict):
        kept = {given: child for given, child in node.value.items() if given not in _BUILD_KEYS}
        node_read = dataclasses.replace(node, value=kept)
    else:
        node_read = node
    before = len(reader.found)
    entry: _Function | Invalid = reader.object(node_read, _Function, key)
    if entry is INVALID or len(reader.found) > before:
        return None
    assert not isinstance(entry, Invalid)
    if entry.handler is not None and not entry.handler.exists():
        reader.problem(_child(node, "handler"), f"{key}.handler", f"there is nothing at {entry.handler}")
    variables = dict(_environment_files(entry, node, key, reader))
    variables |= entry.environment or {}
    annotations: dict[str, str] = dict(entry.annotations or {})
    if entry.handler is not None:
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
        return parse_deployment(deployment.document() | {"namespace": entry.namespace or NAMESPACE})
    except FunctionError as error:
        reader.problem(node, key, str(error))
        return None


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
            spelled = _Spelled.from_node(value, reader, f"environment.{name}")
            if not isinstance(spelled, Invalid):
                yield name, spelled


def _child(node: Node, key: str) -> Node:
    return node.value.get(key, node) if isinstance(node.value, dict) else node


def _resources(given: _Resources | None) -> Resources | None:
    return None if given is None else Resources(given.memory or "", given.cpu or "")


def _substituted(node: Node, environ: Mapping[str, str]) -> Node:
    """The document with the variables in its texts replaced; what is not set and has no default becomes nothing."""
    if isinstance(node.value, dict):
        value: object = {key: _substituted(child, environ) for key, child in node.value.items()}
    elif isinstance(node.value, list):
        value = [_substituted(child, environ) for child in node.value]
    elif isinstance(node.value, str):
        value = _VARIABLE.sub(lambda match: _value(match, environ), node.value)
    else:
        return node
    return dataclasses.replace(node, value=value)  # type: ignore[arg-type]  # one of the three shapes above


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, default = match.groups()
    found = environ.get(name)
    if operator == ":-":
        return found or default
    return default if found is None and operator else found or ""
