"""The functions' `topic` annotations: asked of the gateway now and then, kept for when it does not answer.

A gateway that is away takes nothing back, and neither does an annotation that cannot be read: what was last good stays
in force until the function, or its annotation, is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from bridge.clock import Clock
from bridge.core.mapping import Mapping
from bridge.core.mapping_document import mapping_document
from bridge.errors import TopicError
from bridge.manager.functions import Functions
from bridge.manager.mappings.annotated import annotated_mappings, carried_topics
from bridge.manager.mappings.file import FileNotWritten, replace_text
from bridge.manager.problems import Refusal
from bridge.manager.settings import TopicAnnotationSettings

_log = logging.getLogger(__name__)

KEPT: Final = "topic-annotations.json"
"""The file in the state folder with the last good annotations."""


class TopicAnnotations:
    """The mappings that annotations of functions mean. The loop owns it; disks are used on it, for a small file."""

    def __init__(
        self, settings: TopicAnnotationSettings, functions: Functions, state_dir: Path, root: str, clock: Clock
    ) -> None:
        self.problem: str | None = None
        """Why it is not known what the functions carry now; None when it is."""
        self.changed: list[Callable[[], None]] = []
        """Called when other mappings are in force."""
        self.mappings: tuple[Mapping, ...] = ()
        """What they mean, in the order of the functions' names."""
        self._settings = settings
        self._functions = functions
        self._path = state_dir / KEPT
        self._root = root
        self._clock = clock
        self._good: dict[str, tuple[str, tuple[Mapping, ...]]] = {}
        self._refused: dict[str, tuple[str, str]] = {}
        """Annotations that cannot be read, and why, by function."""

    @property
    def counts(self) -> tuple[int, int]:
        """How many functions' annotations are in force, and how many cannot be read."""
        return len(self._good), len(self._refused)

    def open(self) -> None:
        """Begin with what was kept."""
        if not self._settings.enabled:
            return
        try:
            kept = orjson.loads(self._path.read_bytes())
            self._take({str(name): str(text) for name, text in kept["functions"].items()})
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            extra = {"op": "annotations.kept", "file": str(self._path), "why": str(error)}
            _log.warning("the kept topic annotations are no good; the gateway is asked for them", extra=extra)

    async def watch(self) -> None:
        """Ask the gateway again and again, until cancelled."""
        while self._settings.enabled:
            await self.look()
            await self._clock.sleep(self._settings.every_s)

    async def look(self) -> None:
        """Ask the gateway now."""
        try:
            answer = await self._functions.ask("GET", "/system/functions")
            found = carried_topics(answer.json())
        except (Refusal, ValueError, TypeError, AttributeError) as error:
            told = str(error) if isinstance(error, Refusal) else f"the gateway's list cannot be read: {error}"
            if told != self.problem:
                _log.warning("topic annotations are not known now", extra={"op": "annotations.ask", "why": told})
            self.problem = told
            return
        self.problem = None
        if self._take(found):
            self._keep()
            for heard in self.changed:
                heard()

    def document(self, in_file: Iterable[str]) -> dict[str, Any]:
        """As JSON: what each function carries and which mappings that means, but those that the file has too."""
        names = set(in_file)
        return {
            "enabled": self._settings.enabled,
            "problem": self.problem,
            "functions": [self._shown(function, names) for function in sorted({*self._good, *self._refused})],
        }

    def _shown(self, function: str, names: set[str]) -> dict[str, Any]:
        good, mappings = self._good.get(function, ("", ()))
        carried, problem = self._refused.get(function, (good, None))
        hidden = [mapping.name for mapping in mappings if mapping.name in names]
        if hidden and problem is None:
            problem = f"the mapping file has {', '.join(hidden)} too, and that is in force"
        return {
            "function": function,
            "topic": carried,
            "problem": problem,
            "mappings": {one.name: mapping_document(one) for one in mappings if one.name not in names},
        }

    def _take(self, found: dict[str, str]) -> bool:
        """Put what was found in force; whether that changes the mappings."""
        before = {name: text for name, (text, _) in self._good.items()}
        self._good = {name: self._good[name] for name in found if name in self._good}
        refused: dict[str, tuple[str, str]] = {}
        for name, text in found.items():
            if before.get(name) == text:
                continue
            try:
                self._good[name] = (text, annotated_mappings(name, text, self._root))
            except TopicError as error:
                refused[name] = (text, str(error))
                if self._refused.get(name) != refused[name]:
                    extra = {"op": "annotations.refused", "function": name, "topic": text, "why": str(error)}
                    _log.error("a topic annotation is refused", extra=extra)
        self._refused = refused
        after = {name: text for name, (text, _) in self._good.items()}
        if after == before:
            return False
        self.mappings = tuple(one for _, (_, mappings) in sorted(self._good.items()) for one in mappings)
        _log.info("topic annotations are in force", extra={"op": "annotations.load", "functions": len(after)})
        return True

    def _keep(self) -> None:
        kept = {"version": 1, "functions": {name: text for name, (text, _) in sorted(self._good.items())}}
        try:
            replace_text(self._path, orjson.dumps(kept).decode())
        except FileNotWritten as error:
            extra = {"op": "annotations.keep", "why": str(error)}
            _log.warning("topic annotations are in force, but not kept for a restart without a gateway", extra=extra)
