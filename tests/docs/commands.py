"""The tree of commands as the code declares it, read from what typer is given and not from what it makes of it."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

from bridge.cli.app import app

_WORDS = {str: "text", int: "a number", float: "a number", Path: "a path", datetime: "a time"}
HELP = "--help"


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument by its place."""

    name: str
    required: bool
    many: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Option:
    """An option with all of its spellings."""

    spellings: tuple[str, ...]
    takes: str
    default: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `name` is the whole of it, `gpio-bridge functions list`."""

    name: str
    text: str
    arguments: tuple[Argument, ...]
    options: tuple[Option, ...]
    subcommands: tuple[str, ...] = ()


def commands() -> Iterator[Command]:
    """Every command, each group before its own."""
    return _walk(app, "gpio-bridge")


def _walk(group: typer.Typer, name: str) -> Iterator[Command]:
    subs = {str(one.name or getattr(one.callback, "__name__", "")): one for one in group.registered_commands}
    groups = {str(one.name): one.typer_instance for one in group.registered_groups}
    text = group.info.help if isinstance(group.info.help, str) else ""
    callback = group.registered_callback.callback if group.registered_callback else None
    arguments, options = _parameters(callback) if callback else ((), ())
    yield Command(name, text, arguments, options, (*subs, *groups))
    for sub, declared in subs.items():
        assert declared.callback is not None
        arguments, options = _parameters(declared.callback)
        yield Command(f"{name} {sub}", inspect.getdoc(declared.callback) or "", arguments, options)
    for sub, inner in groups.items():
        assert inner is not None
        yield from _walk(inner, f"{name} {sub}")


def _parameters(callback: Callable[..., Any]) -> tuple[tuple[Argument, ...], tuple[Option, ...]]:
    hints = typing.get_type_hints(callback, include_extras=True)
    arguments: list[Argument] = []
    options: list[Option] = []
    for name, parameter in inspect.signature(callback).parameters.items():
        bare, info = _declared(hints[name])
        missing = parameter.default is inspect.Parameter.empty
        meaning = " ".join((info.help or "").split()) if info is not None else ""
        if isinstance(info, ArgumentInfo):
            many = get_origin(_without_none(bare)) is list
            arguments.append(Argument(name, missing, many, meaning))
            continue
        # typer takes the first spelling for a default until it sees the Annotated around it.
        given = (info.default, *(info.param_decls or ())) if isinstance(info, OptionInfo) else ()
        spelled = tuple(one for one in given if isinstance(one, str) and one.startswith("-")) or (
            f"--{name.replace('_', '-')}",
        )
        default = (
            "" if missing or parameter.default is None or parameter.default is False else str(_plain(parameter.default))
        )
        options.append(Option(spelled, _takes(bare, info), default, missing, meaning))
    return tuple(arguments), tuple(options)


def _declared(hint: Any) -> tuple[Any, ArgumentInfo | OptionInfo | None]:
    """The bare type, and what typer is told of it."""
    if get_origin(hint) is not Annotated:
        return hint, None
    info = next((mark for mark in hint.__metadata__ if isinstance(mark, (ArgumentInfo, OptionInfo))), None)
    return hint.__origin__, info


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        return next(option for option in get_args(hint) if option is not type(None))
    return hint


def _takes(hint: Any, info: ArgumentInfo | OptionInfo | None) -> str:
    bare = _without_none(hint)
    if bare is bool:
        return ""
    if get_origin(bare) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(bare))
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return ", ".join(f"`{choice.value}`" for choice in bare)
    if bare is Path and info is not None:
        return "a file" if info.dir_okay is False else "a path"
    return _WORDS.get(bare, "text")


def _plain(value: object) -> object:
    return value.value if isinstance(value, enum.Enum) else value
