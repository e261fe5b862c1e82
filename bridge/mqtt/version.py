"""Which version of MQTT to speak: 5, or 3.1.1 with a broker that knows no better."""

from __future__ import annotations

from typing import Final, Literal

from bridge.mqtt.ending import Cause, Version

SILENCES: Final = 2
"""So many connections closed without an answer to CONNECT make us try the other version."""


class VersionChoice:
    """What the transports of one connector have learnt of their broker; forgotten with the process.

    An older broker may say that it does not know MQTT 5 (reason 0x84, or code 1 in the old form), or may just close.
    A broker that has spoken MQTT 5 once is never taken for an old one because it closes. What was only concluded from
    silence holds for one connection: a proxy before a broker that is away closes as silently, and in 3.1.1 a broker
    cannot say that it refuses a message.
    """

    def __init__(self, protocol: Literal["auto", "5", "3.1.1"]) -> None:
        self._auto = protocol == "auto"
        self._known = False
        self._guessed = False
        self._silences = 0
        self.version: Version = "3.1.1" if protocol == "3.1.1" else "5"

    def accepted(self, version: Version) -> None:
        """The broker accepted a connection of this version."""
        self.version = version
        self._guessed = self._guessed and version == "3.1.1"
        self._known = not self._guessed
        self._silences = 0

    def ended(self) -> None:
        """A connection that stood has ended."""
        if self._guessed:
            self._guessed, self.version = False, "5"

    def failed(self, version: Version, cause: Cause) -> bool:
        """An attempt at this version ended; whether that made us choose the other one."""
        if not self._auto or version != self.version or cause not in (Cause.UNSUPPORTED, Cause.SILENT):
            return False  # another transport may have chosen anew while this attempt was under way
        if cause is Cause.SILENT:
            self._silences += 1
            if self._known or self._silences < SILENCES:
                return False
        self._silences = 0
        self._known = False
        self.version = "3.1.1" if version == "5" else "5"
        self._guessed = cause is Cause.SILENT and self.version == "3.1.1"
        return True
