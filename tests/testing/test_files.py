"""Which files make a house, and how their mistakes are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.testing import Files, find
from tests.testing.conftest import AGENT, MAPPINGS

ROOT = Path(__file__).parents[2]


def messages(**files: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        find(Files(**files))  # type: ignore[arg-type] # what a test gives is what is tried
    return [str(problem) for problem in caught.value.problems]


def test_the_example_project_is_a_house() -> None:
    plan = find(Files(root=ROOT))
    assert [agent.node for agent in plan.agents] == ["pi-1", "pi-2"]
    assert plan.mappings is not None
    assert plan.dispatcher is not None
    assert "intruder-alert" in plan.functions


def test_the_site_is_the_agents_own_where_no_dispatchers_file_says_another(tmp_path: Path) -> None:
    plan = find(Files(root=tmp_path, agents=[AGENT + "site: cabin\nroot: mine\n"], mappings=MAPPINGS))
    assert (plan.site, plan.root, plan.dispatcher) == ("cabin", "mine", None)


def test_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(AGENT.replace("kind: pir", "kind: pri"), encoding="utf-8")
    (tmp_path / "dispatcher.yaml").write_text("version: 1\nstat_dir: x\n", encoding="utf-8")
    (tmp_path / "mappings.yaml").write_text("version: 1\nmappings: {}\n", encoding="utf-8")
    (tmp_path / "stack.yml").write_text("version: 1.0\n", encoding="utf-8")
    found = messages(root=tmp_path)
    assert {Path(message.split(":")[0]).name for message in found} == {
        "agent.yaml", "dispatcher.yaml", "mappings.yaml", "stack.yml",
    }  # fmt: skip


def test_mistakes_of_what_is_given_in_place_name_it(tmp_path: Path) -> None:
    found = messages(root=tmp_path, agents=[{"node": "A"}], mappings={"mappings": {"it": {"select": {}, "invok": 1}}})
    assert found[0].startswith("agent 1 of the test:3:")
    assert any(message.startswith("mappings of the test:") and "invok" in message for message in found)


def test_mistakes_of_the_yaml_and_of_its_contents_are_told_together(tmp_path: Path) -> None:
    text = MAPPINGS.replace("hours", "huors") + "timezone: UTC\n"
    assert [message.split(": ", 1)[1][:30] for message in messages(root=tmp_path, agents=[AGENT], mappings=text)] == [
        "mappings.intruder.huors: unkno",
        "timezone: the key is already g",
    ]


def test_a_node_that_stands_in_two_files_is_a_mistake(tmp_path: Path) -> None:
    assert messages(root=tmp_path, agents=[AGENT, AGENT]) == [
        "agent 2 of the test: node: pi-1 is already the node of agent 1 of the test"
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = messages(root=tmp_path, agents=["nowhere.yaml", "no*.yaml"], mappings="none.yaml", functions="a\nb")
    assert len(found) == 4
    assert sum("cannot be read: No such file or directory" in message for message in found) == 3
    assert any("is the path of a stack.yml" in message for message in found)


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(AGENT, encoding="utf-8")
    first = find(Files(root=tmp_path))
    assert find(Files(root=tmp_path)).agents[0] is first.agents[0]
    file.write_text(AGENT.replace("pi-1", "pi-9"), encoding="utf-8")
    os.utime(file, ns=(1, 1))
    assert find(Files(root=tmp_path)).agents[0].node == "pi-9"


def test_no_agent_at_all_is_a_mistake(tmp_path: Path) -> None:
    (message,) = messages(root=tmp_path, agents=[])
    assert "there is none of config/agent-*.yaml" in message
