"""Compose files: every key is read or refused, and each mistake is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import compose
from bridge.errors import ConfigError
from bridge.manager.stack.document import _NOT_ON_A_SWARM, ComposeFile, load_compose_file, read_compose_file


def stack(text: str, base: Path = Path("/")) -> ComposeFile:
    return read_compose_file(compose(text, "stack.yml"), base, {"FROM_OUTSIDE": "yes"})


def service(text: str) -> str:
    return f"services:\n  one:\n    image: it\n    {text}\n"


def problems(text: str, base: Path = Path("/")) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        stack(text, base)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("key", sorted(_NOT_ON_A_SWARM))
def test_a_key_that_only_compose_carries_out_is_refused_with_what_to_do(key: str) -> None:
    (told,) = problems(service(f"{key}: anything"))
    assert told == f"stack.yml:4:5: services.one.{key}: is not possible on a swarm: {_NOT_ON_A_SWARM[key]}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "stack.yml:1:1: must be a map, not nothing"),
        ("services: {}", "stack.yml:1:11: services: has none"),
        ("services: [a]", "stack.yml:1:11: services: must be a map, not a list"),
        ("services: {one: {}}", "stack.yml:1:17: services.one.image: is missing"),
        (service("imagine: 1"), "stack.yml:4:5: services.one.imagine: unknown key; did you mean image?"),
        (service("ports: ['80-90:80-90']"), "stack.yml:4:13: services.one.ports[0]: '80-90:80-90' is no port; write"),
        (service("ports: ['127.0.0.1:80:80']"), "stack.yml:4:13: services.one.ports[0]: '127.0.0.1:80:80' is no port"),
        (service("ports: [70000]"), "stack.yml:4:13: services.one.ports[0]: a port is a number from 1 to 65535"),
        (service("ports: [{published: 80}]"), "stack.yml:4:13: services.one.ports[0].target: is missing"),
        (service("volumes: [data:/data]"), "stack.yml:4:15: services.one.volumes[0]: there is no volume data"),
        (service("volumes: [data]"), "stack.yml:4:15: services.one.volumes[0]: write source:target"),
        (service("volumes: ['./a:/b:rx']"), "stack.yml:4:15: services.one.volumes[0]: './a:/b:rx' is no mount"),
        (service("volumes: [{type: tmpfs, target: a}]"), "services.one.volumes[0].target: must be an absolute path"),
        (service("volumes: [{type: bind, target: /a}]"), "services.one.volumes[0].source: is missing"),
        (
            service("volumes: [{type: tmpfs, target: /a, bind: {propagation: shared}}]"),
            "services.one.volumes[0].bind: says nothing of a mount of type tmpfs",
        ),
        (service("secrets: [pass]"), "stack.yml:4:15: services.one.secrets[0]: there is no pass under secrets"),
        (service("networks: [inner]"), "services.one.networks: there is no network inner under networks"),
        (service("deploy: {mode: global, replicas: 2}"), "services.one.deploy.replicas: a global service has one task"),
        (
            service("deploy: {labels: {io.gpio-bridge.turn: first}}"),
            "services.one.deploy.labels: io.gpio-bridge.turn must be a whole number from 1 to 999, not 'first'",
        ),
        (service("deploy: {replicas: two}"), "services.one.deploy.replicas: must be a whole number, not 'two'"),
        (service("deploy: {resources: {limits: {memory: lots}}}"), "limits.memory: 'lots' is no amount of memory"),
        (service("deploy: {resources: {limits: {cpus: half}}}"), "limits.cpus: 'half' is no number of CPUs"),
        (
            service("deploy: {resources: {limits: {memroy: 1M}}}"),
            "limits.memroy: unknown key; did you mean memory?",
        ),
        (service("healthcheck: {test: [python3]}"), "healthcheck.test: a list begins with CMD, CMD-SHELL or NONE"),
        (service("healthcheck: {interval: soon}"), "services.one.healthcheck.interval: 'soon' is not a duration"),
        (service("healthcheck: {shell: a}"), "services.one.healthcheck.shell: unknown key"),
        (service('command: "a \'b"'), "services.one.command: cannot be taken apart into words: No closing quotation"),
        (service("environment: 5"), "services.one.environment: must be a map or a list of NAME=value, not a number"),
        (service("env_file: nowhere.env"), "services.one.env_file: /nowhere.env cannot be read"),
        (
            "services: {a: {image: b, ports: ['80:80'], deploy: {endpoint_mode: dnsrr}}}",
            "services.a.ports[0]: endpoint_mode dnsrr has no ingress; write it with mode: host",
        ),
        (service("") + "configs: {a: {}}", "stack.yml:5:14: configs.a.file: name a file, or say external: true"),
        (service("") + "secrets: {a: {file: nowhere}}", "stack.yml:5:21: secrets.a.file: there is no file /nowhere"),
        (service("") + "secrets: {a: {external: 7}}", "secrets.a.external: must be true or false, not a number"),
        (service("") + "volume: {}", "stack.yml:5:1: volume: unknown key; did you mean volumes?"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, told: str) -> None:
    assert any(told in each for each in problems(text)), problems(text)


def test_all_mistakes_are_told_at_once() -> None:
    text = "services:\n  one: {image: a, build: ., ports: [x]}\n  two: {imagine: b}\n"
    assert [problem.split(": ")[1] for problem in problems(text)] == [
        "services.one.build",
        "services.one.ports[0]",
        "services.two.image",
        "services.two.imagine",
    ]


def test_two_files_at_one_path_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x", encoding="utf-8")
    text = (
        "services: {one: {image: it, configs: [{source: a, target: /x}, {source: a, target: /x}]}}\n"
        "configs: {a: {file: a}}\n"
    )
    assert problems(text, tmp_path) == [
        "stack.yml:1:64: services.one.configs[1]: two of them would stand at /x",
    ]


def test_a_permission_that_is_not_octal_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x", encoding="utf-8")
    text = "services: {one: {image: it, configs: [{source: a, mode: 440}]}}\nconfigs: {a: {file: a}}\n"
    (told,) = problems(text, tmp_path)
    assert told.endswith("configs[0].mode: 440 is decimal; write 0440 for what `chmod 440` does")


def test_values_keep_their_spelling_where_text_is_wanted() -> None:
    read = stack(service("environment: {VERSION: 1.10, SURE: yes, MANY: 0x10}"))
    assert read.services["one"].environment == {"VERSION": "1.10", "SURE": "yes", "MANY": "0x10"}


def test_a_variable_without_a_value_comes_from_outside_if_it_is_there() -> None:
    read = stack(service("environment: [FROM_OUTSIDE, MISSING, GIVEN=]"))
    assert read.services["one"].environment == {"FROM_OUTSIDE": "yes", "MISSING": None, "GIVEN": ""}


def test_a_services_own_variables_stand_above_those_of_its_env_files(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# first\nA=1\nB=1\n\nC = with spaces \n", encoding="utf-8")
    (tmp_path / "b.env").write_text("B=2\n", encoding="utf-8")
    read = stack(service("env_file: [a.env, b.env]\n    environment: {A: own}"), tmp_path)
    assert read.services["one"].environment == {"A": "own", "B": "2", "C": "with spaces"}


def test_a_line_of_an_env_file_that_is_none_is_told_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nwhat is this\n", encoding="utf-8")
    (told,) = problems(service("env_file: a.env"), tmp_path)
    assert told.endswith("a.env:2: 'what is this' is not NAME=value")


def test_a_folder_that_is_given_relative_to_the_file_is_made_absolute(tmp_path: Path) -> None:
    read = stack(service("volumes: ['../there:/x:ro']"), tmp_path / "stack")
    (mount,) = read.services["one"].volumes
    assert (mount.type, mount.source, mount.read_only) == ("bind", str(tmp_path / "there"), True)


def test_memory_is_counted_as_docker_does() -> None:
    read = stack(service("deploy: {resources: {limits: {memory: 50M}, reservations: {memory: 1.5gb}}}"))
    resources = read.services["one"].deploy.resources
    assert (resources.limits.memory, resources.reservations.memory) == (50 * 1024**2, 1.5 * 1024**3)


def test_keys_of_anybodys_own_mean_nothing() -> None:
    read = stack("x-common: {a: 1}\nservices: {one: {image: it, x-note: mine}}\n")
    assert list(read.services) == ["one"]


def test_the_file_of_every_key_is_read() -> None:
    read = load_compose_file(Path(__file__).with_name("whole.yml"), {"HANDLERS": "handlers:1"})
    assert read.services["everything"].image == "handlers:1"
