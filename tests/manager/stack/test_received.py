"""A compose file over the network: what it names on the manager's machine is refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.manager.stack.received import received_compose_file


def test_a_file_that_names_no_files_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_MANAGER", "x")
    found = received_compose_file(
        "services:\n"
        "  echo:\n"
        "    image: ${IMAGE:-echo:1}\n"
        "    environment: {A: 'b', SECRET_OF_THE_MANAGER: }\n"
        "    volumes: [data:/data, /srv/www:/www]\n"
        "    secrets: [password]\n"
        "volumes: {data: {}}\n"
        "secrets: {password: {external: true}}\n"
    )
    service = found.services["echo"]
    assert (service.image, service.volumes[1].source) == ("echo:1", "/srv/www")
    assert service.environment["SECRET_OF_THE_MANAGER"] is None, "the manager's own environment is not given away"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("services: {a: {image: x}}\nconfigs: {c: {file: FILE}}", "configs.c.file", 2),
        ("services: {a: {image: x}}\nsecrets: {c: {file: FILE}}", "secrets.c.file", 2),
        ("services:\n  a:\n    image: x\n    env_file: FILE", "services.a.env_file", 4),
        ("services:\n  a:\n    image: x\n    env_file: [FILE]", "services.a.env_file", 4),
        ("services:\n  a:\n    image: x\n    volumes: ['~/x:/x']", "services.a.volumes[0]", 4),
        ("services: {a: {image: x, volumes: ['./x:/x']}}", "services.a.volumes[0]", 0),
        ("services: {a: {image: x, volumes: ['${X:-./x}:/x']}}", "services.a.volumes[0]", 0),
        ("services: {a: {image: '${TAG:?which one}'}}", "services.a.image", 1),
    ],
)
def test_what_names_something_of_the_managers_machine_is_refused(
    tmp_path: Path, text: str, key: str, line: int
) -> None:
    file = tmp_path / "file"
    file.write_text("NAME=value of the manager\n", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        received_compose_file(text.replace("FILE", str(file)))
    (problem,) = refused.value.problems
    assert (problem.key, problem.line) == (key, line)
    assert "value of the manager" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "services: 5", "services: {a: 5}", "services: {a: {image: x}}\nsecrets: 5"])
def test_what_is_no_compose_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        received_compose_file(text)
