"""How a program reaches its broker: the `mqtt:` section that all programs share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.config import Port, Seconds, Within


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards the broker; with `certificate` and `key` the broker knows us too (mutual TLS)."""

    ca: Path | None = None
    """PEM file of the authority to trust; the machine's own authorities where it is not given."""
    certificate: Path | None = None
    key: Path | None = None
    check_hostname: bool = True

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if (self.certificate is None) != (self.key is None):
            yield "key" if self.key else "certificate", "certificate and key are given together or not at all"
        for name, path in (("ca", self.ca), ("certificate", self.certificate), ("key", self.key)):
            if path is not None and not path.is_file():
                yield name, f"there is no file {path}"


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """The broker's address and how to speak to it."""

    host: str = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    tls: TlsSettings | None = None
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """`auto` speaks MQTT 5 and falls back to 3.1.1 with a broker that does not know it."""
    keepalive_s: Annotated[float, Seconds(1, 3600)] = 30.0
    connect_timeout_s: Annotated[float, Seconds(0.1, 300)] = 10.0
    reconnect_max_s: Annotated[float, Seconds(0.1, 600)] = 15.0
    """The longest pause between two attempts; the first is 0.25 s, doubled each time, with jitter."""
    session_expiry_s: Annotated[float, Seconds()] = 7 * 86400.0
    """How long the broker keeps our session while we are away (MQTT 5; in 3.1.1 the broker decides)."""
    receive_maximum: Annotated[int, Within(1, 65535)] = 1000
    """How many unacknowledged messages the broker may send us (MQTT 5, 3.1.2.11.3)."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        if self.password is not None and self.password_file is not None:
            yield "password_file", "give password or password_file, not both"
        if self.username is None and (self.password is not None or self.password_file is not None):
            yield "username", "a password needs a username"
        if self.password_file is not None and not self.password_file.is_file():
            yield "password_file", f"there is no file {self.password_file}"

    def read_password(self) -> str | None:
        """The password, from its file where one is named (without the line's end)."""
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        return self.password

    @property
    def address(self) -> str:
        """Host and port for messages, without credentials."""
        return f"{self.host}:{self.port}"
