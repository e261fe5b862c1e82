"""What an expectation looks at, whether it is met, and what to say when it is not.

What may not live here: where invocations and dead letters come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.config import duration
from bridge.core.mapping import MappingSet
from bridge.testing.scenarios.steps import ExpectMap
from bridge.testing.scenarios.timeline import Expectation

SHOWN: Final = 10
"""So many invocations, or mappings, are told of in one failure."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One invocation, or one dead letter."""

    function: str | None
    mapping: str | None
    node: str | None = None
    sensor: str | None = None
    event: str | None = None
    value: object = None
    text: str = ""
    """All of it in one line, for people."""
    letter: bool = False
    """Whether it is a dead letter."""


def dead_letter(line: dict[str, Any], mappings: MappingSet) -> Seen | None:
    """What a line of the feed tells of a dead letter; None when it tells of something else.

    A clause that could not be evaluated is one, too, and is told as a judgement.
    """
    function, mapping, reason = line.get("function"), line.get("mapping"), line.get("reason")
    if line["type"] == "judgement" and line["result"] == "failed":
        known = mappings.mappings.get(line["mapping"])
        if known is None or known.shadow:
            return None
        function, reason = known.function, line["text"]
    elif line["type"] != "deadletter":
        return None
    text = f"{line['at'][11:19]} {function or line.get('topic')}: {reason}"
    return Seen(function, mapping, text=text, letter=True)


def is_wanted(one: Seen, wanted: ExpectMap) -> bool:
    """Whether it is one of those that are expected."""
    return (
        one.letter == wanted.dead_letter
        and wanted.function in (None, one.function)
        and wanted.mapping in (None, one.mapping)
        and wanted.sensor in (None, one.sensor, f"{one.node}/{one.sensor}")
        and wanted.event in (None, one.event)
        and (wanted.value is None or _same(wanted.value.given, one.value))
    )


def is_met(wanted: ExpectMap, found: int) -> bool:
    """Whether so many are as many as were expected."""
    return found > 0 if wanted.times is None else found == wanted.times


def candidates(wanted: ExpectMap, mappings: MappingSet) -> list[str]:
    """The mappings that could have done it."""
    return [
        one.name
        for one in mappings.mappings.values()
        if wanted.mapping in (None, one.name) and wanted.function in (None, one.function, one.on_failure)
    ]


def too_few(wanted: ExpectMap, found: int) -> bool:
    """Whether something is missing: then it is worth saying what there was instead, and why."""
    return found < (1 if wanted.times is None else wanted.times)


def unmet(
    expectation: Expectation, found: Sequence[Seen], others: Sequence[Seen], reasons: Sequence[tuple[str, str]] | str
) -> str:
    """What to say of an expectation that is not met.

    `others` is what was invoked besides, `reasons` what each mapping that could have done it said, or why none could
    say anything.
    """
    wanted, node = expectation.wanted, expectation.node
    lines = [f"{node.file}:{node.line}: expected {_said(wanted)}, and {_count(len(found))}"]
    lines += _listed([one.text for one in found])
    if too_few(wanted, len(found)):
        if others:
            lines += ["  instead:", *(f"  {line}" for line in _listed([one.text for one in others]))]
        if isinstance(reasons, str):
            lines.append(f"  {reasons}")
        else:
            lines += [f"  {name}: {reason}" for name, reason in reasons[:SHOWN]]
            if len(reasons) > SHOWN:
                lines.append(f"  ... and {len(reasons) - SHOWN} more mappings")
    return "\n".join(lines)


def _same(wanted: object, found: object) -> bool:
    """Equal, and true is not 1."""
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def _said(wanted: ExpectMap) -> str:
    """An expectation in words, as a person would have written it."""
    what = "dead letter" if wanted.dead_letter else "invocation"
    said = f"no {what}" if wanted.times == 0 else f"a {what}" if wanted.dead_letter else "an invocation"
    if wanted.times:
        said = f"{wanted.times} {what}{'' if wanted.times == 1 else 's'}"
    said += f" of {wanted.function}" if wanted.function is not None else ""
    said += f" by {wanted.mapping}" if wanted.mapping is not None else ""
    about = [wanted.sensor, wanted.event, None if wanted.value is None else repr(wanted.value.given)]
    if any(one is not None for one in about):
        said += f" for {' '.join(one for one in about if one is not None)}"
    return f"{said} within {duration(wanted.within_s)}"


def _count(found: int) -> str:
    return "there was none" if found == 0 else "there was 1:" if found == 1 else f"there were {found}:"


def _listed(found: list[str]) -> list[str]:
    more = [f"  ... and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return [*(f"  {one}" for one in found[:SHOWN]), *more]
