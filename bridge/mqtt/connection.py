"""One connection to the broker: one paho client over one stream, driven from the event loop.

A client is used for one connection and thrown away with it, so that nothing in paho's own store can be sent again
(PROTOCOL.md, rule 3). No thread of paho runs. What paho calls back is only noted down; it is told to the program after
paho has returned, because paho holds locks while it calls, and an exception there would leave it half-way.

paho has the session, the subscriptions and the keep-alive (client.py, grants.py). Publications, which are nearly all
of the traffic, pass it by on the same stream: whole packets, between paho's own (outgoing.py), with packet ids from the
same source. Here the two meet: what comes on the stream goes to one of them, and is told in its order.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.mqtt.acknowledgements import TOGETHER_S, Acknowledgements
from bridge.mqtt.client import Client, ending, refusal, send_connect
from bridge.mqtt.ending import Cause, Ended, Version
from bridge.mqtt.grants import Grants
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.packet import PUBACK, PUBLISH, UndecodableTopic, decode_puback, decode_publish, encode_pubacks
from bridge.mqtt.packet_ids import PacketIds
from bridge.mqtt.publications import Publications, answer
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.stream import Stream
from bridge.mqtt.transport import Done, Message, Publication, Sent, Subscription

_log = logging.getLogger(__name__)

READ_AHEAD: Final = 256
"""So many unacknowledged messages are read at most."""
A_TURN: Final = 16
"""So many messages are read in one turn of the loop."""

_LINGER_S: Final = 2.0
_PINGREQ: Final = b"\xc0\x00"  # MQTT 5.0, 3.12


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a connection tells; calls must not raise."""

    opened: Callable[[bool], None]
    """The broker accepted us; whether it still had our session."""
    received: Callable[[Sequence[tuple[Message, int]]], None]
    """What one wake-up brought, in order, each with its packet id."""
    ended: Callable[[Ended], None]
    """The connection is gone; every open publication has been told."""


class Connection:
    """One MQTT connection over a connected stream. Lives on the loop's thread; `open` sends CONNECT."""

    def __init__(
        self,
        stream: Stream,
        client_id: str,
        settings: MqttSettings,
        version: Version,
        owner: Owner,
        will: Message | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._settings = settings
        self._version: Version = version
        self._owner = owner
        self._five = version == "5"
        self._fd = stream.fileno()
        self._accepted = False
        self._over = False
        self._ended: Ended | None = None
        self._connack: tuple[bool, ReasonCode] | None = None
        self._inbox: list[tuple[Message, int]] = []
        self._untaken = False  # whether a whole packet was left in the stream
        self._unacknowledged = 0
        self._read_ahead = min(READ_AHEAD, settings.receive_maximum)
        self._paused = False
        self._acknowledgements = Acknowledgements()
        self._late: asyncio.TimerHandle | None = None  # when those that wait are looked at
        self._tick: asyncio.TimerHandle | None = None
        self._packet_ids = PacketIds()
        self._client = self._make_client(client_id, will)
        self._grants = Grants(self._client, self._packet_ids, settings, version)
        self._outgoing = Outgoing(stream, self._client, self._flushed)
        self._publications = Publications(self._outgoing.send, self._packet_ids, five=self._five)

    def _make_client(self, client_id: str, will: Message | None) -> Client:
        client = Client(self._stream, self._packet_ids, client_id, self._settings, self._version, will)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        return client

    @property
    def local_address(self) -> str | None:
        """Our own end of the connection, as long as it stands."""
        return self._stream.local_address

    def open(self) -> None:
        """Send CONNECT and begin to read; the owner hears `opened` or `ended`."""
        self._loop.add_reader(self._fd, self._on_readable)
        send_connect(self._client, self._settings, self._version)
        self._tick = self._loop.call_later(self._settings.connect_timeout_s, self._give_up_waiting)

    # What the program asks for

    def publish(self, message: Message, done: Done | None) -> None:
        """Send now, or when earlier publications have been answered; `done` is told once."""
        if self._over or not self._accepted:
            answer(done, Publication(Sent.LOST, reason="not connected"))
        else:
            self._publications.publish(message, done)

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs, in this order: at once, or with those that follow soon."""
        if self._over:
            return
        packets = self._acknowledgements.add(packet_ids, self._unacknowledged, time.monotonic())
        if packets:
            self._outgoing.write(packets)
        elif self._late is None:
            self._late = self._loop.call_later(TOGETHER_S, self._acknowledge_late)
        self._unacknowledged = max(0, self._unacknowledged - len(packet_ids))
        if self._paused and self._unacknowledged <= self._read_ahead:
            self._paused = False
            self._stream.received_at = time.monotonic()
            self._client.await_no_pong()
            self._loop.add_reader(self._fd, self._on_readable)
            self._loop.call_soon(self._on_readable)  # for what is read already and not yet understood

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe and wait for the answer. Raises TransportError that names the filters refused."""
        self._outgoing.hand_over()  # what was published before leaves before
        await self._grants.subscribe(subscriptions)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe and wait for the answer. Raises TransportError."""
        self._outgoing.hand_over()  # as above
        await self._grants.unsubscribe(filters)

    async def close(self) -> None:
        """Disconnect cleanly: the broker forgets the last will. Takes two seconds at most."""
        if self._over:
            return
        self._ended = Ended(Cause.CLOSED, "disconnected")
        self._stream.linger = True
        self._client.loop_write()  # with that, paho is at the end of a packet
        self._outgoing.put(self._acknowledgements.take(time.monotonic()))
        self._outgoing.hand_over()
        self._client.disconnect()
        self._client.loop_write()
        self._end(self._ended, abort=False)
        await self._stream.finish(_LINGER_S)

    def abort(self, ended: Ended) -> None:
        """Drop the connection without a word; the broker sends our last will."""
        self._end(ended)

    # What the event loop calls

    def _on_readable(self) -> None:
        if self._over or self._paused:
            return
        client, stream, inbox = self._client, self._stream, self._inbox
        only_messages = True
        try:
            # What was read before and not taken comes first: it is bounded, as long as nothing is read on top of it.
            more = self._untaken or stream.fill()
            packet = stream.packet()
            # After so many the loop's other work has its turn: a burst must not hold up what answers.
            while (
                packet is not None
                and len(inbox) < A_TURN
                and self._unacknowledged <= self._read_ahead
                and self._ended is None
            ):
                first, begin, end = packet
                if first & 0xF0 == PUBLISH:
                    self._take_message(first, stream.take(begin, end))
                else:
                    only_messages = False
                    if first & 0xF0 == PUBACK:
                        self._publications.acknowledged(decode_puback(stream.take(begin, end), five=self._five))
                    else:
                        stream.release(end)
                        while stream.unread and client.socket() is not None:
                            client.loop_read()
                packet = stream.packet()
            self._untaken = packet is not None
            more = more or self._untaken  # it is taken in the next turn, or when something is acknowledged
        except Exception:  # noqa: BLE001 - the outermost loop of the connection: it ends, the transport makes another
            _log.exception("the broker's bytes could not be understood", extra={"op": "mqtt.read"})
            self._ended = Ended(Cause.LOST, "it sent something that is no MQTT")
            more = only_messages = False
        if self._late is not None and not self._over:  # else none waits
            packets = self._acknowledgements.make_room(self._unacknowledged, time.monotonic())
            if packets:
                self._outgoing.write(packets)
        if only_messages and stream.end is None and self._ended is None:
            self._tell_messages()
        else:
            self._settle()
        if self._full() and not self._over:
            self._paused = True
            self._loop.remove_reader(self._fd)
        elif more and not self._over:
            self._loop.call_soon(self._on_readable)

    def _full(self) -> bool:
        """Whether enough is unacknowledged: read no more, so that memory is bounded.

        A program has at hand what keeps it busy, and most of what comes in a burst has ended before it would have been
        stored; the rest waits in the socket. The broker is told of more (Receive Maximum; MQTT 5, 4.9), or it would
        queue, and drop what is above its limit. What it is told is no bound: Mosquitto 2.0.11 forgets it once messages
        wait in its queue and some have been acknowledged (measured: 7,000 of 8,000 in flight where 100 were allowed),
        and MQTT 3.1.1 has none.
        """
        return self._unacknowledged > self._read_ahead

    def _take_message(self, first: int, body: bytes) -> None:
        try:
            message, packet_id = decode_publish(first, body, five=self._five)
            self._inbox.append((message, packet_id))
            self._unacknowledged += packet_id > 0
        except UndecodableTopic as undecodable:
            _log.warning("a message was dropped: its topic is no UTF-8", extra={"op": "mqtt.receive"})
            if undecodable.packet_id:
                self._outgoing.put(encode_pubacks((undecodable.packet_id,)))

    def _flushed(self, left: bool) -> None:  # noqa: FBT001 - the only argument of a callback
        """What waited has been written; whether all of it has left."""
        if left:
            self._publications.flushed()
        if self._publications.answered or self._stream.end or self._ended:
            self._settle()

    def _acknowledge_late(self) -> None:
        """Send what waits, or come back when it is due: the timer is not set anew for each acknowledgement."""
        self._late = None
        due_at, now = self._acknowledgements.due_at, time.monotonic()
        if due_at is None or self._over:
            return
        if due_at <= now:
            self._outgoing.write(self._acknowledgements.take(now))
        else:
            self._late = self._loop.call_later(due_at - now, self._acknowledge_late)

    def _watch(self) -> None:
        """Each second, or more often with a short keep-alive: ping when it is time, notice a broker that is silent."""
        keepalive_s = self._client.keepalive
        if self._paused:
            # What the broker answers is behind what we do not read; it must hear all the same that we are there.
            if not self._client.want_write():  # never in the middle of a packet
                self._stream.send(_PINGREQ)
                self._outgoing.flush()
            self._tick = self._loop.call_later(max(1.0, (keepalive_s or 4) / 2), self._watch)
            return
        silent_s = time.monotonic() - self._stream.received_at
        if keepalive_s and silent_s >= 1.5 * keepalive_s:
            self._end(Ended(Cause.LOST, f"it has been silent for {silent_s:.1f} s"))
            return
        self._client.loop_misc()
        self._tick = self._loop.call_later(min(1.0, (keepalive_s or 4) / 8), self._watch)
        self._settle()

    def _give_up_waiting(self) -> None:
        self._end(Ended(Cause.UNREACHABLE, f"no answer to CONNECT within {self._settings.connect_timeout_s:g} s"))

    # What paho calls: only noted down

    def _on_connect(
        self, _client: paho.Client, _data: object, flags: paho.ConnectFlags, code: ReasonCode, found: Properties | None
    ) -> None:
        self._connack = (flags.session_present, code)
        values = vars(found) if found is not None else {}
        self._publications.limit(values.get("ReceiveMaximum"), values.get("MaximumPacketSize"))

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        _found: Properties | None,
    ) -> None:
        if self._ended is None:
            self._ended = ending(code, said_by_broker=flags.is_disconnect_packet_from_server)

    def _on_socket_close(self, _client: paho.Client, _data: object, _sock: object) -> None:
        self._loop.remove_reader(self._fd)  # at once: the kernel may give the number to another file
        self._loop.remove_writer(self._fd)

    def _on_register_write(self, _client: paho.Client, _data: object, _sock: object) -> None:
        self._outgoing.flush_soon()

    # What follows from it

    def _settle(self) -> None:
        """Tell everything noted down, in the order in which it can have happened."""
        if self._over:
            return
        if self._connack is not None:
            (session_present, code), self._connack = self._connack, None
            refused = refusal(code, self._settings, self._version)
            if refused is not None:
                self._ended = refused
            else:
                self._accepted = True
                if self._tick is not None:
                    self._tick.cancel()
                self._owner.opened(session_present)
                self._watch()
        self._publications.tell()
        self._tell_messages()
        self._publications.send_waiting()
        if self._ended is not None:
            self._end(self._ended)
        elif self._stream.end is not None:
            self._end(Ended(Cause.UNEXPLAINED if self._stream.closed_by_peer else Cause.LOST, self._stream.end))

    def _tell_messages(self) -> None:
        if self._inbox:
            inbox, self._inbox = self._inbox, []
            self._owner.received(inbox)

    def _end(self, ended: Ended, *, abort: bool = True) -> None:
        if self._over:
            return
        self._over = True
        if not self._accepted and ended.cause in (Cause.LOST, Cause.UNEXPLAINED):
            ended = Ended(Cause.SILENT, f"it did not answer CONNECT ({ended.reason})")
        for timer in (self._tick, self._late):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._fd)
        self._outgoing.end()
        self._client.on_socket_close = None  # paho calls it once more when the client is collected; the number may be
        if abort:  # another file's by then
            self._stream.abort()
        self._publications.lose(ended.reason)
        self._grants.end(ended.reason)
        self._owner.ended(ended)
