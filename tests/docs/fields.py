"""What the code says of a settings class: its keys, what they take, their defaults and their meaning."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from bridge.agent.pins import Pin
from bridge.config import NAME, Bytes, Choice, Pattern, Seconds, Within, duration, schema, variables
from bridge.config.units import size
from bridge.mapping_file import entries, examples
from bridge.mapping_file.document import ZoneEntry
from bridge.testing.scenarios import document, steps
from tests.docs.notes import NOTES

WRITTEN: dict[Any, type[Any]] = {
    entries.SelectEntry: entries.SensorEntry,
    entries.HoursEntry: entries.HoursMap,
    entries.CooldownEntry: entries.CooldownMap,
    entries.InvokeEntry: entries.InvokeMap,
    entries.PayloadEntry: entries.PayloadMap,
}
"""Classes that read themselves, by the map that people may write for them."""

SHAPES: dict[Any, str] = {
    Pin: "a pin: `17`, `GPIO17`, `BCM17`, `BOARD11`, `J8:11`",
    entries.SelectEntry: "a selector, or a list of them",
    entries.WhenEntry: "a CEL expression",
    entries.HoursEntry: '`"22:00-06:00"`, or a map',
    entries.CooldownEntry: "a duration, or a map",
    entries.InvokeEntry: "a function's name, or a map",
    entries.PayloadEntry: "`event`, `data`, or a map",
    entries.HeadersEntry: "a map of texts",
    examples.ExamplesEntry: "a list of examples, see below",
    examples.GivenEntry: "a map, or a list of them, see below",
    examples.ExpectEntry: "text or a map, see below",
    examples.TimeEntry: "a time",
    examples.PlainEntry: "any value",
    ZoneEntry: "a time zone's name",
    steps.Words: "text",
    steps.Steps: "a list of steps, see below",
    steps.Answers: "how it answers, see below",
    steps.Jump: "a jump",
    document.Starts: "a moment",
    steps.Expected: "text or a map, see below",
    steps.Value: "any value",
}

PATTERNS: dict[Pattern, str] = {
    NAME: "a name: `a-z`, `0-9`, `-`",
    entries.GLOB: "a name or a glob",
    examples.FUNCTION: "a function's name",
}
"""Shorter than the patterns themselves say it."""

_WORDS = {bool: "`true`, `false`", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a file."""

    path: str
    write: str
    default: str
    variable: str
    meaning: str


def keys(cls: type[Any]) -> Iterator[Key]:
    """Every key of a settings class, those of its sections included, in the order of the code."""
    names = {".".join(variable.path): variable.name for variable in variables(cls)}
    yield from _keys(cls, "", names)


def _keys(
    cls: type[Any], before: str, names: Mapping[str, str], shown: frozenset[type[Any]] = frozenset()
) -> Iterator[Key]:
    texts = field_texts(cls)
    for key, (field, hint) in schema(cls).items():
        path = f"{before}{key}"
        section = _section(hint)
        meaning = texts.get(field.name) or NOTES.get(note_of(cls, field.name), "")
        if section is None or section in WRITTEN.values() or _may_be_left_out(hint):
            said = shape(hint) if section is None or section in WRITTEN.values() else "a map"
            meaning = meaning or (first_sentence(section) if section else "")
            yield Key(path, said, default(field, hint), names.get(path, ""), meaning)
        if section is None or section in shown:
            continue
        shown |= {section}
        yield from _keys(section, f"{path}.", names, shown)
        if section is entries.SensorEntry:
            for instead in _keys(entries.TopicEntry, f"{path}.", names, shown):
                yield dataclasses.replace(instead, default="")


def notes(cls: type[Any]) -> Iterator[str]:
    """The keys of the notes that the tables of a class need: of its fields without a text in the code."""
    texts = field_texts(cls)
    for field, hint in schema(cls).values():
        if field.name not in texts:
            yield note_of(cls, field.name)
        section = _section(hint)
        if section is not None:
            yield from notes(section)
            if section is entries.SensorEntry:
                yield from notes(entries.TopicEntry)


def note_of(cls: type[Any], field: str) -> str:
    """The key of a field in the notes: the class that declares it, and its name."""
    return f"{_owner(cls, field).__name__}.{field}"


def undocumented(cls: type[Any]) -> Iterator[str]:
    """The fields that neither the code nor the notes explain."""
    return (key.path for key in keys(cls) if not key.meaning)


def field_texts(cls: type[Any]) -> dict[str, str]:
    """The texts below the fields of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if dataclasses.is_dataclass(each):
            found |= _texts(each)
    return found


def first_sentence(cls: type[Any]) -> str:
    """What a class says of itself, in short."""
    return (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " ")


def shape(hint: Any) -> str:
    """What people write for a value."""
    if get_origin(hint) is Annotated:
        bare, marks = hint.__origin__, hint.__metadata__
        for mark in marks:
            if isinstance(mark, Seconds):
                return "a duration" + _bounds(mark.minimum, mark.maximum, duration)
            if isinstance(mark, Bytes):
                return "a size" + _bounds(mark.minimum, math.inf if mark.maximum is None else mark.maximum, size)
            if isinstance(mark, Within):
                return shape(bare) + _bounds(mark.minimum, mark.maximum, _number)
            if isinstance(mark, Pattern):
                return PATTERNS.get(mark, mark.text)
            if isinstance(mark, Choice):
                return "a map with `kind`"
        return shape(bare)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return ", or ".join(shape(option) for option in get_args(hint) if option is not type(None))
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in get_args(hint))
    if origin in (dict, Mapping):
        return "a map by names"
    if origin in (tuple, list, frozenset):
        return "a list"
    return SHAPES.get(hint) or _WORDS.get(hint) or "a map"


def default(field: dataclasses.Field[Any], hint: Any) -> str:
    """The default as people would write it; `required` where there is none."""
    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        return "required"
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, entries.PayloadEntry):
        return f"`{value.payload}`"
    if dataclasses.is_dataclass(value) and not isinstance(value, Pin):
        return ""
    return f"`{_plain(value, hint)}`"


def _plain(value: Any, hint: Any) -> str:
    marks = _marks(hint)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Pin):
        return value.name
    if any(isinstance(mark, Seconds) for mark in marks):
        return duration(value)
    if any(isinstance(mark, Bytes) for mark in marks):
        return size(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _marks(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) is Annotated:
        return tuple(hint.__metadata__)
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(mark for option in get_args(hint) for mark in _marks(option))
    return ()


def _section(hint: Any) -> type[Any] | None:
    """The settings class of a section, where the value is one."""
    options = [option for option in get_args(hint) if option is not type(None)] if get_origin(hint) else [hint]
    if get_origin(hint) is Annotated or len(options) != 1:
        return None
    cls = WRITTEN.get(options[0], options[0])
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    return None if hasattr(cls, "from_node") else cls


def _may_be_left_out(hint: Any) -> bool:
    return type(None) in get_args(hint)


def _owner(cls: type[Any], name: str) -> type[Any]:
    """The class that declares a field."""
    return next(each for each in cls.__mro__ if name in inspect.get_annotations(each))


@functools.cache
def _module(name: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[name]))


def _texts(cls: type[Any]) -> dict[str, str]:
    declared = next(
        node
        for node in ast.walk(_module(cls.__module__))
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    )
    found: dict[str, str] = {}
    for statement, following in zip(declared.body, declared.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            text = textwrap.dedent(following.value.value).strip()
            found[statement.target.id] = " ".join(text.split())
    return found


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _bounds(minimum: float, maximum: float, shown: Any) -> str:
    low, high = minimum > 0 or (minimum == 0 and not math.isinf(maximum)), not math.isinf(maximum)
    if minimum == -math.inf and not high:
        return ""
    if low and high:
        return f", {shown(minimum)} to {shown(maximum)}"
    if high:
        return f", at most {shown(maximum)}"
    return f", at least {shown(minimum)}" if minimum > 0 else ""
