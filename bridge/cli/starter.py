"""A new function: its folder with a handler to change, and its entry in the stack file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from bridge.config import Node, compose, read
from bridge.errors import BridgeError

LANGUAGES: Final = ("python3-http", "python3")

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

_HANDLERS: Final = {
    "python3-http": '''\
"""{name}: say here what it does."""

import json


def handle(event, context):
    """Called with each event that a mapping sends here; what it returns is the answer."""
    sent = json.loads(event.body or b"{{}}")
    data = sent.get("data", sent)  # a mapping sends a CloudEvent unless it says `payload: data`
    print("called with", data, flush=True)
    return {{"statusCode": 200, "body": {{"seen": data}}}}
''',
    "python3": '''\
"""{name}: say here what it does."""


def handle(req):
    """Called with the body of each request as text; what it returns is the answer."""
    print("called with", req, flush=True)
    return req
''',
}

_HEAD: Final = """\
version: 1.0
provider:
  name: openfaas
  gateway: http://127.0.0.1:8080

functions:
"""


class NotMade(BridgeError, ValueError):
    """A new function could not be made; nothing was written."""


def make(name: str, language: str, stack: Path) -> tuple[Path, Path]:
    """Write the handler's folder beside the stack file and the entry into it; both paths.

    Raises NotMade, or ConfigError for a stack file that is no YAML, before anything is written.
    """
    if language not in LANGUAGES:
        raise NotMade(f"there is no language {language!r}; choose one of {', '.join(LANGUAGES)}")
    if not _NAME.fullmatch(name):
        raise NotMade(f"{name!r} is no name for a function: use a-z, 0-9 and - (not first or last), up to 63 letters")
    folder = stack.parent / name
    if folder.exists():
        raise NotMade(f"{folder} is already there; choose another name or remove it")
    text = _with_entry(stack, name, language)
    folder.mkdir(parents=True)
    handler = folder / "handler.py"
    handler.write_text(_HANDLERS[language].format(name=name), encoding="utf-8")
    waiting = stack.with_name(f".{stack.name}.new")
    waiting.write_text(text, encoding="utf-8")
    waiting.replace(stack)
    return handler, stack


def _with_entry(stack: Path, name: str, language: str) -> str:
    """The stack file's text with one more function; comments and order stay as they are."""
    if not stack.exists():
        return _HEAD + _entry(name, language, "  ")
    text = stack.read_text(encoding="utf-8")
    document = read(stack)
    functions = document.value.get("functions") if isinstance(document.value, dict) else None
    if functions is None or not isinstance(functions.value, dict | None):
        raise NotMade(f"{stack} has no map `functions:` to add to; is it a stack file?")
    there = functions.value or {}
    if name in there:
        raise NotMade(f"{stack}: there is already a function {name}")
    lines = text.splitlines(keepends=True)
    head = next((i for i, line in enumerate(lines) if line.startswith("functions:")), None)
    if head is None or lines[head].split("#")[0].strip() != "functions:":
        raise NotMade(f"{stack}: write `functions:` on a line of its own, with the functions below it")
    end = next((i for i in range(head + 1, len(lines)) if re.match(r"[^\s#]", lines[i])), len(lines))
    while end > head + 1 and not lines[end - 1].strip():
        end -= 1
    inside = [line for line in lines[head + 1 : end] if re.match(r" +[^\s#]", line)]
    indent = " " * (len(inside[0]) - len(inside[0].lstrip())) if inside else "  "
    if not lines[end - 1].endswith("\n"):
        lines[end - 1] += "\n"
    lines[end:end] = (["\n"] if there else []) + [_entry(name, language, indent)]
    result = "".join(lines)
    _check(compose(result, str(stack)), name, stack)
    return result


def _entry(name: str, language: str, indent: str) -> str:
    inner = indent * 2
    return (
        f"{indent}{name}:\n{inner}lang: {language}\n{inner}handler: ./{name}\n{inner}image: gpio-bridge/{name}:latest\n"
    )


def _check(document: Node, name: str, stack: Path) -> None:
    functions = document.value.get("functions") if isinstance(document.value, dict) else None
    if functions is None or not isinstance(functions.value, dict) or name not in functions.value:
        raise NotMade(f"{stack} is laid out in a way that cannot be added to; add the function {name} by hand")
