"""The example functions, each served by the function runtime in a process of its own."""

import filecmp
import http.client
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

FUNCTIONS = Path(__file__).parents[2] / "functions"
DEADLINE_S = 10.0


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content = json.loads(self.body)
        assert isinstance(content, dict)
        return content


@dataclass
class Served:
    """A function in its process."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, body: bytes = b"", path: str = "/", method: str = "POST", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def send(self, event: dict[str, Any], **headers: str) -> Answer:
        return self.ask(json.dumps(event).encode(), Content_Type="application/cloudevents+json", **headers)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def stack() -> dict[str, Any]:
    content = yaml.safe_load((FUNCTIONS / "stack.yml").read_text())
    assert isinstance(content, dict)
    return content


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a function as stack.yml says, with further environment: `serve("echoit", name="value")`."""
    with ExitStack() as cleanup:

        def start(name: str, **environ: str) -> Served:
            told = stack()["functions"][name]
            settings = {"fprocess": told["fprocess"]} if "fprocess" in told else {}
            if not settings:
                settings["function_handler"] = str(FUNCTIONS / told["handler"])
                settings["function_signature"] = told["lang"]
            read_fd, write_fd = os.pipe()
            log = tmp_path / f"{name}.log"
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "bridge.runtime"],
                    env={
                        "PATH": os.environ["PATH"],
                        "PYTHONDONTWRITEBYTECODE": "1",
                        "port": "0",
                        "bind_address": "127.0.0.1",
                        "announce_fd": str(write_fd),
                        **settings,
                        **told.get("environment", {}),
                        **environ,
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[write_fd],
                )
            cleanup.callback(process.wait, DEADLINE_S)
            cleanup.callback(process.kill)
            os.close(write_fd)
            with os.fdopen(read_fd) as announcement:
                line = announcement.readline()
            assert line, log.read_text()
            return Served(process, json.loads(line)["port"], log)

        yield start


def event(name: str = "motion.detected", value: object = True, **changes: object) -> dict[str, Any]:
    """An event as an agent sends it."""
    content: dict[str, Any] = {
        "specversion": "1.0",
        "id": "01JEVENT",
        "source": "/sites/home/nodes/pi-1/sensors/front-door",
        "type": f"io.gpio-bridge.{name}",
        "subject": "front-door",
        "time": "2026-11-22T17:30:00.123456Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:gpio-bridge:event:1",
        "epoch": "k3v9",
        "sequence": "00000000000000000042",
        "timesynced": True,
        "data": {
            "site": "home",
            "node": "pi-1",
            "sensor": "front-door",
            "kind": "pir",
            "event": name,
            "value": value,
            "unit": None,
            "initial": False,
        },
    }
    return content | changes


@dataclass
class Webhook:
    """A chat's or pager's side: keeps what is posted, answers with `status`."""

    url: str
    status: int = 200
    posted: list[dict[str, Any]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name BaseHTTPRequestHandler asks for
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            hook.entered.set()
            assert hook.hold.wait(DEADLINE_S)
            hook.posted.append(content)
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(f"http://127.0.0.1:{server.server_address[1]}/token-4711")
        hook.hold.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hook
        server.shutdown()
        thread.join()


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_stack_file_is_what_faas_cli_reads() -> None:
    content = stack()
    assert content["provider"] == {"name": "openfaas", "gateway": "http://127.0.0.1:8080"}
    known = {
        "lang",
        "handler",
        "image",
        "fprocess",
        "environment",
        "labels",
        "annotations",
        "secrets",
        "limits",
        "requests",
    }
    for name, function in content["functions"].items():
        assert set(function) <= known, name
        assert (FUNCTIONS / function["handler"]).is_dir()
        assert function["image"] == f"gpio-bridge/{name}:latest"
        for part in ("environment", "labels", "annotations"):
            # Go reads these as text to text; a bare number or `true` would be refused.
            assert all(isinstance(value, str) for value in function.get(part, {}).values()), name


def test_every_folder_is_in_the_stack_file_and_has_what_its_language_needs() -> None:
    functions = stack()["functions"]
    folders = {path.name for path in FUNCTIONS.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert folders - {"template"} == set(functions)
    for function in functions.values():
        # What is no Python is a command, which the image has or the folder brings.
        handler = (FUNCTIONS / function["handler"] / "handler.py").is_file()
        assert handler == function["lang"].startswith("python3")
        assert handler != ("fprocess" in function)


def test_both_alert_functions_have_the_same_alerting() -> None:
    one, other = (FUNCTIONS / name / "alerting.py" for name in ("intruder-alert", "temperature-alarm"))
    assert filecmp.cmp(one, other, shallow=False), "a function's folder is all its image gets: change both copies"


def test_echoit_answers_the_same_bytes_with_the_same_type(serve: Serve) -> None:
    function = serve("echoit")
    answer = function.ask(bytes(range(256)), Content_Type="image/png")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, bytes(range(256)), "image/png")
    assert function.ask(b"x").headers["Content-Type"] == "text/plain; charset=utf-8"
    assert function.stop() == 0


def test_wordcount_counts(serve: Serve) -> None:
    assert serve("wordcount").ask(b"one two\nthree\n").body.split() == [b"2", b"3", b"14"]


def test_hello_python_greets_by_name(serve: Serve) -> None:
    function = serve("hello-python")
    assert function.ask("Zoë\n".encode()).body.decode().startswith("Hello, Zoë! This is ")
    assert function.ask(b"").body.startswith(b"Hello, world!")
    assert function.ask(b"\xff").status == 400
    assert function.ask(b"x" * 201).status == 400


def test_markdown_becomes_html(serve: Serve) -> None:
    function = serve("markdown")
    answer = function.ask(b"# Title\n\n*one* `two`\n\n- three\n\n| a |\n|---|\n| b |\n", Content_Type="text/markdown")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    html = answer.body.decode()
    for part in ("<h1>Title</h1>", "<em>one</em>", "<code>two</code>", "<li>three</li>", "<td>b</td>"):
        assert part in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,x)",
    ],
)
def test_markdown_lets_no_script_through(serve: Serve, text: str) -> None:
    html = serve("markdown").ask(text.encode()).body.decode()
    assert "<script" not in html
    assert "<img" not in html
    assert "href" not in html


def test_markdown_refuses_what_is_no_text(serve: Serve) -> None:
    assert serve("markdown").ask(b"\xff\xfe").status == 400


def test_nodeinfo_tells_as_text_or_json(serve: Serve) -> None:
    function = serve("nodeinfo")
    text = function.ask(method="GET")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert b"hostname: " in text.body
    for answer in (
        function.ask(path="/?format=json", method="GET"),
        function.ask(method="GET", Accept="application/json"),
    ):
        info = answer.json
        assert info["cpus"] == os.cpu_count()
        assert info["memory_total_bytes"] > info["memory_available_bytes"] > 0
        assert info["uptime_s"] > 0
        assert {"hostname", "platform", "architecture", "python", "load_1m"} <= set(info)


def test_an_intruder_is_written_down_and_posted(serve: Serve, tmp_path: Path, webhook: Webhook) -> None:
    secret = tmp_path / "alert-webhook"
    secret.write_text(webhook.url + "\n")
    log = tmp_path / "alerts.jsonl"
    function = serve("intruder-alert", alert_log=str(log), alert_webhook_file=str(secret))
    answer = function.send(event(), Idempotency_Key="01JEVENT:night-intruder")
    assert answer.status == 200
    told = answer.json
    assert (told["alerted"], told["duplicate"], told["severity"]) == (True, False, "critical")
    assert told["text"] == "Intruder: motion.detected at front-door on pi-1"
    (posted,) = webhook.posted
    assert posted["text"] == told["text"]
    (record,) = records(log)
    assert record["key"] == "01JEVENT:night-intruder"
    assert record["event_id"] == "01JEVENT"
    assert record["happened_at"] == "2026-11-22T17:30:00.123456Z"
    assert log.stat().st_mode & 0o077 == 0
    assert "ALERT Intruder: motion.detected at front-door on pi-1" in function.log.read_text()
    assert "token-4711" not in function.log.read_text()


def test_a_repeated_key_alerts_once_even_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "alerts.jsonl"
    function = serve("intruder-alert", alert_log=str(log))
    assert function.send(event(), Idempotency_Key="k1").json["duplicate"] is False
    again = function.send(event(), Idempotency_Key="k1")
    assert (again.status, again.json["duplicate"], again.json["alerted"]) == (200, True, False)
    assert function.send(event(), Idempotency_Key="k2").json["alerted"] is True
    assert function.stop() == 0
    with log.open("a") as file:
        file.write('{"key": "torn')
    restarted = serve("intruder-alert", alert_log=str(log))
    assert restarted.send(event(), Idempotency_Key="k1").json["duplicate"] is True
    assert restarted.send(event(), Idempotency_Key="k3").json["alerted"] is True
    keys = [line.partition('"key": ')[2][:5] for line in log.read_text().splitlines()]
    assert keys == ['"k1",', '"k2",', '"torn', '"k3",']


def test_without_a_key_the_event_itself_is_the_key(serve: Serve) -> None:
    function = serve("intruder-alert")
    assert function.send(event()).json["alerted"] is True
    assert function.send(event()).json["duplicate"] is True
    assert function.send(event(source="/another")).json["alerted"] is True


def test_data_with_ce_headers_is_an_event_too(serve: Serve) -> None:
    headers = {
        "Content_Type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": "42",
        "ce_source": "/caf%C3%A9",
        "ce_type": "io.gpio-bridge.beam.broken",
        "ce_subject": "tripwire",
    }
    answer = serve("intruder-alert").ask(b'{"event": "beam.broken"}', **headers)
    assert answer.json["alerted"] is True
    assert answer.json["source"] == "/café"
    assert answer.json["text"] == "Intruder: beam.broken at tripwire"


def test_an_event_that_is_no_reason_for_an_alert_is_answered_200(serve: Serve) -> None:
    function = serve("intruder-alert")
    answer = function.send(event("motion.ended", value=False))
    assert (answer.status, answer.json["alerted"]) == (200, False)
    chosen = serve("intruder-alert", alert_events="button.pressed, digital.on")
    assert chosen.send(event("digital.on")).json["alerted"] is True


@pytest.mark.parametrize("name", ["intruder-alert", "temperature-alarm"])
def test_what_is_no_event_is_a_400_with_a_sentence(serve: Serve, name: str) -> None:
    function = serve(name)
    bodies = {
        b"": "no JSON",
        b"hello": "no JSON",
        b"[1]": "no CloudEvent",
        b"{}": "specversion",
        json.dumps(event(specversion="0.3")).encode(): "specversion",
        json.dumps(event(id="")).encode(): "`id`",
        json.dumps(event(source=5)).encode(): "`source`",
        json.dumps(event(type=None)).encode(): "`type`",
        json.dumps(event(data="warm")).encode(): "`data`",
    }
    for body, said in bodies.items():
        answer = function.ask(body)
        assert answer.status == 400
        assert said in answer.json["error"]


def test_a_webhook_that_fails_is_a_502_and_the_next_attempt_alerts(
    serve: Serve, tmp_path: Path, webhook: Webhook
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(webhook.url)
    log = tmp_path / "alerts.jsonl"
    function = serve("intruder-alert", alert_log=str(log), alert_webhook_file=str(secret))
    webhook.status = 500
    failed = function.send(event(), Idempotency_Key="k")
    assert (failed.status, failed.json["error"]) == (502, "The webhook answered with status 500.")
    assert not log.exists()
    webhook.status = 200
    assert function.send(event(), Idempotency_Key="k").json["alerted"] is True
    secret.write_text("http://127.0.0.1:9/token-4711")  # a changed secret counts at once; nobody listens there
    unreachable = function.send(event(), Idempotency_Key="k2")
    assert unreachable.status == 502
    assert "token" not in unreachable.json["error"]
    secret.write_text("file:///etc/passwd")
    assert "no http or https address" in function.send(event(), Idempotency_Key="k3").json["error"]
    secret.unlink()
    assert "does not exist" in function.send(event(), Idempotency_Key="k4").json["error"]


def test_two_attempts_at_once_with_one_key_alert_once(serve: Serve, tmp_path: Path, webhook: Webhook) -> None:
    secret = tmp_path / "secret"
    secret.write_text(webhook.url)
    function = serve("intruder-alert", alert_webhook_file=str(secret))
    webhook.hold.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(function.send, event(), Idempotency_Key="k")
        assert webhook.entered.wait(DEADLINE_S)
        second = function.send(event(), Idempotency_Key="k")
        webhook.hold.set()
        assert first.result().json["alerted"] is True
    assert second.status == 503
    assert len(webhook.posted) == 1


def test_an_alert_log_that_cannot_be_written_is_a_502(serve: Serve, tmp_path: Path) -> None:
    answer = serve("intruder-alert", alert_log=str(tmp_path / "missing" / "log")).send(event())
    assert answer.status == 502
    assert "can't be written: No such file or directory" in answer.json["error"]


def test_a_temperature_is_judged_by_the_limits(serve: Serve) -> None:
    function = serve("temperature-alarm", temperature_high="25", temperature_low="10", temperature_margin="5")
    expected = {
        10: ("normal", "info"),
        25: ("normal", "info"),
        25.1: ("high", "warning"),
        30: ("high", "warning"),
        30.1: ("high", "critical"),
        9.9: ("low", "warning"),
        4.9: ("low", "critical"),
    }
    for number, (value, (state, severity)) in enumerate(expected.items()):
        answer = function.send(event("temperature.changed", value=value), Idempotency_Key=str(number))
        assert answer.status == 200
        assert (answer.json["state"], answer.json["severity"]) == (state, severity)
        assert answer.json["alerted"] is (state != "normal")


def test_a_temperature_alarm_names_the_value_and_the_place_and_comes_once(serve: Serve, tmp_path: Path) -> None:
    log = tmp_path / "alerts.jsonl"
    function = serve("temperature-alarm", alert_log=str(log))
    hot = event("temperature.high", value=31.5)
    hot["data"] |= {"sensor": "rack", "unit": "°C"}
    assert function.send(hot, Idempotency_Key="k").json["text"] == "Temperature high: 31.5 °C at rack on pi-1"
    assert function.send(hot, Idempotency_Key="k").json["duplicate"] is True
    assert [record["severity"] for record in records(log)] == ["warning"]


@pytest.mark.parametrize("value", [None, True, "31", [31]])
def test_a_value_that_is_no_number_is_a_400(serve: Serve, value: object) -> None:
    answer = serve("temperature-alarm").send(event("temperature.high", value=value))
    assert answer.status == 400
    assert "`data.value` is no number" in answer.json["error"]


def test_limits_that_contradict_each_other_end_the_process_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge.runtime"],
        env={
            "PATH": os.environ["PATH"],
            "function_handler": str(FUNCTIONS / "temperature-alarm"),
            "temperature_low": "40",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 3
    assert b"temperature_low (40.0) must be less than temperature_high (30.0)" in done.stderr
