"""Images built, and pushed to their registries, by a Docker Engine; what it does comes line by line.

The engine's classic builder is asked, which each of them has and the SDK can speak to: an image for several platforms
is built once for each of them, and joined by an index (`bridge/images/index.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import requests
from docker import APIClient
from docker.errors import APIError, DockerException
from docker.utils import parse_repository_tag

from bridge.errors import BuildFailed, EngineUnavailable, ImageError
from bridge.images.context import Context
from bridge.images.platforms import platform_of
from bridge.swarm.complaints import complaint

_STEP: Final = "Step "
_QUARTERS: Final = 4
_LARGE_BYTES: Final = 4 * 1024 * 1024
"""Of a layer from this size on, the parts of its way are told too."""
_TOLD: Final = frozenset({"Pushed", "Layer already exists", "Pull complete", "Already exists", "Download complete"})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a build is asked for beside its context."""

    platform: str | None = None
    """In the spelling of `bridge.images.platforms`."""
    no_cache: bool = False
    pull: bool = False


def build(client: APIClient, image: str, context: Context, wishes: Wishes) -> Iterator[str]:
    """Build an image and give it its name; what the engine says, line by line.

    Raises BuildFailed with what the failing step wrote, ImageError for other refusals, EngineUnavailable.
    """
    yield from _built(client, image, context, wishes)
    if wishes.platform is None or wishes.no_cache:
        return
    made_for = _platform(client, image)
    if made_for == wishes.platform:
        return
    # The engine's cache knows nothing of platforms: steps on an empty image are the same to it for each of them.
    yield f"the engine took what it had built for {made_for}: building anew"
    yield from _built(client, image, context, replace(wishes, no_cache=True))


def _platform(client: APIClient, image: str) -> str:
    try:
        about = client.inspect_image(image)
    except (requests.RequestException, DockerException, OSError) as error:
        raise EngineUnavailable(complaint(client.base_url, error)) from error
    return platform_of({key.lower(): value for key, value in about.items()})


def _built(client: APIClient, image: str, context: Context, wishes: Wishes) -> Iterator[str]:
    step: list[str] = []
    with context.archive() as archive:
        for event in _events(
            client,
            lambda: client.build(
                fileobj=archive,
                custom_context=True,
                tag=image,
                buildargs=dict(context.build_args) or None,
                platform=wishes.platform,
                nocache=wishes.no_cache,
                pull=wishes.pull,
                rm=True,
                forcerm=True,
                decode=True,
            ),
            f"building {image}",
        ):
            if "error" in event:
                raise BuildFailed(f"building {image} failed: {_said(event)}", "\n".join(step))
            for line in _lines(event):
                if line.startswith(_STEP):
                    step.clear()
                step.append(line)
                yield line


def push(client: APIClient, image: str) -> Iterator[str]:
    """Push an image with the credentials that `docker login` has left; what the engine says, line by line.

    Raises ImageError with the registry's own words, EngineUnavailable.
    """
    repository, tag = parse_repository_tag(image)
    progress = _Progress()
    for event in _events(
        client,
        lambda: client.push(repository, tag=tag or "latest", stream=True, decode=True),
        f"pushing {image}",
    ):
        if "error" in event:
            raise ImageError(f"pushing {image} failed: {_said(event)}; is it the name of a registry you may push to?")
        yield from progress.lines(event)


class _Progress:
    """The lines worth reading of what an engine says of layers, which is mostly bars."""

    def __init__(self) -> None:
        self._quarters: dict[str, int] = {}

    def lines(self, event: dict[str, Any]) -> Iterator[str]:
        status, layer = str(event.get("status", "")), str(event.get("id", ""))
        detail = event.get("progressDetail") or {}
        total, current = detail.get("total") or 0, detail.get("current") or 0
        if layer and total >= _LARGE_BYTES:
            quarter = min(_QUARTERS, _QUARTERS * current // total)
            if quarter > self._quarters.get(layer, 0):
                self._quarters[layer] = quarter
                yield f"{layer}: {status} {100 * quarter // _QUARTERS} % of {total / 1e6:.0f} MB"
        elif status in _TOLD or status.startswith("Mounted from"):
            yield f"{layer}: {status}"
        elif status and not layer:
            yield status


def _events(client: APIClient, ask: Any, attempted: str) -> Iterator[dict[str, Any]]:
    """The engine's answer to `ask`, event by event."""
    try:
        for event in ask():
            if isinstance(event, dict):
                yield event
    except APIError as error:
        raise ImageError(f"{attempted} failed: {error.explanation or error}") from error
    except (requests.RequestException, DockerException, OSError) as error:
        raise EngineUnavailable(complaint(client.base_url, error)) from error


def _lines(event: dict[str, Any]) -> Iterator[str]:
    if "stream" in event:
        yield from (line for line in str(event["stream"]).splitlines() if line.strip())
    elif "status" in event and "id" not in event:
        yield str(event["status"])


def _said(event: dict[str, Any]) -> str:
    return " ".join(str(event["error"]).split())
