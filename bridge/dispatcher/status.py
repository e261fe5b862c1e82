"""The dispatcher's retained status: that it is at work, where, and with which mappings."""

from __future__ import annotations

import orjson

from bridge.core.topics import Topics
from bridge.dispatcher.mapping_source import MappingSource
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.whereabouts import where
from bridge.mqtt.transport import Message


class Status:
    """What a dispatcher that stands alone says; of a pair, whoever watches the other one says it."""

    def __init__(self, settings: DispatcherSettings, source: MappingSource) -> None:
        self._topic = Topics(settings.root).dispatcher(settings.site, settings.id, "status")
        self._http = settings.http
        self._source = source

    def offline(self) -> Message:
        """That it is gone."""
        return self._message({"version": 1, "state": "offline", "term": 0})

    def at_work(self, port: int | None, address: str | None) -> Message:
        """That it is at work; `port` is that of the HTTP API, `address` our own towards the broker."""
        said = {"version": 1, "state": "active", "term": 0, "mappings": self.mappings()}
        return self._message({**said, **where(self._http, port, address)})

    def mappings(self) -> dict[str, str | None]:
        """What there is to say of the mappings in force."""
        problem = self._source.problem
        return {
            "version": self._source.version,
            "from": self._source.source,
            "problem": str(problem) if problem else None,
        }

    def _message(self, said: dict[str, object]) -> Message:
        return Message(self._topic, orjson.dumps(said), retain=True)
