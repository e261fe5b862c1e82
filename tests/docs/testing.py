"""The tables of the page about testing, made from the plugin and the classes that it hands out."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import bridge.testing.files as places
from bridge import testing
from bridge.testing import plugin
from bridge.testing.broker import Broker
from bridge.testing.scenarios import words
from bridge.testing.sensor import VERBS
from tests.docs.fields import field_texts

CLASSES: dict[str, type[Any]] = {
    "Broker": Broker,
    **{name: getattr(testing, name) for name in testing.__all__ if inspect.isclass(getattr(testing, name))},
}
SHOWN = ("House", "Broker", "VirtualTime", "VirtualPi", "Sensor", "Output", "Function", "Call", "Invocations",
         "RecordedInvocation", "Attempt")  # fmt: skip
OURS = {("House", "board"), ("House", "agent"), ("House", "restart_agent"), ("Function", "take")}
"""Public for other modules of the package, and no part of what a test is given."""
_PLACES = {
    "agents": places.AGENTS,
    "mappings": testing.MAPPINGS,
    "dispatcher": places.DISPATCHER,
    "functions": places.FUNCTIONS,
}

Rows = Iterator[tuple[str, ...]]


def fixtures() -> Rows:
    """Every fixture of the plugin that a test may ask for, what it is, and what it says of itself."""
    for name, value in vars(plugin).items():
        wrapped = getattr(value, "_fixture_function", None)
        if wrapped is None or name.startswith("_"):
            continue
        fixture = getattr(value, "name", None) or name
        yield f"`{fixture}`", f"`{inspect.get_annotations(wrapped)['return']}`", said(wrapped)


def files() -> Rows:
    """What makes a house, and where it is looked for."""
    for name, meaning in plugin.OPTIONS.items():
        looked = ", ".join(f"`{place}`" for place in _PLACES[name])
        yield f"`{name}=`", f"`gpio_bridge_{name}`", meaning, looked


def verbs() -> Rows:
    """The verbs of each kind of sensor."""
    for kind, names in VERBS.items():
        yield f"`{kind}`", ", ".join(f"`{name}`" for name in names)


def forms() -> Rows:
    """What may be written for each kind of sensor; what only some sensors of a kind take comes last."""
    told: set[str] = set()
    for kind in VERBS:
        for form in words.forms_of(kind):
            told.add(form)
            yield f"`{kind}`", f"`{form}`", words.MEANINGS[form]
    assert told == words.MEANINGS.keys()
    for part, own in words.PARTS.items():
        for form, meaning in own.items():
            yield part, f"`{form}`", meaning


def answers() -> Rows:
    """How a function may be told to answer."""
    for form, meaning in words.ANSWERS.items():
        yield f"`{form}`", meaning


def members(cls: type[Any]) -> Rows:
    """The public attributes, properties and methods of a class, in the order of the code."""
    texts = field_texts(cls) if dataclasses.is_dataclass(cls) else {}
    for name in inspect.get_annotations(cls):
        if not name.startswith("_"):
            yield f"`{name}`", texts.get(name, "")
    for name, value in vars(cls).items():
        if name.startswith("_") or (cls.__name__, name) in OURS or name in inspect.get_annotations(cls):
            continue
        if isinstance(value, property):
            yield f"`{name}`", said(value)
        elif inspect.isfunction(value):
            yield f"`{name}({', '.join(_parameters(value))})`", said(value)


def said(value: object) -> str:
    """A docstring in one line."""
    return " ".join((inspect.getdoc(value) or "").split())


def _parameters(function: Callable[..., object]) -> Iterator[str]:
    named = False
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield f"*{name}"
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            named = True
            yield "*"
        yield name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"
