"""The environment of a function process: what may stand in it, and how mistakes are told."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.runtime.settings import Settings, SettingsError, duration_s, from_environment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("5", 5),
        ("0", 0),
        ("0s", 0),
        ("1h2m3s4ms", 3723.004),
    ],
)
def test_a_duration_reads_as_go_writes_it(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "10 s", "-1s", "1d", "1.5", "ten", "²", "1s!", "inf"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration_s(text)


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 999))
def test_parts_of_a_duration_add_up(minutes: int, seconds: int, milliseconds: int) -> None:
    assert duration_s(f"{minutes}m{seconds}s{milliseconds}ms") == pytest.approx(
        minutes * 60 + seconds + milliseconds / 1000
    )


def test_a_command_alone_is_enough_and_all_else_has_defaults() -> None:
    assert from_environment({"fprocess": "wc -l 'a b'"}) == Settings(fprocess=("wc", "-l", "a b"))


def test_a_handler_is_a_file_or_the_folder_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "handler.py").touch()
    assert from_environment({"function_handler": str(tmp_path)}).handler == tmp_path / "handler.py"
    assert from_environment({"function_handler": str(tmp_path / "handler.py")}).handler == tmp_path / "handler.py"


def test_everything_can_be_set() -> None:
    environ = {
        "fprocess": "cat",
        "function_signature": "python3-http-debian",
        "RAW_BODY": "True",
        "content_type": "text/x",
        "exec_timeout": "0",
        "read_timeout": "1m",
        "write_timeout": "2",
        "max_inflight": "4",
        "max_request_bytes": "10",
        "max_response_bytes": "11",
        "drain_timeout": "3s",
        "drain_delay": "100ms",
        "port": "0",
        "bind_address": "127.0.0.1",
        "announce_fd": "1",
        "lifeline_fd": "0",
        "log_format": "json",
        "log_level": "debug",
    }
    assert from_environment(environ) == Settings(
        fprocess=("cat",),
        signature="python3-http",
        raw_body=True,
        content_type="text/x",
        exec_timeout_s=None,
        read_timeout_s=60.0,
        write_timeout_s=2.0,
        max_inflight=4,
        max_threads=4,
        max_request_bytes=10,
        max_response_bytes=11,
        drain_timeout_s=3.0,
        drain_delay_s=0.1,
        port=0,
        bind_address="127.0.0.1",
        announce_fd=1,
        lifeline_fd=0,
        log_format="json",
        log_level="debug",
    )


def test_an_empty_variable_counts_as_unset() -> None:
    assert from_environment({"fprocess": "wc", "port": "", "exec_timeout": " "}) == Settings(fprocess=("wc",))


def test_nothing_to_serve_is_told_with_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"set function_handler to a handler\.py, or fprocess to a command"):
        from_environment({})


def test_all_problems_are_told_at_once_each_with_its_variable(tmp_path: Path) -> None:
    closed_fd = os.dup(0)
    os.close(closed_fd)
    environ = {
        "function_handler": str(tmp_path),
        "fprocess": "wc 'open",
        "function_signature": "node20",
        "RAW_BODY": "maybe",
        "exec_timeout": "soon",
        "read_timeout": "0",
        "max_inflight": "-1",
        "max_threads": "0",
        "port": "65536",
        "announce_fd": str(closed_fd),
        "log_format": "xml",
    }
    with pytest.raises(SettingsError) as told:
        from_environment(environ)
    lines = str(told.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == sorted(environ)
    assert f"there is no file {tmp_path}/handler.py" in str(told.value)


def test_every_variable_is_in_the_modules_table() -> None:
    from bridge.runtime import settings

    source = Path(settings.__file__).read_text()
    table = (settings.__doc__ or "").split("|---|---|---|")[1]
    named = set(re.findall(r'reader\.\w+\(\s*"(\w+)"', source))
    assert len(named) >= 18
    assert [name for name in sorted(named) if f"`{name}`" not in table] == []


@pytest.mark.parametrize(
    ("environ", "delay_s"),
    [({"healthcheck_interval": "3s"}, 3.0), ({"healthcheck_interval": "3s", "drain_delay": "1s"}, 1.0)],
)
def test_the_watchdogs_interval_of_health_checks_is_how_long_probes_get_to_notice(
    environ: dict[str, str], delay_s: float
) -> None:
    assert from_environment({"fprocess": "cat"} | environ).drain_delay_s == delay_s


def test_writing_debug_is_a_level_of_the_log() -> None:
    settings = from_environment({"fprocess": "cat", "write_debug": "true"})
    assert (settings.write_debug, settings.log_level) == (True, "debug")


def test_what_a_watchdog_does_and_we_do_not_is_kept_to_be_told() -> None:
    settings = from_environment({"fprocess": "cat", "prefix_logs": "true", "jwt_auth": "false", "mode": "http"})
    assert [name for name, _ in settings.ignored] == ["prefix_logs", "mode"]
