"""Configs and secrets: a name for each content, and what nobody needs any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config.spelled import Spelled
from bridge.manager.stack.contents import NAME_LABEL, Kind, superseded, wanted
from bridge.manager.stack.document import Content
from bridge.manager.stack.service import STACK_LABEL
from bridge.manager.stack.shapes import External, Pairs


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mosquitto.conf"
    path.write_text("listener 1883\n", encoding="utf-8")
    return path


def test_other_content_has_another_name_and_the_same_has_the_same(file: Path) -> None:
    first = wanted("house", "config", "broker", Content(file))
    assert first.docker_name.startswith("house_broker-")
    assert wanted("house", "config", "broker", Content(file)) == first
    file.write_text("listener 8883\n", encoding="utf-8")
    assert wanted("house", "config", "broker", Content(file)).docker_name != first.docker_name


def test_a_template_is_another_content_than_the_same_text(file: Path) -> None:
    plain = wanted("house", "config", "broker", Content(file))
    template = wanted("house", "config", "broker", Content(file, template_driver=Spelled("golang")))
    assert plain.docker_name != template.docker_name


def test_a_name_is_never_longer_than_docker_takes_and_stays_one_of_its_own(file: Path) -> None:
    names = {wanted("house", "secret", "x" * length, Content(file)).docker_name for length in (60, 61, 62)}
    assert len(names) == 3
    assert all(len(name) <= 64 for name in names)


def test_a_name_that_is_given_is_kept(file: Path) -> None:
    assert wanted("house", "config", "broker", Content(file, name=Spelled("mine"))).docker_name == "mine"


def test_what_is_there_already_is_called_as_the_file_says() -> None:
    there = Content(external=External(external=True))
    assert wanted("house", "secret", "token", there).docker_name == "token"
    named = Content(external=External(external=True), name=Spelled("other"))
    assert wanted("house", "secret", "token", named).docker_name == "other"


@pytest.mark.parametrize(
    ("kind", "size", "told"),
    [("config", 1024_001, "a config holds 1024000 at most"), ("secret", 512_001, "512000"), ("secret", 0, "is empty")],
)
def test_what_docker_would_not_keep_is_refused(tmp_path: Path, kind: Kind, size: int, told: str) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"x" * size)
    with pytest.raises(ValueError, match=told):
        wanted("house", kind, "it", Content(path))


def test_labels_carry_the_stack_and_the_name_in_the_file(file: Path) -> None:
    labels = wanted("house", "config", "broker", Content(file, labels=Pairs(a="b"))).labels
    assert labels is not None
    assert (labels[STACK_LABEL], labels[NAME_LABEL], labels["a"]) == ("house", "broker", "b")


def kept(content_id: str, stack: str = "house", *, ours: bool = True) -> dict[str, Any]:
    labels = {STACK_LABEL: stack, **({NAME_LABEL: "broker"} if ours else {})}
    return {"ID": content_id, "Spec": {"Name": f"name of {content_id}", "Labels": labels}}


def spec(*config_ids: str) -> dict[str, Any]:
    return {"TaskTemplate": {"ContainerSpec": {"Configs": [{"ConfigID": each} for each in config_ids]}}}


def test_only_what_the_stack_made_and_no_service_needs_is_superseded() -> None:
    everything = [kept("new"), kept("old"), kept("rollback"), kept("other", "garden"), kept("by hand", ours=False)]
    found = superseded("house", "config", everything, ["new"], [spec("new"), spec("rollback")])
    assert found == [("old", "name of old")]
    labelless = [{"ID": "x", "Spec": {"Name": "x", "Labels": None}}]
    assert superseded("house", "config", labelless, [], []) == []
