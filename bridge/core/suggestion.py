"""Which of the known words somebody may have meant who wrote another one."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[object]) -> str:
    """`; did you mean WORD?`, to stand behind a complaint; nothing where none is near."""
    import difflib  # noqa: PLC0415 - only when a mistake is being explained

    close = difflib.get_close_matches(given, [str(word) for word in known], n=1)
    return f"; did you mean {close[0]}?" if close else ""
