"""`gpio-bridge functions`: what it asks of a gateway, what of a stack file it is about, and how mistakes are told."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from bridge.cli import exit_codes
from tests.cli.conftest import Command, Start
from tests.ports import free_port

STACK = """\
version: 1.0
provider: {name: openfaas}
functions:
  lamp-on: {lang: python3, handler: ./lamp, image: 'example/${WHICH:-lamp}:1', environment: {level: 1}}
  lamp-off: {lang: python3, handler: ./lamp, image: example/lamp}
  alarm: {image: example/alarm, fprocess: cat, skip_build: true}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    (tmp_path / "lamp").mkdir()
    (tmp_path / "lamp" / "handler.py").write_text("import os\ndef handle(req): return os.environ['level']\n")
    file = tmp_path / "stack.yml"
    file.write_text(STACK, encoding="utf-8")
    return file


@pytest.fixture
def gateway(start: Start, tmp_path: Path) -> str:
    """The address of a gateway with the local backend."""
    port = free_port()
    config = tmp_path / "gateway.yaml"
    config.write_text(f"version: 1\nstate_dir: state\nport: {port}\nmetrics: {{enabled: false}}\n", encoding="utf-8")
    start("gateway", "--config", str(config)).wait_for("Listening", 60.0)
    return f"http://127.0.0.1:{port}"


def test_functions_are_deployed_as_the_command_line_has_it(
    command: Command, gateway: str, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENFAAS_URL", gateway)
    file = ("--file", str(stack))
    assert (
        command("functions", "deploy", *file, "--filter", "lamp-*").stdout == "lamp-on: deployed\nlamp-off: deployed\n"
    )
    done = command(
        *("functions", "deploy", *file, "--regex", "-on$", "--env", "level=a=b", "--label", "team=x", "--tag", "digest")
    )
    assert done.stdout == "lamp-on: updated\n"
    # The version before it serves until the new one does.
    deadline = time.monotonic() + 60
    while command("functions", "invoke", "lamp-on", "--data", "x").stdout != "a=b":
        assert time.monotonic() < deadline
    (found,) = [one for one in json.loads(command("functions", "list", "--json").stdout) if one["name"] == "lamp-on"]
    assert re.fullmatch("example/lamp:[0-9a-f]{12}", found["image"])
    assert (found["envVars"], found["labels"]["team"]) == ({"level": "a=b"}, "x")


def test_the_stack_files_gateway_goes_before_the_environments(
    command: Command, gateway: str, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENFAAS_URL", "http://127.0.0.1:9")
    stack.write_text(STACK.replace("{name: openfaas}", f"{{name: openfaas, gateway: '{gateway}'}}"), encoding="utf-8")
    assert command("functions", "deploy", "alarm", "--file", str(stack)).stdout == "alarm: deployed\n"
    # faas-cli writes the usual address into every stack file, so that it says nothing.
    stack.write_text(STACK.replace("{name: openfaas}", "{name: openfaas, gateway: 'http://127.0.0.1:8080'}"))
    done = command("functions", "deploy", "alarm", "--file", str(stack))
    assert (done.returncode, "127.0.0.1:9" in done.stderr) == (exit_codes.UNAVAILABLE, True)


def test_a_command_that_the_stack_file_does_not_name_is_that_of_its_template(
    command: Command, gateway: str, stack: Path
) -> None:
    (stack.parent / "plain").mkdir()
    (stack.parent / "plain" / "main.sh").write_text("cat\n")
    text = f"version: 1.0\nprovider: {{name: openfaas, gateway: '{gateway}'}}\nfunctions:\n"
    text += "  plain: {lang: classic, handler: ./plain, image: example/plain}\n"
    stack.write_text(text, encoding="utf-8")
    done = command("functions", "deploy", "--file", str(stack))
    assert done.stdout == "plain: deployed\n", done.stderr
    (found,) = json.loads(command("functions", "list", "--json", "--gateway", gateway).stdout)
    assert found["envProcess"] == "sh main.sh"
    called = command("functions", "invoke", "plain", "--data", "same", "--gateway", gateway)
    assert called.stdout == "same"


def test_a_handler_that_cannot_be_imported_fails_its_deployment_with_the_traceback(
    command: Command, gateway: str, stack: Path
) -> None:
    (stack.parent / "lamp" / "handler.py").write_text("import nowhere\n")
    done = command("functions", "deploy", "lamp-on", "--file", str(stack), "--gateway", gateway)
    assert done.returncode == exit_codes.FAILED
    assert done.stdout == "lamp-on: deployed\n"
    assert f"lamp-on ({stack}:4) is deployed and does not run: " in done.stderr
    assert "\nlamp-on | Traceback (most recent call last):\n" in done.stderr
    assert "\nlamp-on | ModuleNotFoundError: No module named 'nowhere'\n" in done.stderr


def test_secrets_are_made_listed_changed_and_removed(
    command: Command, gateway: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENFAAS_URL", gateway)
    place = tmp_path / "state" / "secrets"
    assert command("functions", "secret", "create", "key", stdin="  value\n").stdout == "key: created\n"
    assert (place / "key").read_bytes() == b"value"
    twice = command("functions", "secret", "create", "key", "--from-literal", "other")
    assert (twice.returncode, "creating the secret key failed: 409" in twice.stderr) == (exit_codes.FAILED, True)
    (tmp_path / "raw").write_bytes(b"\xff\x00 \n")
    command("functions", "secret", "update", "key", "--from-file", str(tmp_path / "raw"), "--no-trim")
    assert (place / "key").read_bytes() == b"\xff\x00 \n"
    assert command("functions", "secret", "list").stdout == "key\n"
    assert command("functions", "secret", "remove", "key").stdout == "key: removed\n"
    assert command("functions", "secret", "update", "key", stdin="x").returncode == exit_codes.FAILED
    assert command("functions", "secret", "list").stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("deploy", "lamp"), "has no function lamp; it has lamp-on, lamp-off, alarm"),
        (("build", "--filter", "x*"), "no function of"),
        (("build", "--filter", "x", "--regex", "x"), "exclude each other"),
        (("push", "--regex", "("), "is no regular expression"),
        (("build", "--build-arg", "A"), "--build-arg 'A' must be NAME=VALUE"),
        (("deploy", "--env", "=b"), "--env '=b' must be NAME=VALUE"),
        (("deploy", "--tag", "newest"), "choose one of latest, sha"),
        (("build", "--platform", "linux"), "'linux' is no platform such as linux/arm64"),
        (("up", "--platform", "linux/arm64,linux/arm/v7", "--skip-push"), "without the index that joins them"),
    ],
)
def test_wrong_usage_is_told(command: Command, stack: Path, words: tuple[str, ...], said: str) -> None:
    done = command("functions", *words, "--file", str(stack))
    assert (done.returncode, said in " ".join(done.stderr.replace("│", " ").split())) == (exit_codes.USAGE, True), done


def test_a_function_that_cannot_be_built_is_told_with_its_place(command: Command, stack: Path) -> None:
    stack.write_text(STACK.replace("python3, handler: ./lamp, image: example/lamp}", "cobol, handler: ./lamp}"))
    done = command("functions", "build", "--file", str(stack))
    assert done.returncode == exit_codes.FAILED
    assert f"{stack}:5: functions.lamp-off: there is no template for lang: cobol" in done.stderr


def test_build_contexts_can_be_written_instead_of_built(
    command: Command, stack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stack.parent)
    left = stack.parent / "build" / "lamp-on" / "function" / "left-over.py"
    left.parent.mkdir(parents=True)
    left.touch()
    (stack.parent / "common").mkdir()
    (stack.parent / "common" / "shared.py").touch()
    stack.write_text(f"configuration: {{copy: [common]}}\n{stack.read_text(encoding='utf-8')}", encoding="utf-8")
    done = command("functions", "build", "--shrinkwrap", "--file", str(stack), "--build-arg", "A=b c")
    assert (
        "build/lamp-on: written; build it with: docker build --build-arg 'A=b c' --tag example/lamp:1 build/lamp-on"
        in (done.stdout)
    )
    assert "alarm: skipped (skip_build)" in done.stdout
    assert not left.exists()
    assert (stack.parent / "build" / "lamp-off" / "function" / "handler.py").is_file()
    assert (stack.parent / "build" / "lamp-off" / "function" / "common" / "shared.py").is_file()
    assert (stack.parent / "build" / "lamp-off" / "runtime" / "__main__.py").is_file()
