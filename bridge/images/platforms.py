"""Platforms of images in one spelling: `linux/amd64`, `linux/arm64`, `linux/arm/v7`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.errors import ImageError

_SAME_AS_NONE: Final = {("arm64", "v8")}
_UNSAID: Final = {"arm": "v7"}
"""The variant that is meant where none is told."""


def platform_of(about: Mapping[str, Any]) -> str:
    """A platform as it is spelled on command lines, from an image's configuration or an index' entry."""
    system, processor = str(about.get("os", "")), str(about.get("architecture", ""))
    return _spelled(system, processor, str(about.get("variant", "")))


def normal(platform: str) -> str:
    """A platform in its one spelling: `linux/arm64/v8` is `linux/arm64`. Raises ImageError for what is none."""
    words = platform.strip().lower().split("/")
    if len(words) not in (2, 3) or not all(word.isalnum() for word in words):
        raise ImageError(f"{platform!r} is no platform such as linux/arm64 or linux/arm/v7")
    return _spelled(words[0], words[1], words[2] if len(words) == 3 else "")


def _spelled(system: str, processor: str, variant: str) -> str:
    variant = "" if (processor, variant) in _SAME_AS_NONE else variant or _UNSAID.get(processor, "")
    return "/".join(word for word in (system, processor, variant) if word)
