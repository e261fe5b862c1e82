"""Following: what one client is told of the feed, from the place where it was, at its own pace.

It costs the feed nothing that a client is slow: what was overtaken meanwhile is told as a number, and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from bridge.core.story import Chosen, summary
from bridge.manager.feed import ALWAYS, Decision, Feed, Wanted

HEARTBEAT_S: Final = 15.0
PIECE: Final = 100
"""So many decisions are told at once."""

EVENTS: Final = 1000
STORY: Final = 100
"""Of so many events, and of each so many lines, a listener's view of stories knows at most."""


class View(Protocol):
    """What a client wants to see of decisions."""

    def begin(self, place: int) -> list[Told]:
        """Take in what was decided until a place in the feed; what is told of it is what was asked for beforehand."""

    def tell(self, decision: Decision) -> bytes | None:
        """What is told of a decision, as JSON; None where it is not wanted."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a client is told, with the id to go on from; without a text nothing is new."""

    id: str
    text: bytes | None = None


class Decisions:
    """The view of who wants the decisions themselves, with so many earlier ones first."""

    def __init__(self, feed: Feed, wanted: Wanted, last: int = 0) -> None:
        self._feed = feed
        self._wanted = wanted
        self._last = last

    def begin(self, place: int) -> list[Told]:
        earlier = self._feed.last(self._last, self._wanted) if self._last else []
        return [Told(one.id, one.text) for one in earlier]

    def tell(self, decision: Decision) -> bytes | None:
        return decision.text if self._wanted.includes(decision.line) else None


class Stories:
    """The view of who wants to see what became of events: a summary of one whenever there is news of it."""

    def __init__(self, feed: Feed, chosen: Chosen) -> None:
        self._feed = feed
        self._chosen = chosen
        self._known: dict[str, list[dict[str, Any]]] = {}

    def begin(self, place: int) -> list[Told]:
        for decision in self._feed.until(place):
            self._take(decision.line)
        return []

    def tell(self, decision: Decision) -> bytes | None:
        line = decision.line
        if line.get("type") in ALWAYS:
            return decision.text
        found = summary(self._take(line))
        if line.get("type") == "judgement" or found is None or not self._chosen.includes(found):
            return None
        return orjson.dumps({"type": "story", **found})

    def _take(self, line: dict[str, Any]) -> list[dict[str, Any]]:
        """The story so far, with this line; it need not hold what mappings said."""
        event_id = line.get("event_id")
        if not isinstance(event_id, str) or line.get("type") == "judgement":
            return []
        story = self._known.pop(event_id, [])
        self._known[event_id] = story  # those of which there is news stand behind the others
        story.append(line)
        if len(story) > STORY:
            del story[1]
        if len(self._known) > EVENTS:
            del self._known[next(iter(self._known))]
        return story


class Follower:
    """Tells one client; `more` is called again whenever it has taken what it was told."""

    def __init__(
        self,
        feed: Feed,
        view: View,
        dropped: Callable[[str], None],
        *,
        last_id: str | None = None,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._feed = feed
        self._view = view
        self._dropped = dropped
        self._last_id = last_id
        self._heartbeat_s = heartbeat_s
        self._place: int | None = None

    async def more(self) -> list[Told]:
        """What comes next, once there is something; nothing when the manager stops."""
        feed = self._feed
        if self._place is None:
            told = self._begin()
            if told:
                return told
        assert self._place is not None
        while not feed.ended:
            found = feed.after(self._place, PIECE)
            if found is None:
                self._dropped("listener")
                return self._go_on_from(feed.id_of(self._place))
            self._place += len(found)
            told = [Told(one.id, text) for one in found if (text := self._view.tell(one)) is not None]
            if told:
                return told
            if not found:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await feed.news()
                except TimeoutError:
                    # With its place, so that who filters much does not come back for what it did not want.
                    return [Told(feed.id_of(self._place))]
        return []

    def _begin(self) -> list[Told]:
        if self._last_id is not None:
            missed = self._go_on_from(self._last_id)
            assert self._place is not None
            self._view.begin(self._place)
            return missed
        self._place = self._feed.newest
        return self._view.begin(self._place)

    def _go_on_from(self, last_id: str) -> list[Told]:
        """Go on behind an id, and tell what was missed since."""
        self._place, missed = self._feed.place_of(last_id)
        return [Told(self._feed.id_of(self._place), orjson.dumps(missed))] if missed is not None else []
