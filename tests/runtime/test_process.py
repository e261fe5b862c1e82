"""A function process as its users meet it: started for real, asked over HTTP, stopped by signals."""

import contextlib
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import bridge.runtime

DEADLINE_S = 60.0


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class FunctionProcess:
    """`python -m bridge.runtime` with its streams in files."""

    def __init__(
        self, folder: Path, environ: dict[str, str], *, module: str = "bridge.runtime", cwd: Path | None = None
    ) -> None:
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        read_fd, write_fd = os.pipe()
        settings = {"port": "0", "bind_address": "127.0.0.1", "announce_fd": str(write_fd), "log_format": "json"}
        with self.stdout.open("wb") as out, self.stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={"PATH": os.environ["PATH"], "HOME": str(folder), **settings, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                pass_fds=[write_fd, *([int(environ["lifeline_fd"])] if "lifeline_fd" in environ else [])],
                cwd=cwd,
            )
        os.close(write_fd)
        with os.fdopen(read_fd) as announcement:
            line = announcement.readline()
        self.port: int = json.loads(line)["port"] if line else 0

    def ask(
        self, path: str = "/", body: bytes = b"", method: str = "POST", timeout_s: float = DEADLINE_S, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def logs(self) -> list[dict[str, object]]:
        lines = self.stderr.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE_S)


Start = Callable[..., FunctionProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts function processes: `start(code)` for a handler, settings by name; killed at the end if need be."""
    with contextlib.ExitStack() as stack:

        def starter(code: str | None = None, **settings: str) -> FunctionProcess:
            if code is not None:
                folder = tmp_path / "function"
                folder.mkdir(exist_ok=True)
                (folder / "handler.py").write_text(textwrap.dedent(code))
                settings["function_handler"] = str(folder)
            process = FunctionProcess(tmp_path, settings)
            stack.callback(process.kill)
            return process

        yield starter


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


HELLO = """
    def handle(event, context):
        return {"statusCode": 201, "body": b"hello " + event.body, "headers": {"X-Host": context.hostname}}
"""


def test_an_event_handler_is_served_with_call_id_and_duration(start: Start) -> None:
    function = start(HELLO)
    answer = function.ask(body=b"you", X_Call_Id="call-1")
    assert (answer.status, answer.body) == (201, b"hello you")
    assert answer.headers["X-Host"] == socket.gethostname()
    assert answer.headers["X-Call-Id"] == "call-1"
    assert 0 <= float(answer.headers["X-Duration-Seconds"]) < DEADLINE_S
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    first, second = function.ask().headers["X-Call-Id"], function.ask().headers["X-Call-Id"]
    assert len(first) == 36
    assert first != second


def test_everything_of_the_request_reaches_the_event(start: Start) -> None:
    function = start("""
        def handle(event, context):
            return [event.method, event.path, event.query["q"], event.query.getlist("m"), event.headers["x-MINE"],
                    len(event.body)]
    """)
    answer = function.ask("/a%20b?q=%26&m=1&m=2", b"\x00\xff", method="PATCH", X_Mine="yes")
    assert json.loads(answer.body) == ["PATCH", "/a b", "&", ["1", "2"], "yes", 2]


@pytest.mark.parametrize(
    ("code", "settings", "expected"),
    [
        ("def handle(req): return req.upper()", {}, b"ABC"),
        ("def handle(req): return type(req).__name__", {"RAW_BODY": "true"}, b"bytes"),
        ("def handle(event, context): return type(event).__name__", {}, b"Event"),
        ("def handle(req, more=1): return type(req).__name__", {}, b"str"),
        ("def handle(req, more=1): return type(req).__name__", {"function_signature": "python3-http"}, b"Event"),
        ("def handle(*args): return str(len(args))", {}, b"2"),
        ("def handle(*args): return str(len(args))", {"function_signature": "python3-flask"}, b"1"),
        ("async def handle(req): return req + '!'", {}, b"abc!"),
        ("async def handle(event, context): return event.body + b'!'", {}, b"abc!"),
        ("class Callable:\n  def __call__(self, req): return 'called'\nhandle = Callable()", {}, b"called"),
    ],
)
def test_the_signature_is_found_by_counting_or_set(
    start: Start, code: str, settings: dict[str, str], expected: bytes
) -> None:
    assert start(code, **settings).ask(body=b"abc").body == expected


def test_modules_beside_the_handler_import_either_way(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "beside.py").write_text("WORD = 'found'")
    function = start("""
        import beside
        from . import beside as relative
        from function.beside import WORD

        def handle(req):
            return beside.WORD + relative.WORD + WORD
    """)
    assert function.ask().body == b"foundfoundfound"


def test_a_handlers_exception_is_a_500_that_tells_nothing_and_a_log_that_tells_all(start: Start) -> None:
    function = start("def handle(req): raise ValueError('the password is 1234')")
    answer = function.ask(X_Call_Id="call-7")
    assert answer.status == 500
    assert b"1234" not in answer.body
    assert b"call-7" in answer.body
    (line,) = [line for line in function.logs() if line["level"] == "error"]
    assert line["call_id"] == "call-7"
    assert "handler.py" in str(line["traceback"])
    assert "the password is 1234" in str(line["traceback"])
    assert function.ask("/_/health", method="GET").status == 200


@pytest.mark.parametrize(
    ("code", "logged"),
    [
        ("import sys\ndef handle(req): sys.exit(3)", "sys.exit(3)"),
        ("import sys\nasync def handle(req): sys.exit(3)", "sys.exit(3)"),
        ("def handle(req): next(iter([]))", "StopIteration"),
        ("def handle(req): raise TimeoutError('mine')", "mine"),
        ("import asyncio\nasync def handle(req): raise asyncio.CancelledError", "cancelled from inside"),
        ("def handle(req): return object()", "type object"),
        ("def handle(req): return 'x', 200, {'X': 'a\\nb'}", "can't carry"),
    ],
)
def test_a_call_that_ends_oddly_is_a_500_and_the_process_lives_on(start: Start, code: str, logged: str) -> None:
    function = start(code)
    assert function.ask().status == 500
    assert function.ask().status == 500
    assert logged in function.stderr.read_text()
    assert function.stop() == 0


def test_what_a_handler_prints_is_there_at_once(start: Start) -> None:
    function = start("""
        import logging, sys

        def handle(req):
            print("printed", req)
            print("no newline", end="")
            print("complained", file=sys.stderr)
            logging.getLogger("mine").info("logged")
            return "ok"
    """)
    function.ask(body=b"this", X_Call_Id="call-3")
    assert function.stdout.read_text() == "printed this\nno newline"
    assert "complained\n" in function.stderr.read_text()
    assert [line["call_id"] for line in function.logs() if line["message"] == "logged"] == ["call-3"]


def test_logs_can_be_text(start: Start) -> None:
    function = start("def handle(req): return 1 / 0", log_format="text", log_level="debug")
    function.ask("/path", X_Call_Id="call-4")
    log = function.stderr.read_text()
    assert "ERROR Function failed call_id=call-4 op=call\nTraceback" in log
    assert "DEBUG Called call_id=call-4 op=call method=POST path=/path status=500" in log


def test_a_call_that_takes_too_long_is_a_504_whether_it_waits_in_a_thread_or_on_the_loop(start: Start) -> None:
    function = start("import time\ndef handle(req): time.sleep(float(req))", exec_timeout="100ms", max_threads="1")
    answer = function.ask(body=b"0.4")
    assert answer.status == 504
    assert b"exec_timeout, 0.1 s" in answer.body
    unhealthy = function.ask("/_/health", method="GET")
    assert unhealthy.status == 503
    assert b"all 1 threads hang" in unhealthy.body
    wait_for(lambda: function.ask("/_/health", method="GET").status == 200)
    assert function.ask(body=b"0").status == 200
    assert function.stop() == 0


def test_an_async_call_that_takes_too_long_is_cancelled(start: Start) -> None:
    function = start(
        """
        import asyncio

        async def handle(req):
            try:
                await asyncio.sleep(60)
            finally:
                print("cleaned up")
        """,
        exec_timeout="100ms",
    )
    assert function.ask().status == 504
    assert function.stdout.read_text() == "cleaned up\n"


def test_a_thread_that_hangs_for_ever_does_not_keep_the_process_from_ending(start: Start) -> None:
    function = start("import time\ndef handle(req): time.sleep(600)", exec_timeout="50ms")
    assert function.ask().status == 504
    assert function.stop() == 0


def test_calls_beyond_max_inflight_are_429_and_ready_says_busy(start: Start, tmp_path: Path) -> None:
    go = tmp_path / "go"
    function = start(
        f"""
        import pathlib, time

        def handle(req):
            print("entered")
            while not pathlib.Path({str(go)!r}).exists():
                time.sleep(0.01)
            return "done"
        """,
        max_inflight="2",
    )
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(function.ask) for _ in range(2)]
        wait_for(lambda: function.stdout.read_text().count("entered") == 2)
        refused = function.ask()
        busy = function.ask("/_/ready", method="GET")
        alive = function.ask("/_/health", method="GET")
        go.touch()
        assert [call.result().body for call in calls] == [b"done", b"done"]
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (busy.status, alive.status) == (503, 200)
    assert function.ask().status == 200
    assert function.ask("/_/ready", method="GET").status == 200


def test_streamed_answers_count_as_in_flight_until_their_end(start: Start) -> None:
    function = start(
        """
        import asyncio

        async def handle(event, context):
            for number in range(3):
                yield f"{number}\\n"
                await asyncio.sleep(0.05)
        """,
        max_inflight="1",
    )
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=DEADLINE_S)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.readline() == b"0\n"
    assert function.ask().status == 429
    assert answer.read() == b"1\n2\n"
    connection.close()
    wait_for(lambda: function.ask("/_/ready", method="GET").status == 200)
    assert function.ask().status == 200


@pytest.mark.parametrize("parameters", ["req", "event, context"])
def test_a_plain_generator_is_streamed_from_a_thread(start: Start, tmp_path: Path, parameters: str) -> None:
    go = tmp_path / "go"
    function = start(f"""
        import pathlib, time

        def handle({parameters}):
            try:
                yield "first\\n"
                while not pathlib.Path({str(go)!r}).exists():
                    time.sleep(0.01)
                yield b"second\\n"
            finally:
                print("closed")
    """)
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=DEADLINE_S)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.readline()) == (200, b"first\n")
    # The loop is free meanwhile.
    assert function.ask("/_/health", method="GET").status == 200
    go.touch()
    assert answer.read() == b"second\n"
    connection.close()
    assert function.stdout.read_text() == "closed\n"


@pytest.mark.parametrize(
    "handler",
    [
        "async def handle(req):\n  yield 'a'\n  await asyncio.sleep(60)",
        "def handle(req):\n  yield 'a'\n  time.sleep(0.6)",
        "async def handle(req):\n  while True: yield 'a'",
    ],
)
def test_a_streamed_answer_that_takes_too_long_is_broken_off(start: Start, handler: str) -> None:
    function = start(f"import asyncio, time\n{handler}", exec_timeout="200ms", max_inflight="1")
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=DEADLINE_S)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read(1) == b"a"
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        answer.read()
    connection.close()
    wait_for(lambda: any(line["message"] == "Function took too long" for line in function.logs()))
    assert not any("traceback" in line for line in function.logs())
    # The place is free again once its thread, if any, is.
    wait_for(lambda: function.ask("/_/ready", method="GET").status == 200)


def test_a_plain_generator_is_closed_when_its_client_leaves(start: Start) -> None:
    function = start("""
        import time

        def handle(req):
            try:
                while True:
                    yield b"x" * 65536
                    time.sleep(0.01)
            finally:
                print("closed")
    """)
    connection = http.client.HTTPConnection("127.0.0.1", function.port, timeout=DEADLINE_S)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert answer.read(1) == b"x"
    answer.close()
    connection.close()
    wait_for(lambda: "closed" in function.stdout.read_text())


def test_sigterm_lets_calls_finish_refuses_new_ones_and_exits_0(start: Start) -> None:
    function = start("import time\ndef handle(req):\n  print('entered')\n  time.sleep(0.4)\n  return 'finished'")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.ask)
        wait_for(lambda: "entered" in function.stdout.read_text())
        function.process.send_signal(signal.SIGTERM)
        wait_for(lambda: any(line["message"] == "Draining" for line in function.logs()))
        with pytest.raises(ConnectionRefusedError):
            wait_for(lambda: function.ask().status == 0)
        answer = call.result()
    assert answer.body == b"finished"
    assert answer.headers["Connection"] == "close"
    assert function.process.wait(DEADLINE_S) == 0


def test_with_a_drain_delay_probes_say_503_while_calls_are_still_taken(start: Start) -> None:
    function = start(HELLO, drain_delay="300ms")
    function.process.send_signal(signal.SIGTERM)
    wait_for(lambda: function.ask("/_/health", method="GET").status == 503)
    assert function.ask("/_/ready", method="GET").status == 503
    assert function.ask(body=b"you").body == b"hello you"
    assert function.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize("again", [False, True], ids=["drain_timeout", "second signal"])
def test_what_does_not_finish_is_cut_off_with_exit_code_1(start: Start, *, again: bool) -> None:
    function = start(
        "import time\ndef handle(req):\n  print('entered')\n  time.sleep(600)",
        drain_timeout="60s" if again else "100ms",
        exec_timeout="0",
    )
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.ask)
        wait_for(lambda: "entered" in function.stdout.read_text())
        function.process.send_signal(signal.SIGTERM)
        if again:
            wait_for(lambda: any(line["message"] == "Draining" for line in function.logs()))
            function.process.send_signal(signal.SIGTERM)
        assert function.process.wait(DEADLINE_S) == 1
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            call.result()


def test_an_interrupt_drains_too(start: Start) -> None:
    assert start(HELLO).stop(signal.SIGINT) == 0


def test_a_process_ends_when_whoever_holds_its_lifeline_is_gone(start: Start) -> None:
    read_fd, write_fd = os.pipe()
    function = start(HELLO, lifeline_fd=str(read_fd))
    os.close(read_fd)
    assert function.ask(body=b"you").body == b"hello you"
    assert function.process.poll() is None
    os.close(write_fd)
    assert function.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def handle(:", "SyntaxError"),
        ("raise SystemExit('limits are wrong')", "SystemExit: limits are wrong"),
        ("x = 1", "defines no function `handle`"),
        ("def handle(): pass", "can't be called as python3"),
        ("def handle(a, b, c): pass", "can't be called as python3"),
    ],
)
def test_a_handler_that_cannot_be_loaded_exits_with_3_and_says_why(start: Start, code: str, said: str) -> None:
    function = start(code)
    assert function.process.wait(DEADLINE_S) == 3
    assert said in function.stderr.read_text()
    assert "The function can't be loaded" in function.stderr.read_text()


def test_wrong_settings_exit_with_2_and_a_taken_port_with_4(start: Start) -> None:
    function = start(HELLO, port="http")
    assert function.process.wait(DEADLINE_S) == 2
    assert "port: 'http' is no whole number" in function.stderr.read_text()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        function = start(HELLO, port=str(port))
        assert function.process.wait(DEADLINE_S) == 4
    assert f"Can't listen on 127.0.0.1, port {port}" in function.stderr.read_text()


def test_the_folder_alone_is_enough(tmp_path: Path) -> None:
    shutil.copytree(Path(bridge.runtime.__file__).parent, tmp_path / "runtime")
    (tmp_path / "handler.py").write_text(
        "import sys\ndef handle(req): return [m for m in sys.modules if 'bridge' in m]"
    )
    function = FunctionProcess(tmp_path, {"function_handler": str(tmp_path)}, module="runtime", cwd=tmp_path)
    try:
        assert json.loads(function.ask().body) == []
    finally:
        function.kill()


def test_nothing_heavy_is_loaded(start: Start) -> None:
    function = start("import sys\ndef handle(req): return [m.partition('.')[0] for m in sys.modules]")
    loaded = set(json.loads(function.ask().body))
    ours = {name for name in loaded if name not in sys.stdlib_module_names}
    # What .pth files of the environment load, editable installs and setuptools, starts with an underscore.
    assert {name for name in ours if not name.startswith("_")} <= {"bridge", "function", "h11", "sitecustomize"}
    assert not loaded & {"email", "uuid", "typing_extensions", "tempfile", "multiprocessing"}


def test_a_command_gets_the_body_and_its_output_is_the_answer(start: Start) -> None:
    function = start(fprocess="wc -w")
    answer = function.ask(body=b"three short words", Content_Type="text/mine")
    assert (answer.status, answer.body.strip()) == (200, b"3")
    assert answer.headers["Content-Type"] == "text/mine"


def test_a_commands_content_type_can_be_set(start: Start) -> None:
    answer = start(fprocess="cat", content_type="image/png").ask(body=b"x", Content_Type="text/mine")
    assert answer.headers["Content-Type"] == "image/png"


def test_a_command_sees_the_request_in_its_environment(start: Start) -> None:
    answer = start(fprocess="env").ask(
        "/a/b?x=1", b"12345", method="PUT", X_Some_Thing="some value", Proxy="http://evil", Content_Type="text/x"
    )
    variables = dict(line.split("=", 1) for line in answer.body.decode().splitlines())
    expected = {
        "Http_Method": "PUT",
        "Http_Path": "/a/b",
        "Http_Query": "x=1",
        "Http_Content_Length": "5",
        "Http_ContentLength": "5",
        "Http_Content_Type": "text/x",
        "Http_X_Some_Thing": "some value",
    }
    assert expected.items() <= variables.items()
    assert "Http_Host" in variables
    assert "Http_Proxy" not in variables
    assert "PATH" in variables


def test_large_bodies_pass_through_a_command_without_blocking(start: Start) -> None:
    function = start(fprocess="cat")
    for size in (0, 1, 65_536, 65_537, 5_000_000):
        body = os.urandom(size)
        assert function.ask(body=body).body == body


def test_a_command_that_reads_nothing_still_answers(start: Start) -> None:
    assert start(fprocess="echo done").ask(body=bytes(2_000_000)).body == b"done\n"


def test_a_command_that_fails_is_a_500_and_its_complaint_is_in_the_log(start: Start) -> None:
    function = start(fprocess="sh -c 'echo half an answer; echo complaint >&2; exit 7'")
    answer = function.ask()
    assert answer.status == 500
    assert b"half" not in answer.body
    assert "complaint\n" in function.stderr.read_text()
    assert "exit code 7" in function.stderr.read_text()


def test_a_command_that_dies_by_a_signal_is_a_500(start: Start) -> None:
    function = start(fprocess="sh -c 'kill -SEGV $$'")
    assert function.ask().status == 500
    assert "signal SIGSEGV" in function.stderr.read_text()


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # killed, and waiting for whoever reaps orphans here


def test_a_command_that_takes_too_long_is_killed_with_its_children(start: Start, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    function = start(fprocess=f"sh -c 'sleep 600 & echo $! $$ > {pids}; wait'", exec_timeout="300ms")
    assert function.ask().status == 504
    for pid in map(int, pids.read_text().split()):
        wait_for(functools.partial(gone, pid))
    assert function.stop() == 0


def test_a_grandchild_that_left_the_group_cannot_hold_the_call(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"setsid sleep 600 & echo $! > {pid_file}; exit 0"
    function = start(fprocess=f"sh -c '{script}'", exec_timeout="300ms")
    assert function.ask().status == 504
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_a_command_in_flight_is_killed_when_the_drain_is_over(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    function = start(fprocess=f"sh -c 'echo $$ > {pid_file}; exec sleep 600'", drain_timeout="100ms", exec_timeout="0")
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.ask)
        wait_for(lambda: pid_file.exists() and pid_file.read_text())
        assert function.stop() == 1
        assert isinstance(call.exception(), (ConnectionError, http.client.HTTPException))
    wait_for(lambda: gone(int(pid_file.read_text())))


def test_a_commands_answer_is_bounded(start: Start) -> None:
    function = start(fprocess="cat /dev/zero", max_response_bytes="1000000")
    assert function.ask().status == 500
    assert "larger than max_response_bytes, 1000000" in function.stderr.read_text()


def test_a_command_that_is_not_installed_exits_with_3(start: Start) -> None:
    function = start(fprocess="no-such-command-here -x")
    assert function.process.wait(DEADLINE_S) == 3
    assert "'no-such-command-here' isn't installed" in function.stderr.read_text()


def test_a_handler_wins_over_a_command_and_the_log_says_so(start: Start) -> None:
    function = start(HELLO, fprocess="python index.py")
    assert function.ask(body=b"you").body == b"hello you"
    assert any("fprocess is ignored" in str(line["message"]) for line in function.logs())


def test_too_large_a_body_is_a_413(start: Start) -> None:
    function = start(HELLO, max_request_bytes="1000")
    assert function.ask(body=bytes(1000)).status == 201
    assert function.ask(body=bytes(1001)).status == 413


@pytest.mark.parametrize(("combine", "answer", "log"), [("true", b"out\nerr\n", ""), ("false", b"out\n", "err\n")])
def test_a_commands_complaints_are_part_of_its_answer_if_wanted(
    start: Start, combine: str, answer: bytes, log: str
) -> None:
    function = start(fprocess="sh -c 'echo out; echo err >&2'", combine_output=combine, log_level="error")
    assert function.ask().body == answer
    assert function.stderr.read_text() == log


def test_debug_writes_calls_and_what_a_command_answers(start: Start) -> None:
    function = start(fprocess="wc -w", write_debug="true")
    function.ask("/path", b"three short words")
    told = {line["message"]: line for line in function.logs()}
    assert told["Command answered"]["output"] == "3\n"
    assert told["Called"]["status"] == 200


def test_what_is_set_and_not_supported_is_told_at_the_start(start: Start) -> None:
    function = start(HELLO, prefix_logs="true", static_path="/srv")
    wait_for(lambda: any(line["message"] == "Listening" for line in function.logs()))
    told = [line["setting"] for line in function.logs() if line["message"] == "A setting is not supported"]
    assert told == ["prefix_logs", "static_path"]
