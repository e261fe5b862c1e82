"""Whether an engine can serve, from what it says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.swarm.membership import read_membership


def info(**swarm: Any) -> dict[str, Any]:
    return {"Name": "pi-2", "Swarm": {"NodeID": "n1", **swarm}}


def test_a_manager_serves() -> None:
    found = read_membership(info(LocalNodeState="active", ControlAvailable=True), "unix:///x")
    assert (found.node_id, found.complaint) == ("n1", None)


@pytest.mark.parametrize(
    ("document", "words", "passing"),
    [
        ({}, "docker swarm init", False),
        ({"Swarm": None}, "docker swarm init", False),
        (info(LocalNodeState="inactive"), "docker swarm init", False),
        (info(LocalNodeState="active", ControlAvailable=False), "docker node promote pi-2", False),
        (info(LocalNodeState="locked"), "docker swarm unlock", False),
        (info(LocalNodeState="pending"), "not (yet) part", True),
        (info(LocalNodeState="error", Error="no peers"), "no peers", True),
    ],
)
def test_any_other_engine_is_told_what_to_do(document: dict[str, Any], words: str, passing: bool) -> None:
    found = read_membership(document, "unix:///x")
    assert found.complaint is not None
    assert words in found.complaint
    assert "unix:///x" in found.complaint
    assert found.passing is passing
