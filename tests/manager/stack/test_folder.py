"""The folder of our own stack, as `stack init` writes it, and a real Mosquitto that lets in whom its files name."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from bridge.manager.stack.document import load_compose_file
from bridge.manager.stack.folder import SHIPPED, complete
from bridge.manager.stack.passwords import password_line
from tests.manager.command import command
from tests.mosquitto import Mosquitto

BASE = "gpio-bridge/v1/home"


def password(folder: Path, user: str) -> str:
    return (folder / "secrets" / f"{user}-password").read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_new_folder_is_all_that_its_compose_file_names_and_only_its_owner_can_read_the_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0)
    try:
        done = command("stack init")
    finally:
        os.umask(before)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "stack/gpio-bridge.yml: written"
    assert done.out.splitlines()[-1] == (
        "pi-1: its agent's password is in stack/secrets/pi-1-password; in its settings: mqtt.username: pi-1,"
        " mqtt.password_file"
    )
    stack = load_compose_file(tmp_path / "stack" / "gpio-bridge.yml", {})
    programs = ["broker", "dispatcher", "gateway", "manager", "engine-door", "prometheus", "alertmanager", "grafana"]
    assert list(stack.services) == programs
    assert stack.services["grafana"].deploy.replicas == 0
    asked = load_compose_file(tmp_path / "stack" / "gpio-bridge.yml", {"GRAFANA_REPLICAS": "1"})
    assert asked.services["grafana"].deploy.replicas == 1
    secrets = tmp_path / "stack" / "secrets"
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o600}
    assert secrets.stat().st_mode & 0o777 == 0o700
    passwords = [path.read_text(encoding="utf-8") for path in secrets.glob("*-password")]
    assert len(set(passwords)) == len(passwords) == 7
    assert min(map(len, passwords)) >= 32


def test_what_is_there_is_never_changed_and_what_is_missing_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    complete(folder)
    (folder / "first-mappings.yaml").write_text("version: 1\nmappings: {}\n", encoding="utf-8")
    before = contents(folder)
    again = command(f"stack init {folder}")
    assert (again.code, again.out) == (0, f"{folder}: nothing is missing\n")
    (folder / "broker.acl").unlink()
    # A password that somebody has taken elsewhere is still the one: its user is not touched.
    (folder / "secrets" / "pi-1-password").unlink()
    assert command(f"stack init {folder}").out == f"{folder}/broker.acl: written\n"
    assert contents(folder) == {name: text for name, text in before.items() if name != "secrets/pi-1-password"}


def test_a_password_that_is_there_becomes_the_user_s_when_the_password_file_is_made_anew(tmp_path: Path) -> None:
    complete(tmp_path)
    before = password(tmp_path, "pi-1")
    (tmp_path / "secrets" / "broker-passwords").unlink()
    complete(tmp_path, ["pi-1"])
    assert password(tmp_path, "pi-1") == before
    lines = (tmp_path / "secrets" / "broker-passwords").read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["dispatcher", "manager", "people", "health", "pi-1"]


@pytest.mark.parametrize("name", ["a:b", "../x", "", "Pi", "people", "gateway", "grafana", "health"])
def test_a_name_that_no_agent_can_have_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    done = command(f"stack init {tmp_path}/stack --agent '{name}'")
    assert (done.code, done.out) == (1, "")
    assert "name" in done.err
    assert not (tmp_path / "stack").exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "stack").write_text("", encoding="utf-8")
    done = command(f"stack init {tmp_path}/stack/inner")
    assert (done.code, "cannot be written: Not a directory" in done.err) == (1, True)


def test_deploy_without_a_file_makes_the_folder_and_leaves_one_alone_that_is_somebody_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nowhere = f"stack deploy -H unix://{tmp_path}/none.sock"
    done = command(nowhere)
    assert (done.code, "no such socket" in done.err) == (69, True)
    assert "stack/secrets/broker-passwords: written" in done.out
    # A checkout has the shipped file, and no passwords.
    (tmp_path / "stack" / "secrets" / "gateway-user").unlink()
    assert "stack/secrets/gateway-user: written" in command(nowhere).out
    file = tmp_path / "stack" / "gpio-bridge.yml"
    file.write_text("services: {mine: {image: a}}\n", encoding="utf-8")
    (tmp_path / "stack" / "secrets" / "gateway-user").unlink()
    assert command(nowhere).out == ""


def test_the_wheel_has_the_files_that_are_written() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    prefix = "bridge/manager/stack/shipped/"
    assert {f"stack/{name}": f"{prefix}{name}" for name in SHIPPED} == {
        path: target for path, target in included.items() if target.startswith(prefix)
    }


def test_a_line_is_what_mosquitto_passwd_would_write() -> None:
    line = password_line("pi-1", "secret", b"twelve bytes")
    digest = hashlib.pbkdf2_hmac("sha512", b"secret", b"twelve bytes", 101)
    assert line == f"pi-1:$7$101$dHdlbHZlIGJ5dGVz${base64.b64encode(digest).decode()}"


@pytest.mark.real("mosquitto", "mosquitto-clients")
def test_a_real_broker_lets_each_user_do_what_is_theirs_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    complete(folder, ["pi-1", "pi-2"])
    access = (
        "allow_anonymous false",
        f"password_file {folder}/secrets/broker-passwords",
        f"acl_file {folder}/broker.acl",
    )
    with Mosquitto(tmp_path, access=access) as broker:

        def client(program: str, user: str, *arguments: str, word: str | None = None) -> list[str]:
            secret = password(folder, user) if word is None else word
            at = ("-h", broker.host, "-p", str(broker.port), "-u", user, "-P", secret)
            return [program, *at, *arguments]

        def publish(user: str, topic: str, word: str | None = None) -> int:
            sent = client("mosquitto_pub", user, "-q", "1", "-t", topic, "-m", user, word=word)
            return subprocess.run(sent, capture_output=True, timeout=60, check=False).returncode

        def heard(user: str, topic: str, *sent: tuple[str, str]) -> list[str]:
            """What somebody hears who subscribes before this is sent, and after it something that they may hear."""
            listen = client("mosquitto_sub", user, "-q", "1", "-c", "-i", f"listener-{user}", "-t", topic)
            end = (*listen, "-t", f"{BASE}/nodes/pi-1/status")
            subprocess.run([*end, "-E"], check=True, capture_output=True, timeout=60)
            for who, where in (*sent, ("pi-1", f"{BASE}/nodes/pi-1/status")):
                publish(who, where)
            lines: list[str] = []
            with subprocess.Popen([*end, "-F", "%t %p", "-W", "9"], stdout=subprocess.PIPE, text=True) as listener:
                assert listener.stdout is not None
                for line in listener.stdout:
                    if line.endswith("/status pi-1\n"):
                        listener.terminate()
                        return lines
                    lines.append(line.rstrip())
            raise AssertionError(f"what was sent last never came: {lines}")

        assert publish("pi-1", "any", word="wrong") == 5
        event = f"{BASE}/nodes/pi-1/sensors/door/event"
        assert heard("dispatcher", f"{BASE}/nodes/+/sensors/+/event", ("pi-1", event)) == [f"{event} pi-1"]
        # An agent speaks for no other node, and people for none.
        forged = f"{BASE}/nodes/pi-2/sensors/door/event"
        assert heard("manager", f"{BASE}/nodes/pi-2/sensors/+/event", ("pi-1", forged), ("people", forged)) == []
        mappings = f"{BASE}/config/mappings"
        assert heard("people", mappings, ("dispatcher", mappings), ("manager", mappings)) == [f"{mappings} manager"]
        confirm = f"{BASE}/nodes/pi-1/confirm"
        assert heard("pi-1", confirm, ("manager", confirm), ("dispatcher", confirm)) == [f"{confirm} dispatcher"]
        switch = f"{BASE}/nodes/pi-1/outputs/siren/set"
        assert heard("pi-1", switch, ("pi-2", switch), ("people", switch)) == [f"{switch} people"]
        # As the compose file's health check asks.
        healthy = client("mosquitto_sub", "health", "-t", "$SYS/broker/uptime", "-C", "1", "-W", "4")
        assert subprocess.run(healthy, capture_output=True, timeout=60, check=False).returncode == 0
