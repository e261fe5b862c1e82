"""A broker that says what it was told to say: for answers that no installed broker can be made to give."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from bridge.mqtt.settings import MqttSettings

CONNACK_5 = b"\x20\x03\x00\x00\x00"
CONNACK_4 = b"\x20\x02\x00\x00"
CLOSE = b""
"""As an answer: close the connection."""


@dataclass
class ScriptedBroker:
    """Answers the packets of each connection, in order, with the given bytes; the last script repeats.

    A script has one entry for each packet that the client sends. `heard` lists the first bytes of what came.
    """

    scripts: Sequence[Sequence[bytes]]
    heard: list[list[bytes]] = field(default_factory=list)
    _server: asyncio.Server | None = None

    @property
    def settings(self) -> MqttSettings:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return MqttSettings(port=port, reconnect_max_s=0.2, connect_timeout_s=5)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(len(self.heard), len(self.scripts) - 1)]
        packets: list[bytes] = []
        self.heard.append(packets)
        try:
            for answer in script:
                packets.append(await self._packet(reader))
                if answer == CLOSE:
                    return
                writer.write(answer)
            while True:
                packets.append(await self._packet(reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> bytes:
        first = await reader.readexactly(1)
        length = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return first + await reader.readexactly(length)
