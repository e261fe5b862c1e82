"""Whether the node is there: retained `status` (with its last will) and retained `info`, the node's birth.

A will that the broker publishes late, for a connection that was taken over, is corrected at once: the agent hears its
own status, and says `online` again. The session in both documents tells one life of the agent from the next.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import orjson

import bridge
from bridge.agent.board import Board, driver_name
from bridge.agent.settings import AgentSettings
from bridge.agent.supervisor import Supervisor
from bridge.clock import Clock, Timer
from bridge.config.hosts import shown_host
from bridge.core.event import rfc3339
from bridge.core.topics import Topics
from bridge.mqtt.transport import Message

_log = logging.getLogger(__name__)

UPDATE_S = 1.0
"""The backlog in the status is told at most so often."""


class Presence:
    """Says online, offline and how much waits. `publish` hands a message to the transport, if one is connected."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        session: str,
        clock: Clock,
        backlog: Callable[[], int],
        publish: Callable[[Message], None],
    ) -> None:
        topics = Topics(settings.root)
        self.status_topic = topics.status(settings.site, settings.node)
        self.info_topic = topics.info(settings.site, settings.node)
        self.session = session
        self._clock = clock
        self._backlog = backlog
        self._publish = publish
        self._started_at = clock.now()
        self._told: int | None = None
        self._timer: Timer | None = None
        self._stopped = False

    def will(self) -> Message:
        """What the broker says when the connection breaks, at a time that nobody knows yet."""
        return Message(self.status_topic, self._status("offline", 0, None), retain=True)

    def farewell(self) -> Message:
        """What the agent says before it disconnects by itself."""
        return Message(self.status_topic, self._status("offline", self._backlog(), self._clock.now()), retain=True)

    def connected(self, info: bytes) -> None:
        """Be born: first who we are, then that we are there."""
        if self._stopped:
            return
        self._publish(Message(self.info_topic, info, retain=True))
        self._tell()

    def backlog_changed(self) -> None:
        """Tell the new backlog, now or as soon as a second has passed since the last time."""
        if self._told is not None and self._timer is None and self._backlog() != self._told:
            self._tell()

    def heard(self, payload: bytes) -> None:
        """Our own status came back from the broker: one that says offline is wrong, since we are connected.

        Nothing else is answered: two agents under one name would otherwise shout at each other without end.
        """
        if self._stopped:
            return
        try:
            document = orjson.loads(payload)
        except orjson.JSONDecodeError:
            document = None
        if isinstance(document, dict) and document.get("state") == "offline":
            _log.info("The broker said we are offline; said online again", extra={"op": "presence"})
            self._tell()

    def stop(self) -> None:
        """Say nothing more by itself: our own farewell, heard back, must not be contradicted."""
        self._stopped = True
        self._told = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._told = self._backlog()
        self._publish(Message(self.status_topic, self._status("online", self._told, self._clock.now()), retain=True))
        if self._timer is None:
            self._timer = self._clock.call_at(self._clock.monotonic() + UPDATE_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self.backlog_changed()

    def _status(self, state: Literal["online", "offline"], backlog: int, time: datetime | None) -> bytes:
        document = {
            "version": 1,
            "state": state,
            "session": self.session,
            "backlog": backlog,
            "started": rfc3339(self._started_at),
            "time": None if time is None else rfc3339(time),
        }
        return orjson.dumps(document)


def birth(
    settings: AgentSettings,
    board: Board,
    sensors: dict[str, Supervisor],
    *,
    session: str,
    epoch: str,
    port: int | None,
    address: str | None,
) -> bytes:
    """The retained `info`: what the node is and has.

    `port` is that of its health and metrics, None where they are not served; `address` its own towards the broker.
    """
    http = settings.http
    return orjson.dumps(
        {
            "version": 1,
            "site": settings.site,
            "node": settings.node,
            "session": session,
            "epoch": epoch,
            "software": bridge.__version__,
            "python": platform.python_version(),
            "board": board.description,
            "pin_factory": driver_name(board.pin_factory),
            "configuration": settings.configuration_hash(),
            "address": address,
            "http": None
            if http is None or port is None
            else {"host": shown_host(http.host, http.advertise, address), "port": port},
            "sensors": {
                name: {"kind": each.kind, "unit": each.plan.unit, "events": each.plan.events}
                for name, each in sensors.items()
            },
            "outputs": {name: {"kind": each.KIND} for name, each in settings.outputs.items()},
        }
    )
