"""The traces' part of the dispatcher's HTTP API: what happened to one event, and why a mapping did not fire.

GET /v1/traces                the newest events and what became of them: ?node= &sensor= &event= &mapping= &function=
                              &outcome= &limit= &after=
GET /v1/traces/{event_id}     the story of an event, and what each hop took
GET /v1/why/{mapping}         the last evaluations that did not fire, newest first: ?limit=
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.story import OUTCOMES, Chosen, latency
from bridge.dispatcher.answers import json_answer, whole_number
from bridge.dispatcher.feed import RING
from bridge.dispatcher.routes import Asked, Routes, problem
from bridge.runtime.http import Response

if TYPE_CHECKING:
    from bridge.dispatcher.dispatcher import Dispatcher

_OFF = "traces are switched off (traces: {enabled: true} in the dispatcher's settings keeps them)"


class TraceApi:
    """The handlers; `add_routes` puts them in place."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def add_routes(self, routes: Routes) -> None:
        """Put the handlers where the module says."""
        routes.add("GET", "/v1/traces", self._traces)
        routes.add("GET", "/v1/traces/{event_id}", self._trace)
        routes.add("GET", "/v1/why/{mapping}", self._why)

    async def _traces(self, asked: Asked) -> Response:
        names = ("node", "sensor", "event", "mapping", "function", "outcome")
        if asked.query.get("outcome") not in (None, *OUTCOMES):
            raise ValueError(f"outcome must be one of {', '.join(OUTCOMES)}")
        chosen = Chosen(**{name: asked.query[name] for name in names if name in asked.query})
        limit, after, traces = whole_number(asked, "limit", 100), asked.query.get("after"), self._dispatcher.traces
        if traces is None:
            return problem(404, f"there are no traces: {_OFF}")
        found = await traces.stories(chosen, limit + 1, after)
        if found is None:
            return problem(404, f"there is no trace of the event {_shown(after or '')} (any more) to go on behind")
        more = len(found) > limit
        page = found[:limit]
        return json_answer({"traces": page, "next": page[-1]["event_id"] if more and page else None})

    async def _trace(self, asked: Asked) -> Response:
        event_id, traces = asked.place, self._dispatcher.traces
        if traces is not None:
            story = await traces.story(event_id)
        else:  # what the feed remembers is all there is
            story = [line for line in self._dispatcher.feed.recent(RING) if line.get("event_id") == event_id]
        if not story:
            how = "its trace was overwritten (traces: {max_size: ...}), or it never arrived here" if traces else _OFF
            shown = _shown(event_id)
            return problem(404, f"no trace of the event {shown}: {how}; its id is the `event_id` of /v1/events")
        return json_answer({"event_id": event_id, "story": story, "latency": latency(story)})

    async def _why(self, asked: Asked) -> Response:
        mapping, traces = asked.place, self._dispatcher.traces
        limit = whole_number(asked, "limit", 20)
        if traces is None:
            return problem(404, f"cannot say why {_shown(mapping)} did not fire: {_OFF}")
        found, since = await traces.why(mapping, limit)
        names = sorted(self._dispatcher.mappings.mappings)
        if not found and mapping not in names:
            known = f"there are {', '.join(names)}"
            return problem(404, f"there is no mapping {_shown(mapping)}, and no trace of one; {known}"[:1000])
        return json_answer({"mapping": mapping, "since": since, "evaluations": found})


def _shown(text: str) -> str:
    """What somebody asked for, fit for one line."""
    return repr(text[:100])
