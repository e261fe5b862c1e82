"""The names that a house knows: who asks for another one has mistyped it, and must not just see nothing there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bridge.core.mapping import MappingSet
from bridge.core.suggestion import did_you_mean


@dataclass(frozen=True, slots=True)
class Names:
    """The functions and mappings there are."""

    functions: tuple[str, ...]
    mappings: tuple[str, ...]

    @classmethod
    def of(cls, mappings: MappingSet, more: Iterable[str]) -> Names:
        """Those of a mapping set, with `more` functions that need no mapping."""
        return cls(tuple(dict.fromkeys((*mappings.functions, *more))), tuple(mappings.mappings))

    def check_function(self, name: str) -> None:
        """Raises LookupError for a function that nothing invokes and that no stack file has."""
        if name not in self.functions:
            raise LookupError(f"no mapping invokes {name}, and no stack file has it{_near(name, self.functions)}")

    def check_mapping(self, name: str) -> None:
        """Raises LookupError for a mapping that is not there."""
        if name not in self.mappings:
            raise LookupError(f"there is no mapping {name}{_near(name, self.mappings)}")


def _near(name: str, known: tuple[str, ...]) -> str:
    return did_you_mean(name, known) or f"; there are {', '.join(known) or 'none'}"
