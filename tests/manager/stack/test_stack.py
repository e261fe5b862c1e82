"""Stacks on a real swarm, by the command that people type."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker_engine import HANDLERS, DockerEngine
from tests.manager.command import Done, command

WHOLE = Path(__file__).with_name("whole.yml")
SLEEP = "import time; time.sleep(1000)"
QUICK = "{order: start-first, monitor: 1ms}"
"""How to update where the way does not matter: without the seconds for which Swarm lets go, and looks on afterwards."""


@dataclass(frozen=True)
class Ground:
    """A swarm, a folder with a stack file, and the command."""

    engine: DockerEngine
    folder: Path

    def write(self, text: str, **files: str) -> None:
        """The stack file, and others beside it."""
        (self.folder / "stack.yml").write_text(text, encoding="utf-8")
        for name, content in files.items():
            (self.folder / name).write_text(content, encoding="utf-8")

    def run(self, arguments: str) -> Done:
        """`gpio-bridge stack ARGUMENTS`, on this swarm."""
        return command(f"stack {arguments} -H {self.engine.host}")

    def deploy(self, options: str = "--settle 0") -> Done:
        """Deploy the stack file as `house`; nothing stands in a registry here."""
        return self.run(f"deploy house -f stack.yml --no-resolve --timeout 60 {options}")

    def specs(self) -> dict[str, Any]:
        """The documents of all services by name."""
        return {each["Spec"]["Name"]: each["Spec"] for each in self.inspect("service")}

    def inspect(self, kind: str, *options: str) -> list[dict[str, Any]]:
        """The engine's documents of everything of a kind."""
        ids = self.engine.docker(kind, "ls", "--quiet", *options).split()
        found: list[dict[str, Any]] = json.loads(self.engine.docker(kind, "inspect", *ids)) if ids else []
        return found

    def names(self, kind: str, *options: str) -> list[str]:
        """What there is of a kind."""
        return sorted(str(each.get("Name") or each["Spec"]["Name"]) for each in self.inspect(kind, *options))

    def end_tasks(self) -> None:
        """Kill what runs of the stack: an engine lets each task that Swarm ends go on for some seconds."""
        containers = self.engine.docker("ps", "--quiet", "--filter", "label=com.docker.stack.namespace=house").split()
        if containers:
            # One or the other may end by itself meanwhile.
            with contextlib.suppress(subprocess.SubprocessError):
                self.engine.docker("kill", *containers)
            running = ("ps", "house", "--format", "{{.CurrentState}}")
            until(lambda: "Running" not in self.engine.docker("stack", *running), "Swarm knows that they have ended")


@pytest.fixture
def ground(swarm_of_one: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HANDLERS", HANDLERS)
    ground = Ground(swarm_of_one, tmp_path)
    yield ground
    ground.end_tasks()
    left = ground.run("rm house --volumes")
    assert left.code == 0, left
    assert ground.engine.docker("volume", "ls", "--quiet") == ""


def service(command: str = SLEEP, more: str = "", deploy: str = "restart_policy: {condition: none}") -> str:
    return (
        f"{{image: '{HANDLERS}', entrypoint: python3, command: ['-c', '{command}'], stop_signal: SIGKILL,"
        f" deploy: {{{deploy}}}{f', {more}' if more else ''}}}"
    )


def normal(spec: dict[str, Any]) -> dict[str, Any]:
    """A service without what must differ: ids, and the names of configs and secrets, which carry a digest."""
    container = spec["TaskTemplate"]["ContainerSpec"]
    for kind in ("Config", "Secret"):
        for grant in container.get(f"{kind}s") or ():
            del grant[f"{kind}ID"]
            grant[f"{kind}Name"] = re.sub("-[0-9a-f]{12}$", "", grant[f"{kind}Name"])
        container.get(f"{kind}s", []).sort(key=lambda grant: str(grant["File"]["Name"]))
    for network in spec["TaskTemplate"]["Networks"]:
        del network["Target"]
    spec["TaskTemplate"]["Networks"].sort(key=lambda network: sorted(network["Aliases"]))
    return spec


def made_by_the_docker_cli(ground: Ground, file: Path, **variables: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The services and networks that the Docker CLI makes of a file, by their names; then they are removed by us."""
    deploy = ["stack", "deploy", "--compose-file", str(file), "--resolve-image", "never", "house"]
    subprocess.run(
        ["docker", "-H", ground.engine.host, *deploy], env={**os.environ, **variables}, check=True, timeout=60
    )
    found = specs_and_networks(ground)
    assert ground.run("rm house").code == 0
    assert ground.names("service") == ground.names("secret") == ground.names("config") == []
    return found


def specs_and_networks(ground: Ground) -> tuple[dict[str, Any], dict[str, Any]]:
    specs = {name: normal(spec) for name, spec in ground.specs().items()}
    return specs, {each["Name"]: network(each) for each in ground.inspect("network", "--filter", "scope=swarm")}


def test_the_docker_cli_makes_the_same_services_networks_and_labels_of_a_file(ground: Ground) -> None:
    theirs = made_by_the_docker_cli(ground, WHOLE, HANDLERS=HANDLERS)
    done = ground.run(f"deploy house -f {WHOLE} --no-resolve --detach")
    assert (done.code, done.err) == (0, "")
    assert specs_and_networks(ground) == theirs


def test_the_docker_cli_makes_the_same_of_the_file_that_we_ship(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("stack init").code == 0
    for program in ("GPIO_BRIDGE", "MOSQUITTO", "PROMETHEUS", "ALERTMANAGER", "GRAFANA"):
        # Tasks of it would be of no use, and there are none: no cluster node has the label yet.
        monkeypatch.setenv(f"{program}_IMAGE", f"127.0.0.1:5000/{program.lower()}:1")
    monkeypatch.setenv("GRAFANA_REPLICAS", "1")
    services, networks = made_by_the_docker_cli(ground, Path("stack/gpio-bridge.yml"))
    assert len(services) == 8
    assert services["house_grafana"]["Mode"] == {"Replicated": {"Replicas": 1}}
    assert {"gpio-bridge-functions", "house_inner"} <= set(networks)
    done = ground.run("deploy house --no-resolve --detach")
    assert (done.code, done.err) == (0, "")
    (node,) = json.loads(ground.engine.docker("node", "inspect", "self"))
    assert f"{node['Description']['Hostname']}: gets the label gpio-bridge.data=true" in done.out
    assert node["Spec"]["Labels"] == {"gpio-bridge.data": "true"}
    assert specs_and_networks(ground) == (services, networks)
    assert "gets the label" not in ground.run("deploy house --no-resolve --detach").out
    ground.engine.docker("node", "update", "--label-rm", "gpio-bridge.data", node["ID"])


def network(document: dict[str, Any]) -> dict[str, Any]:
    kept = ("Driver", "Scope", "Attachable", "Internal", "Labels", "Ingress")
    given = [each["Subnet"] for each in document["IPAM"]["Config"] or () if each["Subnet"].startswith("10.88.")]
    return {**{key: document[key] for key in kept}, "given": given}


def test_a_stack_is_deployed_told_looked_at_and_removed_without_a_trace(ground: Ground) -> None:
    ground.write(
        f"services: {{one: {service('print(open(chr(47) + chr(99)).read(), flush=True); ' + SLEEP, 'configs: [c]')},"
        f" two: {service(deploy='replicas: 2')}}}\nconfigs: {{c: {{file: c}}}}\n",
        c="first words\n",
    )
    before = ground.names("network", "--filter", "scope=swarm")
    done = ground.deploy()
    assert done.code == 0, done
    told = done.out.splitlines()
    assert told[0] == "house_default: network made"
    assert told[1].startswith("house_c-")
    assert told[2:4] == ["one: service made", "two: service made"]
    assert {"one: 1/1", "two: 2/2"} <= set(told)
    assert told[-1] == "house: all of it runs"
    status = ground.run("status house --json")
    assert [(each["name"], each["running"], each["wanted"]) for each in json.loads(status.out)] == [
        ("one", 1, 1),
        ("two", 2, 2),
    ]
    logs = ground.run("logs house one")
    assert logs.out.splitlines()[0].endswith(" one.1  first words"), logs
    again = ground.deploy()
    assert again.out.splitlines() == [
        "one: service unchanged",
        "two: service unchanged",
        "one: 1/1",
        "two: 2/2",
        "house: all of it runs",
    ]
    assert ground.run("rm house").code == 0
    for kind in ("service", "config", "secret"):
        assert ground.names(kind) == []
    assert ground.names("network", "--filter", "scope=swarm") == before
    assert ground.run("status house").err == "gpio-bridge: there is no stack house; there is none\n"


def test_other_content_of_a_config_is_rolled_out_and_the_old_one_removed_when_no_rollback_needs_it(
    ground: Ground,
) -> None:
    policy = f"update_config: {QUICK}, rollback_config: {QUICK}, restart_policy: {{condition: none}}"
    text = f"services: {{one: {service(more='secrets: [s]', deploy=policy)}}}\nsecrets: {{s: {{file: s}}}}\n"
    ground.write(text, s="first")
    assert ground.deploy().code == 0
    (first,) = ground.names("secret")
    ground.write(text, s="second")
    assert ground.deploy().code == 0
    # The one before stays as long as the service could go back to it.
    (second,) = set(ground.names("secret")) - {first}
    back = ground.run("rollback house one")
    assert (back.code, back.out) == (0, "one: goes back to what it was before its last update\n")
    until(lambda: secret_of(ground) == first, "it goes back")
    ground.write(text, s="third")
    done = ground.deploy()
    assert f"{second}: secret removed: no service needs it" in done.out, done
    assert len(ground.names("secret")) == 2
    assert first in ground.names("secret")


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 90
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def secret_of(ground: Ground) -> str:
    (secret,) = ground.specs()["house_one"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    return str(secret["SecretName"])


def test_a_service_that_cannot_run_is_told_with_its_tasks_own_error_and_last_words(ground: Ground) -> None:
    ground.write(
        "services: {one: "
        + service("raise SystemExit(chr(110) + chr(111))", deploy="restart_policy: {delay: 1ms, max_attempts: 2}")
        + f", two: {service()}}}\n"
    )
    done = ground.deploy("--settle 3")
    assert done.code == 1
    (told,) = done.err.splitlines()
    assert told.startswith(
        "gpio-bridge: one did not become well: 0/1  task: non-zero exit (1) (failed); its last words: no"
    )
    status = ground.run("status house")
    assert status.code == 1
    assert "one: task: non-zero exit (1) (failed)" in status.out


def test_an_image_that_is_nowhere_is_told(ground: Ground) -> None:
    ground.write(
        "services: {one: {image: '127.0.0.1:5000/nowhere:1',"
        " deploy: {restart_policy: {delay: 1ms, max_attempts: 2}}}}\n"
    )
    done = ground.deploy()
    assert done.code == 1
    assert "No such image: 127.0.0.1:5000/nowhere:1 (rejected)" in done.err


def test_functions_go_with_the_network_of_a_stack_and_other_services_hold_it(ground: Ground) -> None:
    ground.write(
        f"services: {{one: {service(more='networks: [functions]')}}}\n"
        "networks: {functions: {attachable: true, name: fns}}\n"
    )
    assert ground.deploy("--detach").code == 0
    for name, label in (("greet", "com.openfaas.function=greet"), ("mine", "a=b")):
        ground.engine.docker("service", "create", "-d", "--name", name, "--label", label, "--network", "fns", "nothing")
    try:
        done = ground.run("rm house")
        assert done.code == 1
        assert "greet: function removed" in done.out
        assert "the network fns cannot be removed: the service mine is in it" in done.err, done
        assert ground.names("service") == ["mine"]
    finally:
        ground.engine.docker("service", "rm", "mine")
    assert "fns: network removed" in ground.run("rm house").out


def test_what_is_wrong_is_told_before_anything_is_changed(ground: Ground) -> None:
    ground.write(
        f"services: {{one: {service(deploy='placement: {constraints: [node.labels.disk == ssd]}')},"
        f" two: {service(more='secrets: [token]', deploy='resources: {reservations: {memory: 9999G}}')}}}\n"
        "secrets: {token: {external: true}}\nnetworks: {out: {external: true}}\n"
    )
    done = ground.deploy()
    assert (done.code, done.out) == (1, "")
    told = done.err.splitlines()
    assert told[0] == (
        "gpio-bridge: secrets.token: there is no secret token in the swarm; make it with:"
        " docker secret create token FILE"
    )
    assert told[1].startswith(
        "services.one.deploy.placement: no cluster node fits node.labels.disk == ssd; give one the"
    )
    assert told[2].startswith("services.two.deploy.resources.reservations: needs 10238976 MiB of memory")
    assert ground.names("service") == []
    assert "house_default" not in ground.names("network")
    checked = ground.run("check house -f stack.yml")
    assert (checked.code, checked.err) == (1, done.err)


def test_mistakes_in_the_file_are_told_with_their_lines_and_change_nothing(ground: Ground) -> None:
    ground.write("services:\n  one:\n    image: a\n    build: .\n    imagine: b\n")
    done = ground.deploy()
    assert done.code == 78
    assert "stack.yml:4:5: services.one.build: is not possible on a swarm" in done.err
    assert "stack.yml:5:5: services.one.imagine: unknown key" in done.err
    assert ground.names("service") == []


def test_services_that_the_file_no_longer_has_are_removed_unless_told_not_to(ground: Ground) -> None:
    ground.write(f"services: {{one: {service()}, two: {service()}}}\n")
    assert ground.deploy("--detach").code == 0
    ground.write(f"services: {{one: {service()}}}\n")
    assert ground.deploy("--no-prune --detach").code == 0
    assert ground.names("service") == ["house_one", "house_two"]
    assert "two: service removed: the file no longer has it" in ground.deploy("--detach").out
    assert ground.names("service") == ["house_one"]


def test_volumes_stay_and_are_told_until_they_are_asked_for(ground: Ground) -> None:
    mounted = service(more="volumes: ['kept:/data']")
    ground.write(f"services: {{one: {mounted}}}\nvolumes: {{kept: }}\n")
    assert ground.deploy().code == 0
    assert "house_kept: volume stays, with the data in it" in ground.run("rm house").out
    assert ground.engine.docker("volume", "ls", "--quiet") == "house_kept"
    told = ground.run("rm house --volumes").out
    assert told == "house_kept: volume removed, with the data in it\nhouse: removed\n"
    assert ground.engine.docker("volume", "ls", "--quiet") == ""


def test_an_update_that_fails_is_rolled_back_and_told(ground: Ground) -> None:
    policy = "update_config: {failure_action: rollback, monitor: 2s}, restart_policy: {condition: none}"
    policy += f", rollback_config: {QUICK}"
    ground.write(f"services: {{one: {service(deploy=policy)}}}\n")
    assert ground.deploy().code == 0
    ground.write(f"services: {{one: {service('raise SystemExit(3)', deploy=policy)}}}\n")
    done = ground.deploy()
    assert done.code == 1
    assert "one did not become well" in done.err
    assert "rolled back: task: non-zero exit (3) (failed)" in done.err
    until(lambda: ground.run("status house").code == 0, "what ran before runs again")


def test_services_are_updated_in_their_turns_and_a_turn_that_fails_ends_the_deployment(ground: Ground) -> None:
    update = "update_config: {failure_action: rollback, monitor: 1s, order: start-first}"
    update += f", rollback_config: {QUICK}, restart_policy: {{condition: none}}"

    def stack(first: str, second: str) -> str:
        turn = [f'labels: {{io.gpio-bridge.turn: "{number}"}}, {update}' for number in (1, 2)]
        return f"services: {{two: {service(second, deploy=turn[1])}, one: {service(first, deploy=turn[0])}}}\n"

    ground.write(stack(SLEEP, SLEEP))
    told = ground.deploy()
    assert told.code == 0, told
    assert told.out.index("one: service made") < told.out.index("two: service made") < told.out.index("one: 1/1")
    ground.write(stack(f"{SLEEP} # new", f"{SLEEP} # new"))
    told = ground.deploy()
    assert told.code == 0, told
    assert told.out.index("one: 1/1") < told.out.index("two: service updated") < told.out.index("two: 1/1")
    ground.write(stack("raise SystemExit(3)", f"{SLEEP} # newer"))
    told = ground.deploy()
    assert (told.code, "one did not become well" in told.err) == (1, True)
    assert "two" not in told.out
    until(lambda: ground.run("status house").code == 0, "what ran before runs again")


def test_an_engine_that_is_not_there_and_a_name_that_is_none_are_told(ground: Ground, tmp_path: Path) -> None:
    done = command(f"stack status -H unix://{tmp_path}/none.sock")
    assert (done.code, "no such socket" in done.err) == (69, True)
    done = command("stack status -H tcp://127.0.0.1:1")
    assert (done.code, "takes no connection" in done.err) == (69, True)
    assert ground.run("status Wrong").code == 2
