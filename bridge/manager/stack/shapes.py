"""The values of a compose file that may be written in more than one way, each read into one. Pure.

Each class has the short and the long form of the Compose Specification where that has two.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from bridge.config import Invalid, Node, Reader, seconds
from bridge.config.spelled import Spelled
from bridge.swarm.specification import nanos

_MEMORY = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kmgt])i?b?|b)?", re.IGNORECASE)
_POWERS = {letter: power for power, letter in enumerate("kmgt", 1)}
_CPUS = re.compile(r"\d+(?:\.\d+)?")
_MODE = re.compile(r"0o?[0-7]{1,4}")
_PORTS = re.compile(r"(?:(\d{1,5}):)?(\d{1,5})(?:/(tcp|udp|sctp))?")
_ID = re.compile(r"\d{1,10}")
_PERMISSIONS = 0o7777


class Texts(tuple[str, ...]):
    """A text, or a list of texts."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Texts | Invalid:
        if not isinstance(node.value, list):
            one = Spelled.from_node(node, reader, key)
            return one if isinstance(one, Invalid) else cls((one,))
        read = [Spelled.from_node(child, reader, f"{key}[{i}]") for i, child in enumerate(node.value)]
        return cls(each for each in read if not isinstance(each, Invalid))


class Words(tuple[str, ...]):
    """A command: a list of words, or a text that is taken apart as a shell would."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Words | Invalid:
        read = Texts.from_node(node, reader, key)
        if isinstance(read, Invalid):
            return read
        if isinstance(node.value, list):
            return cls(read)
        try:
            return cls(shlex.split(read[0]))
        except ValueError as error:
            return reader.problem(node, key, f"cannot be taken apart into words: {error}")


class Pairs(dict[str, str | None]):
    """A map of texts, or a list of `NAME=value`; None where only a name is given."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Pairs | Invalid:
        if isinstance(node.value, dict):
            found = cls()
            for name, child in node.value.items():
                if child.value is None:
                    found[name] = None
                    continue
                value = Spelled.from_node(child, reader, f"{key}.{name}")
                if not isinstance(value, Invalid):
                    found[name] = value
            return found
        if not isinstance(node.value, list):
            return reader.problem(node, key, f"must be a map or a list of NAME=value, not {node.kind()}")
        read = Texts.from_node(node, reader, key)
        if isinstance(read, Invalid):
            return read
        split = (each.partition("=") for each in read)
        return cls({name: value if equals else None for name, equals, value in split})


class _Measure(int):
    """A number that is written in a way of its own."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> float:
        """What a text means. Raises ValueError that says what to write."""
        raise NotImplementedError

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Self | Invalid:
        text = Spelled.from_node(node, reader, key)
        if isinstance(text, Invalid):
            return text
        try:
            return cls(cls.read(text))
        except ValueError as error:
            return reader.problem(node, key, str(error))


class Duration(_Measure):
    """Nanoseconds, written as `1m30s`."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> float:
        return nanos(seconds(text)) if text != "0" else 0


class Memory(_Measure):
    """Bytes. `50M` is 50 MiB, as with Docker; Kubernetes, and so functions' limits, would mean 50 MB."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> float:
        match = _MEMORY.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:40]!r} is no amount of memory; write one such as 64M or 1G")
        unit: int = 1024 ** _POWERS.get((match[2] or "").lower(), 0)
        return float(match[1]) * unit


class Cpus(_Measure):
    """Billionths of a CPU, written as `0.5`."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> float:
        if not _CPUS.fullmatch(text):
            raise ValueError(f"{text[:40]!r} is no number of CPUs; write one such as 0.5")
        return nanos(float(text))


class Mode(_Measure):
    """A file's permissions, in octal: 0440."""

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> float:
        if _MODE.fullmatch(text):
            return int(text.replace("o", ""), 8)
        if text.isascii() and text.isdigit() and int(text) <= _PERMISSIONS:
            raise ValueError(f"{text} is decimal; write 0{text} for what `chmod {text}` does")
        raise ValueError(f"{text[:40]!r} are no permissions; write them as 0440")


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of a service that can be reached from outside of its networks."""

    target: int
    published: int = 0
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    mode: Literal["ingress", "host"] = "ingress"

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> PublishedPort | Invalid:
        if isinstance(node.value, dict):
            long = reader.object(node, _LongPort, key)
            if isinstance(long, Invalid):
                return long
            read = cls(long.target, int(long.published or 0), long.protocol, long.mode)
        else:
            text = Spelled.from_node(node, reader, key)
            if isinstance(text, Invalid):
                return text
            match = _PORTS.fullmatch(text)
            if match is None:
                return reader.problem(
                    node, key, f"{text[:40]!r} is no port; write 8080:80, 8080:80/udp, or a map with target, published"
                    " and mode (ranges and addresses are not supported)",
                )  # fmt: skip
            read = cls(int(match[2]), int(match[1] or 0), match[3] or "tcp")  # type: ignore[arg-type] # the pattern has no others
        if not (0 < read.target < 65536 and read.published < 65536):
            return reader.problem(node, key, "a port is a number from 1 to 65535")
        return read

    def document(self) -> dict[str, Any]:
        """The engine's form."""
        ports = {"TargetPort": self.target, "PublishedPort": self.published}
        return {"Protocol": self.protocol, **ports, "PublishMode": self.mode}


@dataclass(frozen=True, slots=True)
class _LongPort:
    target: int
    published: Spelled | None = None
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    mode: Literal["ingress", "host"] = "ingress"

    def problems(self) -> list[tuple[str, str]]:
        """`published` may be written as a number or as text."""
        if self.published is not None and not (self.published.isascii() and self.published.isdigit()):
            return [("published", f"{self.published[:40]!r} is no port; ranges are not supported")]
        return []


@dataclass(frozen=True, slots=True)
class BindOptions:
    """How a folder of the cluster node is mounted."""

    propagation: Literal["private", "rprivate", "shared", "rshared", "slave", "rslave"] | None = None


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """How a volume is mounted."""

    nocopy: bool = False


@dataclass(frozen=True, slots=True)
class TmpfsOptions:
    """How a folder in memory is made."""

    size: Memory | None = None
    mode: Mode | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """What stands at a path of a container: a volume, a folder of the cluster node, or memory."""

    type: Literal["volume", "bind", "tmpfs"]
    target: Spelled
    source: Spelled | None = None
    read_only: bool = False
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None
    tmpfs: TmpfsOptions | None = None

    SHORT: ClassVar = "write source:target or source:target:ro, or a map with type, source and target"

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Mount | Invalid:
        if isinstance(node.value, dict):
            # A class with a shape of its own, read here as the plain one that it is otherwise.
            return reader.object(node, cls, key)
        text = Spelled.from_node(node, reader, key)
        if isinstance(text, Invalid):
            return text
        source, colon, rest = text.partition(":")
        if not colon:
            return cls("volume", Spelled(source)) if source.startswith("/") else reader.problem(node, key, cls.SHORT)
        target, _, option = rest.partition(":")
        if not target.startswith("/") or option not in ("", "ro", "rw", "nocopy"):
            return reader.problem(node, key, f"{text[:60]!r} is no mount; {cls.SHORT}")
        if source.startswith(("/", ".", "~")):
            return cls("bind", Spelled(target), Spelled(source), option == "ro")
        options = VolumeOptions(nocopy=True) if option == "nocopy" else None
        return cls("volume", Spelled(target), Spelled(source), option == "ro", volume=options)

    def problems(self) -> list[tuple[str, str]]:
        """What fits no type."""
        found: list[tuple[str, str]] = []
        if not posixpath.isabs(self.target):
            found.append(("target", "must be an absolute path in the container"))
        if self.type == "bind" and not self.source:
            found.append(("source", "is missing: which folder of the cluster node?"))
        if self.type == "tmpfs" and self.source:
            found.append(("source", "memory has none; leave it out"))
        options = {"bind": self.bind, "volume": self.volume, "tmpfs": self.tmpfs}
        wrong = [kind for kind, given in options.items() if kind != self.type and given is not None]
        return found + [(kind, f"says nothing of a mount of type {self.type}") for kind in wrong]


@dataclass(frozen=True, slots=True)
class Grant:
    """A config or a secret that a service gets as a file."""

    source: str
    target: str
    uid: str = "0"
    gid: str = "0"
    mode: int = 0o444

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Grant | Invalid:
        if isinstance(node.value, dict):
            long = reader.object(node, _LongGrant, key)
            if isinstance(long, Invalid):
                return long
            mode = 0o444 if long.mode is None else int(long.mode)
            return cls(long.source, long.target or long.source, long.uid or "0", long.gid or "0", mode)
        text = Spelled.from_node(node, reader, key)
        return text if isinstance(text, Invalid) else cls(text, text)

    def file(self) -> dict[str, Any]:
        """The engine's form of where it stands and who may read it."""
        return {"Name": self.target, "UID": self.uid, "GID": self.gid, "Mode": self.mode}


@dataclass(frozen=True, slots=True)
class _LongGrant:
    source: Spelled
    target: Spelled | None = None
    uid: Spelled | None = None
    gid: Spelled | None = None
    mode: Mode | None = None

    def problems(self) -> list[tuple[str, str]]:
        """Users and groups of containers have numbers."""
        who = {"uid": self.uid, "gid": self.gid}
        return [(key, "must be a number") for key, given in who.items() if given and not _ID.fullmatch(given)]


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a service takes part in a network."""

    aliases: Texts = field(default_factory=Texts)


class Attachments(dict[str, Attachment]):
    """The networks of a service: a list of their names, or a map."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Attachments | Invalid:
        if isinstance(node.value, list):
            names = Texts.from_node(node, reader, key)
            return names if isinstance(names, Invalid) else cls({name: Attachment() for name in names})
        if not isinstance(node.value, dict):
            return reader.problem(node, key, f"must be a list or a map of networks, not {node.kind()}")
        found = cls()
        for name, child in node.value.items():
            one = reader.object(child, Attachment, f"{key}.{name}")
            if not isinstance(one, Invalid):
                found[name] = one
        return found


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A limit of the kernel for each process: one number, or soft and hard."""

    soft: int
    hard: int

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Ulimit | Invalid:
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return cls(node.value, node.value)
        if isinstance(node.value, dict):
            return reader.object(node, cls, key)
        return reader.problem(node, key, f"must be a number or a map of soft and hard, not {node.kind()}")


@dataclass(frozen=True, slots=True)
class External:
    """Whether something is not of this stack, but there already; in old files with the name it has."""

    external: bool = False
    name: str | None = None

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> External | Invalid:
        if isinstance(node.value, bool):
            return cls(node.value)
        if isinstance(node.value, dict) and isinstance((name := node.value.get("name")), Node):
            text = Spelled.from_node(name, reader, f"{key}.name")
            return text if isinstance(text, Invalid) else cls(external=True, name=text)
        return reader.problem(node, key, f"must be true or false, not {node.kind()}")
