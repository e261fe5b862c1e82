"""The wire: when publications reach the broker's end of their connection, by the kernel's own time stamps.

A packet socket on the loopback interface keeps a copy of what goes to the broker's port (packet(7)), stamped as it is
handed to the receiving socket (SO_TIMESTAMPNS, socket(7)). Nobody is woken up by it: it is read when the round is over.
So it is no hop, and costs everybody who is measured the same microsecond. It needs root, or CAP_NET_RAW.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from typing import Final, Self

from benchmarks.processes import BenchmarkError
from bridge.core.topics import matches
from bridge.mqtt.packet import PUBLISH, read_length

_LOOPBACK: Final = "lo"
_IPV4: Final = 0x0800
_TO_US: Final = 0
"""PACKET_HOST; the loopback interface shows each packet a second time, on its way out."""
_SO_TIMESTAMPNS, _SO_ATTACH_FILTER = 35, 26
_STAMP: Final = struct.Struct("@qq")  # struct timespec
_SEQUENCES: Final = 0xFFFF_FFFF
_KEPT_BYTES: Final = 16 * 1024 * 1024
_LARGEST_BYTES: Final = 65_536
_STAMPS_WITHIN_S: Final = 5.0
_STEP: Final = struct.Struct("@HBBI")  # struct sock_filter


class Wire:
    """What is published to a broker of this machine, from entering on, on the topics of a filter; a context manager.

    For a pace at which everybody writes whole packets. Where `forbidden` says why, it sees nothing.
    """

    def __init__(self, port: int, topic_filter: str) -> None:
        self._port = port
        self._filter = topic_filter
        self._socket: socket.socket | None = None
        self._next: dict[bytes, int] = {}
        """By the sender's port, the sequence number of what it sends next."""

    def __enter__(self) -> Self:
        if forbidden() is None:
            self._socket = tap = _packet_socket()
            tap.setblocking(False)
            tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KEPT_BYTES)
            steps = ctypes.create_string_buffer(b"".join(_STEP.pack(*step) for step in _only_to(self._port)))
            program = struct.pack("@HP", len(steps) // _STEP.size, ctypes.addressof(steps))  # struct sock_fprog
            tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
            tap.bind((_LOOPBACK, _IPV4))
            _await_stamps()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def arrivals_ns(self) -> list[int]:
        """When each publication came since the last call, in ns since the epoch, in order."""
        if self._socket is None:
            return []
        found: list[int] = []
        while True:
            try:
                packet, ancillary, _, address = self._socket.recvmsg(_LARGEST_BYTES, socket.CMSG_SPACE(_STAMP.size))
            except BlockingIOError:
                return found
            if address[2] == _TO_US:
                data = self._fresh(packet)
                found += [_told_ns(ancillary)] * self._publications(data)

    def _fresh(self, packet: bytes) -> bytes:
        """What a TCP segment in an IPv4 packet carries; nothing when it is one that was sent again.

        RFC 791, 3.1; RFC 9293, 3.1. On a busy machine an acknowledgement may be late, and a probe repeats a segment.
        """
        segment = packet[(packet[0] & 0x0F) * 4 : int.from_bytes(packet[2:4], "big")]
        data = segment[(segment[12] >> 4) * 4 :]
        sender, sequence = segment[:2], int.from_bytes(segment[4:8], "big")
        ahead = (sequence - self._next.get(sender, sequence)) & _SEQUENCES
        if not data or ahead > _SEQUENCES // 2:
            return b""
        self._next[sender] = (sequence + len(data)) & _SEQUENCES
        return data

    def _publications(self, data: bytes) -> int:
        """How many publications on our topics a segment holds (MQTT 5.0, 2.1 and 3.3)."""
        count = at = 0
        while at < len(data):
            first = data[at]
            length, size = read_length(data, at + 1)
            at += 1 + size
            if first & 0xF0 == PUBLISH:
                topic = data[at + 2 :][: int.from_bytes(data[at : at + 2], "big")]
                count += matches(self._filter, topic.decode())
            at += length
        return count


def forbidden() -> str | None:
    """Why the wire cannot be looked at here, in words, or None."""
    try:
        _packet_socket().close()
    except PermissionError:
        return "when an event reaches the broker can be seen by root alone (CAP_NET_RAW)"
    return None


def _await_stamps() -> None:
    """Wait until the kernel stamps what arrives. Raises BenchmarkError when it does not begin.

    It begins a moment after somebody has asked; for what came before that it tells when it was read.
    """
    deadline = time.monotonic() + _STAMPS_WITHIN_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(_STAMPS_WITHIN_S)
        probe.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        probe.bind(("127.0.0.1", 0))
        while time.monotonic() < deadline:
            probe.sendto(b"when", probe.getsockname())
            sent_ns = time.time_ns()
            time.sleep(0.001)
            _, ancillary, _, _ = probe.recvmsg(16, socket.CMSG_SPACE(_STAMP.size))
            if _told_ns(ancillary) <= sent_ns:
                return
    raise BenchmarkError(f"the kernel stamps no packet within {_STAMPS_WITHIN_S:g} s")


def _told_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    seconds, nanoseconds = _STAMP.unpack(ancillary[0][2])
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _packet_socket() -> socket.socket:
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)


def _only_to(port: int) -> tuple[tuple[int, int, int, int], ...]:
    """Keep TCP to this port, in the kernel's language for socket filters: (code, if true, if false, number) a step."""
    return (
        (0x30, 0, 0, 9),  # A = the protocol
        (0x15, 0, 4, socket.IPPROTO_TCP),  # TCP, or the last step
        (0xB1, 0, 0, 0),  # X = the length of the IP header
        (0x48, 0, 0, 2),  # A = the port it goes to
        (0x15, 0, 1, port),  # ours, or the last step
        (0x06, 0, 0, _LARGEST_BYTES),  # keep it
        (0x06, 0, 0, 0),  # drop it
    )
