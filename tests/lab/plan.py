"""Where everything of a lab is: names, addresses, folders follow from its number. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

LARGEST_NUMBER: Final = 249
LARGEST_SIZE: Final = 9
FOR_TESTS: Final = range(200, LARGEST_NUMBER + 1)
"""The numbers that tests take; the others are left to people."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One engine's place. Its name is its host's, as `docker node ls` shows it."""

    lab: LabPlan
    index: int

    @property
    def name(self) -> str:
        return f"pi-{self.index}"

    @property
    def namespace(self) -> str:
        """Also the parent of its containers' control groups."""
        return f"{self.lab.name}-{self.name}"

    @property
    def link(self) -> str:
        """The end of its cable that is plugged into the bridge; at most 15 characters (IFNAMSIZ)."""
        return f"{self.lab.name}n{self.index}"

    @property
    def address(self) -> str:
        return str(self.lab.network[self.index])

    @property
    def folder(self) -> Path:
        return self.lab.folder / self.name

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"


@dataclass(frozen=True, slots=True)
class LabPlan:
    """A lab's place on its machine."""

    number: int
    size: int
    folder: Path

    @property
    def name(self) -> str:
        """Also the bridge's."""
        return f"gblab{self.number}"

    @property
    def network(self) -> IPv4Network:
        return IPv4Network(f"10.77.{self.number}.0/24")

    @property
    def machine_address(self) -> str:
        """Where the machine itself stands in the lab's network."""
        return str(self.network[254])

    @property
    def registry(self) -> str:
        return f"{self.machine_address}:5000"

    @property
    def nodes(self) -> tuple[NodePlan, ...]:
        return tuple(NodePlan(self, index) for index in range(1, self.size + 1))


def clash(network: IPv4Network, routes: Iterable[tuple[str, str]], own: str) -> str | None:
    """Which of the machine's routes (destination, device) is in a network's way; a route by our `own` device is not."""
    for destination, device in routes:
        if destination == "default" or device == own:
            continue
        if IPv4Network(destination, strict=False).overlaps(network):
            return f"{destination} by {device}"
    return None
