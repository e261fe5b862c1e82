"""Words of queries that several paths have."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Glob = Annotated[str | None, Query(max_length=200, description="A glob.")]
EventName = Annotated[str | None, Query(max_length=200, description="An event's name; a glob.")]
Since = Annotated[str | None, Query(max_length=200, description="The id after which to go on, as Last-Event-ID.")]
