"""`/api/v1/nodes/NODE/sensors/SENSOR/history`: what a sensor told in the last hours, in buckets or point by point."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from bridge.clock import Clock
from bridge.config import NAME, seconds
from bridge.core.buckets import SECOND, NumberBucket, StateBucket, span
from bridge.core.event import rfc3339
from bridge.errors import JournalError
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.nodes import NodePath
from bridge.manager.api.schemas import EVERYWHERE, gives
from bridge.manager.history.points import Chart, Sensor, chart, find_sensor, listed
from bridge.manager.history.recorder import MAX_TEXT, Recorder, micros, time_of
from bridge.manager.nodes import Nodes
from bridge.manager.problems import Refusal

_log = logging.getLogger(__name__)

MAX_BUCKETS: Final = 2000
MAX_STEP_S: Final = 31 * 86400.0
SensorPath = Annotated[str, Path(pattern=f"^{NAME.regex}$", description="The sensor's name.")]
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_AFTER = re.compile(r"(\d{1,17})-(.+)", re.ASCII)
_WHEN: Final = "A time as RFC 3339 has it, such as 2026-11-22T17:30:00Z; "
Begin = Annotated[str | None, Query(alias="from", max_length=40, description=f"{_WHEN}as far back as is kept without.")]
End = Annotated[str | None, Query(alias="to", max_length=40, description=f"{_WHEN}now without.")]


def routes(recorder: Recorder, nodes: Nodes, clock: Clock, desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(
        prefix=ROOT + "/nodes/{node}/sensors/{sensor}/history", tags=["nodes"], dependencies=[desk.of(Role.VIEWER)]
    )

    async def found(node: str, sensor: str) -> Sensor | None:
        """The sensor, with all that was heard of it on the disk; None where it is known and has told nothing."""
        if not recorder.enabled:
            raise Refusal(503, "the sensor history is switched off: sensor_history.enabled in the manager's settings")
        try:
            await recorder.flush()
        except JournalError as error:
            # What is on the disk may still be read.
            _log.warning("sensor history is not up to date", extra={"op": "history.flush", "why": str(error)})
        kept = await recorder.journal.read(find_sensor(node, sensor))
        known = nodes.known.get(node)
        if kept is None and (known is None or sensor not in known.sensors()):
            raise Refusal(
                404, f"nothing has been heard of a sensor {node}/{sensor}; /api/v1/nodes lists those there are"
            )
        return kept

    @router.get(
        "",
        summary="What a sensor told, in equal steps: numbers with min, max and mean, states with how long they lasted.",
        responses=gives("SensorHistory", *EVERYWHERE, 304, 404, 422, 503),
    )
    async def history(
        request: Request,
        node: NodePath,
        sensor: SensorPath,
        begin: Begin = None,
        end: End = None,
        step: Annotated[
            str | None, Query(max_length=20, description="Whole seconds, such as 5m; without, about 300 buckets.")
        ] = None,
    ) -> Response:
        kept = await found(node, sensor)
        now = clock.now()
        over = span(*_range(begin, end, now, recorder.keep_s), _step(step))
        if over.count > MAX_BUCKETS:
            raise Refusal(
                422, f"that would be {over.count} buckets, of at most {MAX_BUCKETS}: take a longer step or less time"
            )
        got = await recorder.journal.read(chart(kept.number if kept else 0, over, micros(now)))
        head = {
            "node": node,
            "sensor": sensor,
            "unit": kept.unit if kept else None,
            "shows": _kind(got),
            "from": _text(over.begin),
            "to": _text(over.end),
            "step_s": over.step / SECOND,
            "events": got.events,
        }
        return document(request, {**head, "buckets": [_bucket(one) for one in got.buckets]})

    @router.get(
        "/points",
        summary="What a sensor told, event by event, oldest first.",
        responses=gives("Points", *EVERYWHERE, 304, 404, 422, 503),
    )
    async def points(
        request: Request,
        node: NodePath,
        sensor: SensorPath,
        begin: Begin = None,
        end: End = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(max_length=200, description="What the page before gave as `next`.")] = None,
    ) -> Response:
        kept = await found(node, sensor)
        first, last = _range(begin, end, clock.now(), recorder.keep_s)
        total, page = await recorder.journal.read(
            listed(kept.number if kept else 0, first, last, limit + 1, _after(after))
        )
        more = len(page) > limit
        page = page[:limit]
        following = f"{page[-1]['at']}-{page[-1]['id']}" if more else None
        told = [
            {
                "at": _text(one["at"]),
                "event_id": one["id"],
                **{key: one[key] for key in ("event", "value", "received", "initial")},
            }
            for one in page
        ]
        head = {"node": node, "sensor": sensor, "unit": kept.unit if kept else None}
        answer = {**head, "points": told, "total": total, "limit": limit, "next": following}
        headers = {}
        if following is not None:
            # With both ends, so that all pages are of the same time.
            asked = {"from": _text(first), "to": _text(last), "limit": limit, "after": following}
            query = request.url.include_query_params(**asked).query
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        return document(request, answer, headers=headers)

    return router


def _kind(found: Chart) -> str:
    if found.measures:
        return "numbers"
    states = any(isinstance(one, StateBucket) and (one.times or one.last is not None) for one in found.buckets)
    return "states" if states else "nothing"


def _bucket(one: NumberBucket | StateBucket) -> dict[str, Any]:
    head = {"at": _text(one.begin), "events": one.events, "last": one.last}
    if isinstance(one, StateBucket):
        times = {name: time / SECOND for name, time in sorted(one.times.items())}
        return {**head, "changes": one.changes, "states_s": times, "unknown_s": one.unknown / SECOND}
    sums = one.sums
    if sums is None:
        return {**head, "count": 0, "min": None, "max": None, "mean": None}
    return {**head, "count": sums.count, "min": sums.low, "max": sums.high, "mean": sums.mean}


def _range(begin: str | None, end: str | None, now: datetime, keep_s: float) -> tuple[int, int]:
    """From when until when, in microseconds."""
    last = _time("to", end) if end is not None else now
    with _named("from"):
        first = _time("from", begin) if begin is not None else min(now, last) - timedelta(seconds=keep_s)
    if first >= last:
        raise Refusal(422, f"from ({rfc3339(first)}) must be before to ({rfc3339(last)})")
    return micros(first), micros(last)


def _time(name: str, text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise Refusal(
            422, f"{name} must be a time such as 2026-11-22T17:30:00Z, not {text!r} (a + in a query is written %2B)"
        )
    with _named(name):
        found = datetime.fromisoformat(text.upper())
        if not 1970 <= found.year < 9999:
            raise ValueError("its year must be from 1970 to 9998")
        return found


def _step(text: str | None) -> int | None:
    if text is None:
        return None
    with _named("step"):
        step_s = seconds(text)
        if not 1 <= step_s <= MAX_STEP_S or step_s % 1:
            raise ValueError(f"{text!r} is not a whole number of seconds, of at most 31 days")
    return int(step_s) * SECOND


def _after(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    match = _AFTER.fullmatch(text)
    if match is None or len(match[2]) > MAX_TEXT:
        raise Refusal(422, "after must be what a page gave as `next`")
    return int(match[1]), match[2]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What is wrong within is wrong with this parameter."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise Refusal(422, f"{name}: {error}") from error


def _text(at: int) -> str:
    return rfc3339(time_of(at))
