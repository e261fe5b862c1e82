"""From YAML nodes to frozen dataclasses: every mistake is gathered, each with its place.

A settings class is an ordinary dataclass; its annotations are the schema. A field's key in the file is its name without
the unit's suffix (`timeout_s` is written `timeout: 30s`). Shapes that a plain dataclass cannot say get a classmethod
`from_node`; what several fields must agree on is told by a method `problems`.

Written for the agent's sake: it must stay well under 40 MB resident, and pydantic alone adds 5 MB and 50 ms to it
(measured), reports nested alternatives under keys that are not in the file, and stops before the checks across fields
when a single field is wrong.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin, runtime_checkable

from bridge.config.units import duration, seconds, size, size_bytes
from bridge.config.yaml12 import Node
from bridge.core.suggestion import did_you_mean
from bridge.errors import ConfigError, Problem

T = TypeVar("T")

LISTS = (list, tuple, frozenset, Sequence)
"""What a list in a file can become."""
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
_INT_LIMIT = 2**63


class Invalid(enum.Enum):
    """The value that stands for one that could not be read; its problem is already noted."""

    INVALID = "invalid"


INVALID = Invalid.INVALID


@dataclass(frozen=True, slots=True)
class Seconds:
    """Marks a float of seconds that people write as `30s`; bounds are inclusive, in seconds."""

    minimum: float = 0.0
    maximum: float = math.inf
    suffix: typing.ClassVar[str] = "_s"


@dataclass(frozen=True, slots=True)
class Bytes:
    """Marks an int of bytes that people write as `64KiB`; bounds are inclusive, in bytes."""

    minimum: int = 0
    maximum: int | None = None
    suffix: typing.ClassVar[str] = "_bytes"


@dataclass(frozen=True, slots=True)
class Within:
    """Bounds a number, both inclusive."""

    minimum: float = -math.inf
    maximum: float = math.inf


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text must match `regex` as a whole; `text` says in words what is wanted."""

    regex: str
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Marks a union of dataclasses; `key` names the one meant by its class attribute `KIND`."""

    key: str = "kind"


NAME = Pattern(
    r"[a-z0-9][a-z0-9-]{0,62}", "lower-case letters, digits and hyphens, at most 63, not starting with a hyphen"
)
"""The names of sites, nodes, sensors, outputs and mappings (DESIGN.md, "Public contract")."""
Name = Annotated[str, NAME]
Port = Annotated[int, Within(0, 65535)]


@runtime_checkable
class SelfDecoding(Protocol):
    """A class with a shape of its own in YAML."""

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Any:
        """Read the node, or note problems and return INVALID."""


class Reader:
    """Reads nodes into values and gathers what is wrong; paths in files are relative to `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.found: list[Problem] = []
        self._hidden = False  # inside a secret: messages do not show what is given

    def problem(self, node: Node, key: str, message: str) -> Invalid:
        """Note one mistake."""
        self.found.append(Problem(node.file, node.line, node.column, key, message))
        return INVALID

    def read(self, node: Node, hint: Any, key: str) -> Any:
        """The node's value as `hint` wants it, or INVALID."""
        hint, marks = _marks(hint)
        origin = get_origin(hint)
        if origin in (Union, types.UnionType):
            return self._union(node, get_args(hint), marks, key)
        if hint is Node:
            return node
        if origin is Literal:
            options = get_args(hint)
            if node.value in options and type(node.value) in {type(option) for option in options}:
                return node.value
            return self.problem(
                node, key, f"must be one of {_listed(options)}, not {self._shown(node)}{_near(node, options)}"
            )
        if isinstance(hint, type) and hasattr(hint, "from_node"):
            return hint.from_node(node, self, key)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.object(node, hint, key)
        if origin in LISTS:
            return self._list(node, origin, get_args(hint), key)
        if origin in (dict, Mapping):
            return self._map(node, get_args(hint), key)
        return self._scalar(node, hint, marks, key)

    def object(self, node: Node, cls: type[T], key: str, *, ignore: frozenset[str] = frozenset()) -> T | Invalid:
        """A map as the dataclass `cls`; keys in `ignore` were read by the caller.

        A field that is left out of its class's repr (`repr=False`) is a secret: no message shows its value.
        """
        if node.value is None and all(_has_default(field) for field in dataclasses.fields(cls)):  # type: ignore[arg-type] # T is a dataclass here
            return cls()
        if not isinstance(node.value, dict):
            return self.problem(node, key, f"must be a map, not {node.kind()}")
        keys = schema(cls)
        for given, child in node.value.items():
            if given not in keys and given not in ignore:
                line, column = child.key_at or (child.line, child.column)
                at = Node(None, line, column, child.file)
                self.problem(at, _join(key, given), f"unknown key{did_you_mean(given, keys)}")
        values: dict[str, Any] = {}
        complete = True
        failed: set[str] = set()
        for name_in_file, (field, hint) in keys.items():
            child_node = node.value.get(name_in_file)
            if child_node is None:
                if not _has_default(field):
                    complete = False
                    self.problem(node, _join(key, name_in_file), "is missing")
                continue
            value = self._field(child_node, field, hint, _join(key, name_in_file))
            if value is not INVALID:
                values[field.name] = value
                continue
            failed.add(name_in_file)
            if not _has_default(field):
                complete = False
        if not complete:
            return INVALID
        built = cls(**values)
        check = getattr(built, "problems", None)
        if check is not None:
            for relative, message in typing.cast("Iterable[tuple[str, str]]", check()):
                if relative.partition(".")[0] not in failed:  # what is wrong in itself need not agree with others
                    self.problem(_at(node, relative), _join(key, relative), message)
        return built

    def _field(self, node: Node, field: dataclasses.Field[Any], hint: Any, key: str) -> Any:
        hidden, self._hidden = self._hidden, self._hidden or not field.repr
        try:
            return self.read(node, hint, key)
        finally:
            self._hidden = hidden

    def _union(self, node: Node, options: tuple[Any, ...], marks: tuple[Any, ...], key: str) -> Any:
        if type(None) in options:
            if node.value is None:
                return None
            options = tuple(option for option in options if option is not type(None))
        if len(options) == 1:
            return self.read(node, Annotated[(options[0], *marks)] if marks else options[0], key)
        choice = next((mark for mark in marks if isinstance(mark, Choice)), None)
        if choice is not None:
            return self._choice(node, choice, options, key)
        shaped = [option for option in options if _takes(option, node)]
        if len(shaped) == 1:  # only one is of this shape: what is wrong inside of it is told exactly
            return self.read(node, Annotated[(shaped[0], *marks)] if marks else shaped[0], key)
        for option in options:  # alternatives of plain scalars: the first that takes it without complaint
            attempt = Reader(self.base)
            value = attempt.read(node, Annotated[(option, *marks)] if marks else option, key)
            if not attempt.found:
                return value
        return self.problem(node, key, f"must be {' or '.join(map(_called, options))}, not {self._shown(node)}")

    def _choice(self, node: Node, choice: Choice, options: tuple[Any, ...], key: str) -> Any:
        if not isinstance(node.value, dict):
            return self.problem(node, key, f"must be a map, not {node.kind()}")
        kinds = {option.KIND: option for option in options}
        at = _join(key, choice.key)
        named = node.value.get(choice.key)
        if named is None:
            return self.problem(node, at, f"is missing; one of {_listed(kinds)}")
        if not isinstance(named.value, str) or named.value not in kinds:
            return self.problem(
                named, at, f"must be one of {_listed(kinds)}, not {self._shown(named)}{_near(named, kinds)}"
            )
        return self.object(node, kinds[named.value], key, ignore=frozenset([choice.key]))

    def _list(self, node: Node, origin: Any, args: tuple[Any, ...], key: str) -> Any:
        if not isinstance(node.value, list):
            return self.problem(node, key, f"must be a list, not {node.kind()}")
        fixed = origin is tuple and args[-1] is not Ellipsis
        if fixed and len(node.value) != len(args):
            return self.problem(node, key, f"must be a list of {len(args)}, not of {len(node.value)}")
        hints = args if fixed else (args[0],) * len(node.value)
        values = [
            self.read(child, hint, f"{key}[{i}]") for i, (child, hint) in enumerate(zip(node.value, hints, strict=True))
        ]
        read = [value for value in values if value is not INVALID]
        if fixed and len(read) != len(values):
            return INVALID
        return tuple(read) if origin is Sequence else origin(read)

    def _map(self, node: Node, args: tuple[Any, ...], key: str) -> Any:
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            return self.problem(node, key, f"must be a map, not {node.kind()}")
        result = {}
        for name, child in node.value.items():
            path = _join(key, name)
            checked = self.read(Node(name, child.line, child.column, child.file), args[0], path)
            value = self.read(child, args[1], path)
            if checked is not INVALID and value is not INVALID:
                result[checked] = value
        return result

    def _scalar(self, node: Node, hint: Any, marks: tuple[Any, ...], key: str) -> Any:
        value = node.value
        for mark in marks:
            if isinstance(mark, Seconds):
                return self._quantity(node, key, mark, seconds)
            if isinstance(mark, Bytes):
                return self._quantity(node, key, mark, size_bytes)
        if hint is Any or hint is object:
            return node.plain()
        if isinstance(value, int) and not -_INT_LIMIT <= value < _INT_LIMIT:
            return self.problem(node, key, f"is too large a number: {self._shown(node)}")
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wanted = str if hint is Path else hint
        if type(value) is not wanted or (isinstance(value, float) and not math.isfinite(value)):
            quote = ""
            if wanted is str and isinstance(value, (bool, int, float)):
                quote = "; put it in quotes" if self._hidden else f'; put it in quotes: "{_written(node)}"'
            return self.problem(node, key, f"must be {_WORDS[hint]}, not {self._shown(node)}{quote}")
        for mark in marks:
            if (
                isinstance(mark, Within)
                and isinstance(value, (int, float))
                and not mark.minimum <= value <= mark.maximum
            ):
                wants = _range(mark.minimum, mark.maximum, "{:g}".format)
                return self.problem(node, key, f"must be {wants}, not {self._shown(node)}")
            if isinstance(mark, Pattern) and isinstance(value, str) and not re.fullmatch(mark.regex, value):
                return self.problem(node, key, f"must be {mark.text}, not {self._shown(node)}")
        return self._path(node, key, typing.cast("str", value)) if hint is Path else value

    def _path(self, node: Node, key: str, text: str) -> Path | Invalid:
        if not text or "\0" in text:
            return self.problem(node, key, f"must be a path, not {self._shown(node)}")
        try:
            return self.base / Path(text).expanduser()
        except RuntimeError:
            return self.problem(node, key, f"there is no home folder for {self._shown(node)}")

    def _quantity(self, node: Node, key: str, mark: Seconds | Bytes, parse: Any) -> Any:
        value = node.value
        if value in (0, "0") and not isinstance(value, bool):
            number: float = 0
        elif isinstance(value, str):
            try:
                number = parse(value)
            except ValueError as error:
                return self.problem(node, key, str(error))
        else:
            example = "30s" if isinstance(mark, Seconds) else "64KiB"
            return self.problem(node, key, f"needs a unit: write one such as {example}, not {self._shown(node)}")
        maximum = math.inf if mark.maximum is None else mark.maximum
        if not mark.minimum <= number <= maximum:
            people: Callable[[float], str] = duration if isinstance(mark, Seconds) else size
            wants = _range(mark.minimum, maximum, people)
            return self.problem(node, key, f"must be {wants}, not {self._shown(node)}")
        return float(number) if isinstance(mark, Seconds) else int(number)

    def _shown(self, node: Node) -> str:
        if self._hidden or isinstance(node.value, (list, dict)) or node.value is None:
            return node.kind()
        text = repr(node.value) if isinstance(node.value, str) else _written(node)
        return text if len(text) <= 60 else f"{text[:57]}..."


def schema(cls: type[Any]) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The keys of a settings class in a file: key -> (field, annotation)."""
    return _schema(cls)  # type: ignore[arg-type] # every class is hashable; the type of types does not say so


@functools.cache
def _schema(cls: Any) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    keys = {}
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        name = field.name
        for suffix in _suffixes(hint):
            name = name.removesuffix(suffix)
        keys[field.metadata.get("key", name)] = (field, hint)
    return keys


def finish(value: T | Invalid, reader: Reader) -> T:
    """The value, or ConfigError with everything that was found."""
    if reader.found:
        raise ConfigError(reader.found)
    assert not isinstance(value, Invalid)
    return value


def _marks(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(hint) is Annotated:
        return hint.__origin__, hint.__metadata__
    return hint, ()


def _suffixes(hint: Any) -> Iterable[str]:
    bare, marks = _marks(hint)
    for mark in marks:
        if isinstance(mark, (Seconds, Bytes)):
            yield mark.suffix
    if get_origin(bare) in (Union, types.UnionType):
        for option in get_args(bare):
            yield from _suffixes(option)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _join(key: str, child: str) -> str:
    return f"{key}.{child}" if key and child else key or child


def _at(node: Node, relative: str) -> Node:
    """The deepest node on the way to `relative` (`a.b[0].c`) that stands in the file."""
    for part, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", relative):
        if isinstance(node.value, dict) and part in node.value:
            node = node.value[part]
        elif isinstance(node.value, list) and index and int(index) < len(node.value):
            node = node.value[int(index)]
        else:
            break
    return node


def _takes(option: Any, node: Node) -> bool:
    """Whether a value of this shape (map or list) can only be meant as the option."""
    bare, _ = _marks(option)
    if isinstance(node.value, dict):
        return dataclasses.is_dataclass(bare) or get_origin(bare) in (dict, Mapping)
    return isinstance(node.value, list) and get_origin(bare) in LISTS


def _called(option: Any) -> str:
    """What a person would call a value of this type."""
    bare, marks = _marks(option)
    if any(isinstance(mark, Seconds) for mark in marks):
        return "a duration such as 30s"
    if any(isinstance(mark, Bytes) for mark in marks):
        return "a size such as 64KiB"
    if get_origin(bare) is Literal:
        return " or ".join(str(choice) for choice in get_args(bare))
    if get_origin(bare) in LISTS:
        return "a list"
    return _WORDS.get(bare, "a map")


def _written(node: Node) -> str:
    return node.written if node.written is not None else str(node.value)


def _listed(options: Iterable[Any]) -> str:
    return ", ".join(str(option) for option in options)


def _near(node: Node, options: Iterable[Any]) -> str:
    return did_you_mean(node.value, options) if isinstance(node.value, str) else ""


def _range(minimum: float, maximum: float, shown: Callable[[float], str]) -> str:
    if math.isinf(maximum):
        return f"at least {shown(minimum)}"
    if math.isinf(minimum):
        return f"at most {shown(maximum)}"
    return f"{shown(minimum)} to {shown(maximum)}"
