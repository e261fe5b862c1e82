"""Commands that go on, as real processes: a virtual Pi of its own, and everything at once."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.cli import exit_codes, whereabouts
from tests.cli.conftest import Command, Start

AGENT = """
version: 1
node: pi-9
state_dir: {folder}/agent
mqtt: {{port: 9}}
http: {{port: 0}}
pins: {{factory: mock}}
sensors:
  front-door: {{kind: pir, pin: 17, warm_up: 0s}}
  attic: {{kind: thermometer, sensor: tmp36, channel: 0, every: 1s}}
"""

MAPPINGS = """
version: 1
mappings:
  intruder:
    select: {sensor: front-door, event: motion.detected}
    invoke: seen
"""
STACK = """
version: 1.0
provider: {name: openfaas}
functions:
  seen: {lang: python3-http, handler: ./seen, image: seen}
"""
HANDLER = 'def handle(event, context):\n    print("called", flush=True)\n    return "seen"\n'


@pytest.fixture
def agent_file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yaml"
    file.write_text(AGENT.format(folder=tmp_path), encoding="utf-8")
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "functions" / "seen").mkdir(parents=True)
    (folder / "config").mkdir()
    for file, text in {
        "config/agent-pi-9.yaml": AGENT.format(folder=tmp_path),
        "config/mappings.yaml": MAPPINGS,
        "functions/stack.yml": STACK,
        "functions/seen/handler.py": HANDLER,
    }.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder / "config"


def test_an_agent_with_mock_pins_is_a_virtual_pi_that_can_be_driven_from_outside(
    agent_file: Path, start: Start, command: Command
) -> None:
    agent = start("agent", "--config", str(agent_file))
    url = agent.wait_for("virtual Pi pi-9").rpartition(" ")[2]
    listed = command("simulate", "--url", url)
    assert re.search(r"^pi-9/front-door +pir +motion, still, .+, stuck, unstuck$", listed.stdout, re.MULTILINE)
    assert command("simulate", "--url", url, "front-door", "motion").stdout == "pi-9/front-door: motion\n"
    assert command("simulate", "--url", url, "attic", "-5").stdout == "pi-9/attic: -5\n"
    refused = command("simulate", "--url", url, "front-door", "dance")
    assert refused.returncode == exit_codes.FAILED
    assert refused.stderr == (
        "gpio-bridge: front-door does not know 'dance'; it accepts motion, still, bounce for TIME, "
        "motion bouncing for TIME, still bouncing for TIME, stuck or unstuck\n"
    )
    assert agent.stop(signal.SIGTERM) == exit_codes.OK


def test_an_agent_loads_nothing_of_the_server_side(agent_file: Path) -> None:
    code = (
        "import sys, threading, time, os, signal\n"
        "from bridge.cli import run\n"
        "def stop():\n"
        "    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:\n"
        "        time.sleep(0.05)\n"
        "    time.sleep(1.0)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
        f"code = run(['agent', '--config', {str(agent_file)!r}, '--log-level', 'error'])\n"
        "heavy = {'aiohttp', 'rich', 'httpx', 'fastapi', 'docker', 'cel', 'watchfiles'}\n"
        "print(code, sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("program", "more"),
    [
        ("agent", "node: pi-9\npins: {factory: mock}\n"),
        ("dispatcher", "gateway: {url: 'http://127.0.0.1:9'}\nmappings: mappings.yaml\n"),
        ("gateway", "port: 0\nmetrics: {port: 0}\n"),
        ("manager", "mappings: mappings.yaml\nhttp: {port: 0}\n"),
    ],
)
def test_a_program_whose_state_folder_cannot_be_made_says_so_in_one_line(
    program: str, more: str, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    file = tmp_path / f"{program}.yaml"
    file.write_text(f"version: 1\nstate_dir: taken/state\n{more}", encoding="utf-8")

    result = command(program, "--config", str(file))

    assert result.returncode == exit_codes.FAILED
    last = result.stderr.splitlines()[-1]
    assert last.startswith("gpio-bridge: cannot ")
    assert str(tmp_path / "taken") in last
    assert "Not a directory" in last
    assert "Traceback" not in result.stderr


def test_up_is_found_and_driven_from_a_second_terminal(config: Path, start: Start, command: Command) -> None:
    up = start("up", "--config", str(config), "--ports", "auto")
    up.wait_for("gpio-bridge simulate front-door motion")
    here = whereabouts.find()
    assert here is not None
    assert here.pid == up.process.pid
    events = start("events", "--count", "1", "--json")
    deadline = time.monotonic() + 90
    while events.process.poll() is None:
        # The watcher's subscription and the sensor's first reading take a moment; an event before them is not seen.
        assert time.monotonic() < deadline
        assert command("simulate", "front-door", "motion").returncode == exit_codes.OK
        assert command("simulate", "front-door", "still").returncode == exit_codes.OK
        time.sleep(0.1)
    assert json.loads(events.output)["source"] == "/sites/home/nodes/pi-9/sensors/front-door"
    assert re.search(r"motion.detected → intruder → seen  200  \d+ ms$", up.wait_for("→ seen  200"))
    assert (
        "fires     intruder invokes seen"
        in command("explain", "--sensor", "front-door", "--event", "motion.detected").stdout
    )
    assert command("functions", "list").stdout.splitlines()[1].startswith("seen  1/1")
    assert "called" in command("functions", "logs", "seen").stdout
    (config / "mappings.yaml").write_text(MAPPINGS.replace("  intruder:", "  visitor:"), encoding="utf-8")
    assert up.wait_for("is in force").endswith("  mappings.yaml is in force as it stands now: +visitor  -intruder")
    stopping_at = time.monotonic()
    assert up.stop(signal.SIGINT) == exit_codes.OK
    assert time.monotonic() - stopping_at < 8
    assert whereabouts.find() is None
    assert "Traceback" not in up.output


@pytest.mark.parametrize(
    ("event", "code", "said"),
    [
        ("motion.detected", exit_codes.OK, "all 1 sensors invoked their functions"),
        ("beam.broken", exit_codes.FAILED, "1 of 1 sensors invoked nothing: front-door"),
    ],
)
def test_the_demo_succeeds_only_if_every_sensor_invoked_a_function_and_names_what_is_missing(
    config: Path, start: Start, event: str, code: int, said: str
) -> None:
    (config / "agent-pi-9.yaml").write_text(
        "version: 1\nnode: pi-9\nsensors: {front-door: {kind: pir, pin: 17, warm_up: 0s}}\n", encoding="utf-8"
    )
    (config / "mappings.yaml").write_text(MAPPINGS.replace("motion.detected", event), encoding="utf-8")
    demo = start("demo", "--config", str(config), "--timeout", "2")
    assert demo.process.wait(90) == code
    assert said in demo.output


def test_a_mistake_in_the_folder_keeps_up_from_starting(config: Path, command: Command) -> None:
    (config / "mappings.yaml").unlink()
    result = command("up", "--config", str(config), "--ports", "auto")
    assert result.returncode == exit_codes.CONFIG
    assert result.stderr == f"{config}/mappings.yaml: is missing: it says which event invokes which function\n"


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [('"seen"', exit_codes.OK, "all arrived: "), ('{"statusCode": 400}', exit_codes.FAILED, "NOT all arrived: ")],
)
def test_up_lets_many_virtual_pis_change_and_tells_whether_all_of_it_arrived(
    config: Path, start: Start, answer: str, code: int, said: str
) -> None:
    handler = config.parent / "functions" / "seen" / "handler.py"
    handler.write_text(f"def handle(event, context):\n    return {answer}\n", encoding="utf-8")
    up = start("up", "--config", str(config), "--ports", "auto", "--nodes", "6", "--rate", "100")
    assert up.wait_for("virtual Pis").endswith("... 6 in all")
    up.wait_for("events accepted")
    assert up.stop(signal.SIGINT, within_s=90) == code

    [told] = [line for line in up.output.splitlines() if line.startswith(said)]
    changes, accepted, confirmed, waiting, answered = (int(number) for number in re.findall(r"(\d+) [a-z]", told)[:5])
    assert changes >= 100
    assert accepted == confirmed >= 12, "each Pi tells what it found at its start, at least"
    assert waiting == 0
    assert (answered > 0) == (code == exit_codes.OK)
    assert ("dead letters" in told) == (code == exit_codes.FAILED)


def test_up_refuses_a_rate_that_is_none(command: Command) -> None:
    refused = command("up", "--rate", "0")
    assert refused.returncode == exit_codes.USAGE
    assert "--rate" in refused.stderr
