"""The intake: what a delivery from the broker is to the ledger - an event, nothing to us, or unreadable."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from bridge.core.event import Event, parse, parse_foreign
from bridge.core.receipts import Ticket
from bridge.core.steps import Ignored, Input, NodeOffline, Received, Unreadable
from bridge.core.tombstone import NAME as TOMBSTONE
from bridge.core.tombstone import parse_tombstone
from bridge.core.topics import DispatcherTopic, NodeTopic, SensorEventTopic, Topic, Topics, cover
from bridge.dispatcher.backlog import Backlog, Place
from bridge.errors import EventError
from bridge.journal.crashes import Crash
from bridge.mqtt.transport import Delivery, Message

TOPICS = 10_000
"""How many parsed topics are remembered."""


def filters(topics: Topics, site: str, *more: str) -> tuple[str, ...]:
    """What to subscribe to for the intake of a site: a cover without one filter inside another (rule 6)."""
    return cover((topics.event(site, "+", "+"), topics.status(site, "+"), *more))


class Intake:
    """Reads deliveries. `mint_id` gives an id to what has none of its own (PROTOCOL.md, rule 16).

    `quarantined` knows the crashes of a message that must not be handled any more (rule 12).
    """

    def __init__(
        self,
        topics: Topics,
        mint_id: Callable[[], str],
        ignored: Callable[[str], None],
        backlog: Backlog,
        quarantined: Callable[[Message], Crash | None],
    ) -> None:
        self._topics = topics
        self._quarantined = quarantined
        self._backlog = backlog
        self._mint_id = mint_id
        self._ignored = ignored
        self._sessions: dict[Place, object] = {}
        self._online: dict[Place, object] = {}
        self._parsed: OrderedDict[str, Topic | None] = OrderedDict()

    def read(self, delivery: Delivery, received_at: datetime) -> Input | None:
        """What the ledger has to know of this delivery; None when there is nothing to say or to acknowledge."""
        message = delivery.message
        ticket = Ticket(delivery.generation, delivery.packet_id) if message.qos else None
        topic = self._parsed.get(message.topic) or self._topic(message.topic)
        if type(topic) is not SensorEventTopic:  # most are
            if isinstance(topic, NodeTopic) and topic.leaf == "status":
                return self._status(topic, message, ticket)
            if isinstance(topic, DispatcherTopic) and topic.leaf == "marker":
                self._backlog.returned(message.payload.decode("utf-8", "replace"))
                return Ignored(ticket) if ticket is not None else None
        if message.retain:
            return self._ignore("retained", ticket)
        crash = self._quarantined(message)
        reason = f"quarantined: handling it has ended the dispatcher {crash.times} times" if crash is not None else None
        if crash is not None and reason is not None and crash.phase == "reading":
            return Unreadable(self._mint_id(), message.topic, message.payload, reason, ticket)
        try:
            if type(topic) is SensorEventTopic:
                event: Event | None = parse(message.payload, topic)
            else:
                event = self._foreign(message.payload, message.topic, topic, received_at)
            stone = parse_tombstone(event) if event is not None and event.name == TOMBSTONE else None
        except EventError as error:
            return Unreadable(self._mint_id(), message.topic, message.payload, str(error), ticket)
        if event is None:
            return self._ignore("not an event topic", ticket)
        first = stone.first if stone is not None else None
        return Received(event, ticket, self._backlog.holds(event), first, reason)

    def _status(self, topic: NodeTopic, message: Message, ticket: Ticket | None) -> Input | None:
        """A node's status, retained or live. A late will of an earlier session says nothing about this one."""
        status = read_object(message.payload)
        place, session, state = (topic.site, topic.node), status.get("session"), status.get("state")
        waiting = status.get("backlog")
        if state == "online":
            if self._online.get(place) != session:
                self._online[place] = self._sessions[place] = session
                self._backlog.came(place, waiting if isinstance(waiting, int) else 0)
            elif waiting == 0:
                self._backlog.caught_up(place)
        elif state == "offline" and self._sessions.get(place, session) == session:
            self._online.pop(place, None)
            if not message.retain:
                return NodeOffline(topic.site, topic.node, ticket)
        return Ignored(ticket) if ticket is not None else None

    def _foreign(self, payload: bytes, text: str, topic: Topic | None, received_at: datetime) -> Event | None:
        if topic is not None:
            return None
        return parse_foreign(payload, text, id=self._mint_id(), received_at=received_at)

    def _ignore(self, why: str, ticket: Ticket | None) -> Ignored | None:
        self._ignored(why)
        return Ignored(ticket) if ticket is not None else None

    def _topic(self, text: str) -> Topic | None:
        try:
            return self._parsed[text]
        except KeyError:
            parsed = self._parsed[text] = self._topics.parse(text)
            if len(self._parsed) > TOPICS:
                self._parsed.popitem(last=False)
            return parsed


def read_object(payload: bytes) -> dict[str, Any]:
    """The JSON object in a retained document; an empty one where there is none."""
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
