"""A dispatcher's retained status: whether it is at work, where, and with which mappings."""

from __future__ import annotations

from typing import Any

import orjson

from bridge.config.hosts import shown_host
from bridge.core.pair import OFFLINE, Role
from bridge.core.topics import Topics
from bridge.dispatcher.mapping_source import MappingSource
from bridge.dispatcher.settings import DispatcherSettings, HttpSettings
from bridge.mqtt.transport import Message


class Status:
    """What a dispatcher that stands alone says; of a pair, whoever watches the other one says it."""

    def __init__(self, settings: DispatcherSettings, source: MappingSource) -> None:
        self._topic = Topics(settings.root).dispatcher(settings.site, settings.id, "status")
        self._http = settings.http
        self._source = source

    def offline(self) -> Message:
        """That it is gone."""
        return message(self._topic, OFFLINE)

    def at_work(self, port: int | None, address: str | None) -> Message:
        """That it is at work; `port` is that of the HTTP API, `address` our own towards the broker."""
        served = where(self._http, port, address)
        return message(self._topic, Role.ACTIVE.value, mappings=self.mappings(), **served)

    def mappings(self) -> dict[str, str | None]:
        """What there is to say of the mappings in force."""
        problem = self._source.problem
        return {
            "version": self._source.version,
            "from": self._source.source,
            "problem": str(problem) if problem else None,
        }


def message(topic: str, state: str, term: int = 0, **more: object) -> Message:
    """A status; `term` is that of a pair's claim to be at work."""
    return Message(topic, orjson.dumps({"version": 1, "state": state, "term": term, **more}), retain=True)


def where(http: HttpSettings, port: int | None, address: str | None) -> dict[str, Any]:
    """What a status says for Prometheus to find it.

    `address` is our own towards the broker, `http` None where nothing is served.
    """
    served = None if port is None else {"host": shown_host(http.host, http.advertise, address), "port": port}
    return {"address": address, "http": served}
