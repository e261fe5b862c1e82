"""Quantities as people write them: `30s`, `1h30m`, `250ms`, `64KiB`."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|min|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|min|s|m|h|d|w)")
_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_LONGEST_S = 100 * 365 * 86400.0
_LARGEST = 2**63 - 1
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(B|KB|MB|GB|KiB|MiB|GiB)")


def seconds(text: str) -> float:
    """The seconds of a duration such as `30s`, `1h30m` or `250ms`; ValueError when it is none."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a duration; write one such as 250ms, 30s, 5m, 1h30m or 2d")
    total_s = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total_s > _LONGEST_S:
        raise ValueError(f"{text[:40]!r} is longer than 100 years")
    return total_s


def size_bytes(text: str) -> int:
    """The bytes of a size such as `64KiB` or `10MB`; ValueError when it is none."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a size; write one such as 512B, 64KiB or 10MB")
    size = float(match[1]) * _BYTES[match[2]]
    if size > _LARGEST:
        raise ValueError(f"{text[:40]!r} is larger than any disk")
    return int(size)


def duration(value_s: float) -> str:
    """A duration for people: 0.25 -> `250ms`, 5400 -> `1h30m`."""
    if value_s == 0:
        return "0s"
    if value_s < 1:
        return f"{value_s * 1000:g}ms"
    if value_s < 60:
        return f"{value_s:g}s"
    parts = []
    rest = value_s
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            parts.append(f"{count:g}{unit}")
    if rest:
        parts.append(f"{rest:g}s")
    return "".join(parts)


def size(value_bytes: float) -> str:
    """A size for people: 65536 -> `64KiB`, 1000 -> `1KB`, 1025 -> `1025B`."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
        if value_bytes and value_bytes % _BYTES[unit] == 0:
            return f"{value_bytes // _BYTES[unit]:.0f}{unit}"
    return f"{value_bytes:.0f}B"
