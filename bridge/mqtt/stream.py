"""The socket under a paho client: read and written in large pieces, with or without TLS.

paho reads an MQTT packet byte by byte and writes each with a system call of its own. It is given this stream instead
of a socket: `fill` takes what the kernel has, paho reads whole packets from memory, and what paho writes leaves in
one piece by `flush`. That also settles a trap of TLS, whose decrypted bytes wait where no selector sees them: `fill`
reads until there are none.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time

from bridge.errors import TransportError
from bridge.mqtt.settings import MqttSettings, TlsSettings

_PIECE_BYTES = 65_536
_BUDGET_BYTES = 4 * _PIECE_BYTES
"""The most that one wake-up reads, so that a flood does not keep the loop from its other work."""
_UNSENT_BYTES = 4 * _PIECE_BYTES
"""The most that waits here; what is above stays in paho's own queue."""
_FLUSH_S = 0.005


class Stream:
    """A connected, non-blocking socket that looks like one to paho. Used on the loop's thread only."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)
        self._data = b""
        self._at = self._released = 0
        self._unsent = bytearray()
        self.linger = False
        """Set before a clean disconnect: all that paho writes is taken, `close` does nothing and `finish` does."""
        self.end: str | None = None
        """Why nothing more will come: the peer closed, or an error in words. None while the stream is open."""
        self.closed_by_peer = False
        self.received_at = time.monotonic()
        """When bytes last came, on the machine's monotonic clock."""

    @property
    def local_address(self) -> str | None:
        """The address of our own end; None when the kernel knows none, or no more."""
        try:
            return str(self._sock.getsockname()[0])
        except OSError:
            return None

    @property
    def unread(self) -> bool:
        """Whether bytes released to paho wait in memory."""
        return self._at < self._released

    @property
    def unsent(self) -> int:
        """How many bytes wait to be written."""
        return len(self._unsent)

    def fill(self) -> bool:
        """Read what is there, up to a budget; true when more may be waiting, which no selector would tell with TLS."""
        pieces = [self._data[self._at :]]
        room = _BUDGET_BYTES
        more = True
        while room > 0:
            try:
                piece = self._sock.recv(min(_PIECE_BYTES, room))
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                more = False
                break
            except OSError as error:
                self.end, more = describe(error), False
                break
            if not piece:
                self.end, self.closed_by_peer, more = "it closed the connection", True, False
                break
            pieces.append(piece)
            room -= len(piece)
            if len(piece) < _PIECE_BYTES and not isinstance(self._sock, ssl.SSLSocket):
                more = False  # a plain socket's short read: it is empty, and the selector will tell when it is not
                break
        if len(pieces) > 1:
            self.received_at = time.monotonic()
        self._data, self._at, self._released = b"".join(pieces), 0, 0
        return more

    def packet(self) -> tuple[int, int, int] | None:
        """The next whole packet: its first byte, where its body begins and ends; None while it is not whole.

        Raises ValueError for a length that is none (MQTT 5.0, 2.1.4).
        """
        data, at = self._data, self._at
        if at == len(data):
            return None
        length = shift = 0
        for i in range(at + 1, min(at + 5, len(data))):
            length |= (data[i] & 0x7F) << shift
            if data[i] < 0x80:
                end = i + 1 + length
                return (data[at], i + 1, end) if end <= len(data) else None
            shift += 7
        if len(data) - at >= 5:
            raise ValueError("a packet's length is longer than four bytes")
        return None

    def take(self, begin: int, end: int) -> bytes:
        """The body of the packet that `packet` found; paho never sees it."""
        self._at = self._released = end
        return self._data[begin:end]

    def release(self, end: int) -> None:
        """Let paho read the packet that `packet` found."""
        self._released = end

    def recv(self, size_bytes: int) -> bytes:
        """What paho calls: bytes from memory; BlockingIOError when there are none."""
        at = self._at
        piece = self._data[at : min(at + size_bytes, self._released)]
        if not piece:
            raise BlockingIOError
        self._at = at + len(piece)
        return piece

    def send(self, data: bytes | bytearray) -> int:
        """What paho calls: take bytes to be flushed; BlockingIOError when too many wait already."""
        room = _UNSENT_BYTES - len(self._unsent)
        if self.linger:
            room = len(data)
        elif room <= 0:
            raise BlockingIOError
        piece = data[:room]
        self._unsent += piece
        return len(piece)

    def put(self, packets: bytes) -> None:
        """Take whole packets to be flushed, also when many bytes wait already: their number is bounded elsewhere."""
        self._unsent += packets

    def write(self, packets: bytes) -> bool:
        """Take whole packets and write what waits; whether all of it has left."""
        if self._unsent:
            self._unsent += packets
            return self.flush()
        written = self._written(packets)
        if written < len(packets):
            self._unsent += packets[written:]
        return not self._unsent

    def flush(self) -> bool:
        """Write what waits, as much as the kernel takes; whether that was all of it. A failure shows in `end`."""
        while self._unsent and (written := self._written(self._unsent)):
            del self._unsent[:written]
        return not self._unsent

    def _written(self, data: bytes | bytearray) -> int:
        """How many of the bytes the kernel takes now."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self.end = describe(error)
        return 0

    def close(self) -> None:
        """What paho calls at the end."""
        if not self.linger:
            self.flush()
            self._sock.close()

    async def finish(self, timeout_s: float) -> None:
        """The clean end: write what waits, let the peer read it all and close, then close too.

        Closing at once with unread bytes would reset the connection, and the broker might never see our DISCONNECT.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                while self._unsent and self.end is None:
                    self.flush()
                    self.fill()  # or the broker might wait for us, as we for it
                    self._data = b""
                    await asyncio.sleep(_FLUSH_S if self._unsent else 0)
                if self.end is None:
                    self._sock.shutdown(socket.SHUT_WR)
                    # What still comes is only thrown away, so it is read below TLS; asyncio reads no SSL socket.
                    with socket.socket(fileno=self._sock.detach()) as plain:
                        while await loop.sock_recv(plain, _PIECE_BYTES):
                            pass
        except (TimeoutError, OSError):
            pass  # the peer did not close in time, or closed with an error: nothing more can be done for it
        finally:
            self._sock.close()

    def abort(self) -> None:
        """Close without sending what waits."""
        self._unsent.clear()
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the signature of socket.socket, which paho calls
        """Nothing: the stream never blocks."""

    def pending(self) -> int:
        """What paho asks an SSL socket: how many bytes wait in memory."""
        return self._released - self._at


def open_stream(settings: MqttSettings) -> Stream:
    """Connect to the broker: name, TCP, TLS. Blocks; raises OSError (ssl.SSLError and TransportError are such)."""
    try:
        context = tls_context(settings.tls) if settings.tls else None
    except OSError as error:
        raise TransportError(f"the files of the mqtt.tls settings cannot be used: {describe(error)}") from error
    # As bytes, because for a text Python loads the tables of international names: 0.5 MB of an agent's memory.
    host = settings.host.encode("ascii") if settings.host.isascii() else settings.host
    sock = socket.create_connection((host, settings.port), timeout=settings.connect_timeout_s)  # type: ignore[arg-type]
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # acknowledgements are small and must not wait
        if context is not None:
            sock = context.wrap_socket(sock, server_hostname=settings.host)
        return Stream(sock)
    except BaseException:
        sock.close()
        raise


async def connect(settings: MqttSettings) -> Stream:
    """Run `open_stream` beside the loop, for `connect_timeout_s` at most. Raises TransportError in words."""
    opening = _Opening(settings)
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            await opening.over
        return opening.take()
    except TimeoutError as error:
        raise TransportError(
            f"cannot reach the broker at {settings.address}: no answer within {settings.connect_timeout_s:g} s;"
            " check the address and the network"
        ) from error
    except TransportError:
        raise
    except ssl.SSLError as error:
        raise TransportError(f"cannot agree on TLS with the broker at {settings.address}: {describe(error)}") from error
    except OSError as error:
        raise TransportError(
            f"cannot reach the broker at {settings.address}: {describe(error)};"
            " is it running, and are host and port right?"
        ) from error
    finally:
        opening.give_up()


class _Opening:
    """A stream that a thread opens. `over` says when; then somebody takes it, or it is closed when he gives it up.

    The thread is a daemon of its own: a name server that does not answer must not hold up the exit. It closes by itself
    what comes after the giving up: the loop may have ended by then, with what it was still told.
    """

    def __init__(self, settings: MqttSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._settings = settings
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._wanted = True
        threading.Thread(target=self._work, name=f"connect to {settings.address}", daemon=True).start()

    def take(self) -> Stream:
        """The stream, whose new owner closes it."""
        with self._lock:
            stream, self._stream = self._stream, None
        assert stream is not None, "nobody takes it before it is over, or twice"
        return stream

    def give_up(self) -> None:
        """Nobody wants it any more, unless it has been taken."""
        with self._lock:
            self._wanted = False
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def _work(self) -> None:
        error: Exception | None = None
        try:
            stream = open_stream(self._settings)
        except Exception as failure:  # noqa: BLE001 - handed to the loop's side, which raises it
            error = failure
        else:
            with self._lock:
                if self._wanted:
                    self._stream = stream
                else:
                    stream.abort()
        try:
            self._loop.call_soon_threadsafe(self._tell, error)
        except RuntimeError:  # the loop has been closed: nobody waits any more
            self.give_up()

    def _tell(self, error: Exception | None) -> None:
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)


def tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """The TLS client context that the settings describe. Raises OSError for files that cannot be used."""
    context = ssl.create_default_context(cafile=tls.ca)
    context.check_hostname = tls.check_hostname
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def describe(error: OSError) -> str:
    """An error of the network in a few words, without its number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error.strerror or error}".replace("_", " ").lower()
    return (error.strerror or str(error) or type(error).__name__).lower()
