"""Packets of ours on their way into the stream, between those of paho: whole ones, never in the middle of one of its.

What leaves together costs one system call; what may be alone leaves at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bridge.mqtt.client import Client
from bridge.mqtt.stream import Stream


class Outgoing:
    """Those of one connection. `flushed` is told after each flush whether everything has left. The loop owns it."""

    def __init__(self, stream: Stream, client: Client, flushed: Callable[[bool], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._client = client
        self._flushed = flushed
        self._fd = stream.fileno()
        self._waiting: list[bytes] = []
        self._due = False  # whether a flush is on its way
        self._writing = False  # whether the loop tells when the kernel takes more
        self._over = False

    def send(self, packet: bytes) -> None:
        """Send a whole packet; `flushed` tells when it has left.

        The first one of a wake-up leaves at once, because it may be the only one; those that follow leave together.
        """
        if self._due:
            self._waiting.append(packet)
            return
        if self._waiting or self._client.want_write():
            self._waiting.append(packet)
            self.hand_over()
            self._stream.flush()
        else:
            self._stream.write(packet)
        self.flush_soon()

    def write(self, packets: bytes) -> None:
        """Send whole packets of which nobody has to hear when they have left."""
        if self._due or self._client.want_write():
            self._waiting.append(packets)
            self.flush_soon()
        elif not self._stream.write(packets):  # at once spares the loop a turn; what cannot leave now is seen to there
            self.flush_soon()

    def put(self, packets: bytes) -> None:
        """Send whole packets with the next flush."""
        self._waiting.append(packets)
        self.flush_soon()

    def hand_over(self) -> None:
        """Put our packets into the stream, but never into the middle of a packet that paho could not finish."""
        if self._waiting and not self._client.want_write():
            self._stream.put(b"".join(self._waiting))
            self._waiting.clear()

    def flush_soon(self) -> None:
        """Flush in the loop's next turn."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what waits, paho's and ours; the loop calls it again when the kernel takes more."""
        self._due = False
        if self._over:
            return
        self._client.loop_write()
        self.hand_over()
        left = self._stream.flush() and not self._waiting
        wants = not left or self._client.want_write()
        if wants != self._writing:
            self._writing = wants
            if wants:
                self._loop.add_writer(self._fd, self.flush)
            else:
                self._loop.remove_writer(self._fd)
        self._flushed(left)

    def end(self) -> None:
        """The connection is over: write nothing more."""
        self._over = True
        self._loop.remove_writer(self._fd)
