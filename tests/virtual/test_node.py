"""One virtual Pi as a program: what it keeps, and that a killed one leaves nothing elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bridge.clock import RealClock
from bridge.errors import BridgeError
from bridge.mqtt.memory import MemoryBroker
from bridge.virtual.folder import emptied
from bridge.virtual.node import VirtualNode
from tests.virtual.test_board import settings

AGENT = """
version: 1
node: pi-1
http: {port: 0}
sensors:
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
"""


def made(state: Path) -> VirtualNode:
    clock = RealClock()
    agent = dataclasses.replace(settings(AGENT), state_dir=state)
    return VirtualNode(agent, clock=clock, connect=MemoryBroker(clock).connect)


async def test_what_its_board_keeps_stands_in_the_state_folder_until_it_stops(tmp_path: Path) -> None:
    left = tmp_path / "state" / "virtual" / "gpio-bridge-virtual-left"
    left.mkdir(parents=True)
    async with made(tmp_path / "state") as node:
        assert node.board.w1_root.is_relative_to(tmp_path / "state" / "virtual")
        assert (node.board.w1_root / "28-0316a2795cff" / "temperature").exists()
        assert not left.exists(), "a killed one had left it"
    assert list((tmp_path / "state" / "virtual").iterdir()) == []


async def test_two_of_them_do_not_share_a_state_folder(tmp_path: Path) -> None:
    async with made(tmp_path) as node:
        with pytest.raises(BridgeError, match=f"another virtual Pi works in {tmp_path}; stop it, or give this one"):
            made(tmp_path)
        assert node.board.w1_root.exists()
    async with made(tmp_path):
        pass


def test_a_state_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    with pytest.raises(BridgeError, match=r"cannot write .*/state/virtual\.lock: "):
        made(tmp_path / "state")


def test_what_stands_in_the_place_of_a_folder_that_is_to_be_emptied_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "virtual"
    file.write_text("somebody's", encoding="utf-8")
    with pytest.raises(BridgeError, match=r"cannot empty the folder .*/virtual: Not a directory .*; move it away"):
        emptied(file)
    assert file.read_text(encoding="utf-8") == "somebody's"
