"""Which version of the engine's API to speak. Pure.

An engine answers under the version that a request's path names, within the bounds that `/version` tells: Engine 20.10
speaks up to 1.41, Engine 29 nothing below 1.44. So the version is agreed on at each connection and never assumed.
"""

from __future__ import annotations

from bridge.errors import EngineError

OLDEST, NEWEST = (1, 40), (1, 51)
"""What our documents are written for: 1.40 came with Engine 19.03; nothing that we read has changed up to 1.51."""


def agree(newest: str, oldest: str) -> str:
    """The version to speak with an engine that offers `oldest` to `newest`. Raises EngineError.

    An engine that refuses even our newest is spoken to in its oldest, which differs least from what we know.
    """
    top, bottom = _parse(newest), _parse(oldest or newest)
    if top < OLDEST:
        raise EngineError(
            f"the Docker Engine speaks API {newest} at most; {_text(OLDEST)} is needed (Docker 19.03 or newer)"
        )
    return _text(max(min(top, NEWEST), bottom))


def at_least(version: str, wanted: tuple[int, int]) -> bool:
    """Whether what came with `wanted` can be used under `version`."""
    return _parse(version) >= wanted


def _parse(text: str) -> tuple[int, int]:
    major, dot, minor = text.partition(".")
    if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise EngineError(f"{text[:40]!r} is no version of the Docker Engine's API; is it a Docker Engine at all?")
    return int(major), int(minor)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
