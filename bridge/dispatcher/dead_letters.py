"""The dead letters' part of the dispatcher's HTTP API: list, show, replay, purge.

GET    /v1/deadletters            newest first: ?mapping= &function= &older_than=2d &limit= &offset=
GET    /v1/deadletters/{number}
POST   /v1/deadletters/replay     {"numbers": [...]} or the same choice as JSON; tried again with the same ids
DELETE /v1/deadletters            the same choice as a query; all of them only with ?all=1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from bridge.config import seconds
from bridge.core.steps import Replayed
from bridge.dispatcher.answers import json_answer, whole_number
from bridge.dispatcher.routes import Asked, Routes, problem
from bridge.errors import EventError
from bridge.journal.dead_letters import Chosen, counted, listed, purge, replays
from bridge.journal.engine import Journal
from bridge.runtime.http import Response

if TYPE_CHECKING:
    from bridge.dispatcher.dispatcher import Dispatcher

AT_ONCE = 1000
"""How many dead letters one call replays at most; the answer says how many are left."""
_NUMBER: Final = re.compile("[0-9]{1,18}")
"""As far as a database counts."""


class DeadLetterApi:
    """The handlers; `add_routes` puts them in place."""

    def __init__(self, dispatcher: Dispatcher, journal: Journal) -> None:
        self._dispatcher = dispatcher
        self._journal = journal

    def add_routes(self, routes: Routes) -> None:
        """Put the handlers where the module says."""
        routes.add("GET", "/v1/deadletters", self._list)
        routes.add("GET", "/v1/deadletters/{number}", self._show)
        routes.add("POST", "/v1/deadletters/replay", self._replay)
        routes.add("DELETE", "/v1/deadletters", self._purge)

    async def _list(self, asked: Asked) -> Response:
        chosen = choice(asked.query, self._dispatcher.now().wall)
        limit, offset = whole_number(asked, "limit", 100), whole_number(asked, "offset", 0, most=10**9)
        letters = await self._journal.read(listed(chosen, limit=limit, offset=offset))
        return json_answer({"dead_letters": letters, "total": await self._journal.read(counted(chosen))})

    async def _show(self, asked: Asked) -> Response:
        if not _NUMBER.fullmatch(asked.place):
            return problem(404, "a dead letter has a number, see /v1/deadletters")
        number = int(asked.place)
        found = await self._journal.read(listed(Chosen(numbers=(number,)), limit=1))
        if not found:
            return problem(404, f"there is no dead letter {number}; it was replayed or purged")
        return json_answer(found[0])

    async def _replay(self, asked: Asked) -> Response:
        try:
            document = orjson.loads(asked.body or b"{}")
        except orjson.JSONDecodeError as error:
            raise ValueError(f"the body is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise EventError(
                'the body is not a JSON object, such as {"numbers": [1, 2]} or {"mapping": "night-intruder"}'
            )
        chosen = choice(document, self._dispatcher.now().wall)
        found = await self._journal.read(replays(chosen, limit=AT_ONCE))
        outcomes = [effect for effect in self._dispatcher.step(found) if isinstance(effect, Replayed)]
        refused = [{"number": one.number, "reason": one.refused} for one in outcomes if one.refused is not None]
        left = await self._journal.read(counted(chosen)) - len(found)
        return json_answer({"replayed": len(outcomes) - len(refused), "refused": refused, "left": max(0, left)})

    async def _purge(self, asked: Asked) -> Response:
        chosen = choice(asked.query, self._dispatcher.now().wall)
        if chosen.everything and asked.query.get("all") != "1":
            raise ValueError("say which dead letters to purge (mapping, function, older_than, numbers), or all=1")
        purged = await self._journal.write(purge(chosen))
        self._dispatcher.letters.changed(-purged)
        return json_answer({"purged": purged})


def choice(given: Mapping[str, Any], now: datetime) -> Chosen:
    """Which dead letters a query or a JSON body means. Raises ValueError naming what is wrong."""
    known = {"mapping", "function", "older_than", "numbers", "limit", "offset", "all"}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is not known here; there are {', '.join(sorted(known))}")
    before = None
    if given.get("older_than") is not None:
        before = now - timedelta(seconds=seconds(str(given["older_than"])))
    return Chosen(
        mapping=_text(given, "mapping"),
        function=_text(given, "function"),
        before=before,
        numbers=_numbers(given.get("numbers")),
    )


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text")
    return value


def _numbers(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(_NUMBER.fullmatch(str(part)) for part in parts):
        raise ValueError("numbers must be a list of whole numbers, as /v1/deadletters shows them")
    return tuple(int(part) for part in parts)
