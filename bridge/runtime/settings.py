"""The function server's settings, read from the environment under the names OpenFaaS' watchdog gave them.

| variable | default | meaning |
|---|---|---|
| `function_handler` | | `handler.py`, or the folder it is in; wins over `fprocess` |
| `fprocess` | | classic mode: a command; the body goes to its stdin, its stdout is the answer |
| `function_signature` | `auto` | `python3-http`, `python3-flask`, `python3`, or by the number of parameters |
| `RAW_BODY` | `false` | a one-parameter handler gets bytes instead of text |
| `content_type` | | type of a classic answer; else the request's, else text |
| `combine_output` | `false` | what a classic command writes to stderr is part of the answer instead of the log |
| `exec_timeout` | `10s` | one call; `0` for none |
| `read_timeout`, `write_timeout` | `10s` | receiving a request; a client that takes nothing of its answer |
| `max_inflight` | `0` | calls at a time, 429 beyond; `0` for no limit |
| `max_threads` | `max_inflight` or 32 | threads for handlers that aren't `async def` |
| `max_request_bytes`, `max_response_bytes` | 32 MiB | largest body; largest classic answer |
| `drain_timeout` | `10s` | after SIGTERM, for calls in flight |
| `drain_delay` | `healthcheck_interval` or `0s` | after SIGTERM, serve on with health at 503 till balancers turn away |
| `port`, `bind_address` | `8080`, all | port `0` takes a free one |
| `announce_fd` | | once ready, a line `{"port": N}` is written to this descriptor |
| `lifeline_fd` | | drains and exits when this descriptor reaches its end: whoever started us is gone |
| `log_format`, `log_level` | by terminal, `info` | `text` or `json`; `debug` also logs each call |
| `write_debug` | `false` | the level `debug`, and what a classic command answers is logged too |

What a watchdog does and this server does not is told in the log when it is set, see `_UNSUPPORTED`.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SIGNATURES = ("auto", "python3-http", "python3-flask", "python3")
_DEFAULT_BODY_BYTES = 32 * 1024 * 1024
_DEFAULT_THREADS = 32
_UNSUPPORTED = {
    "prefix_logs": "lines that a function writes are logged as they are; this server's own lines have a time",
    "mode": "a handler is called in this process, fprocess once for each call",
    "upstream_url": "calls are not passed on to another server",
    "http_upstream_url": "calls are not passed on to another server",
    "static_path": "files are not served",
    "jwt_auth": "calls are not authenticated here; let the gateway be the only one who reaches this port",
}
_OFF = ("false", "0", "no", "off")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class SettingsError(ValueError):
    """The environment can't be used; the text lists every problem."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment asks for. Times in seconds; None for no limit."""

    handler: Path | None = None
    fprocess: tuple[str, ...] = ()
    signature: str = "auto"
    raw_body: bool = False
    content_type: str | None = None
    exec_timeout_s: float | None = 10.0
    read_timeout_s: float = 10.0
    write_timeout_s: float = 10.0
    max_inflight: int = 0
    max_threads: int = _DEFAULT_THREADS
    max_request_bytes: int = _DEFAULT_BODY_BYTES
    max_response_bytes: int = _DEFAULT_BODY_BYTES
    drain_timeout_s: float = 10.0
    drain_delay_s: float = 0.0
    port: int = 8080
    bind_address: str = "0.0.0.0"  # noqa: S104 - a container must be reachable; whoever starts a local process narrows it
    announce_fd: int | None = None
    lifeline_fd: int | None = None
    log_format: str = "auto"
    log_level: str = "info"
    combine_output: bool = False
    write_debug: bool = False
    ignored: tuple[tuple[str, str], ...] = ()
    """What is set and not supported, each with the reason."""


def duration_s(text: str) -> float:
    """Seconds of a duration as Go writes it (`1m30s`, `500ms`) or of a bare number. Raises ValueError."""
    if text.isascii() and text.isdigit():
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is no duration; write for example 500ms, 10s or 1m30s")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def from_environment(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; an empty variable counts as unset. Raises SettingsError with all problems at once."""
    reader = _Reader(environ)
    default = Settings()
    inflight = reader.number("max_inflight", default.max_inflight, 0)
    exec_timeout_s = reader.duration("exec_timeout", default.exec_timeout_s or 0.0)
    write_debug = reader.choice("write_debug", ("false", "true")) == "true"
    log_level = reader.choice("log_level", ("info", "debug", "warning", "error"))
    settings = Settings(
        handler=reader.handler("function_handler"),
        fprocess=reader.command("fprocess"),
        signature=reader.signature("function_signature"),
        raw_body=reader.choice("RAW_BODY", ("false", "true")) == "true",
        content_type=reader.get("content_type"),
        exec_timeout_s=exec_timeout_s or None,
        read_timeout_s=reader.duration("read_timeout", default.read_timeout_s, above_zero=True),
        write_timeout_s=reader.duration("write_timeout", default.write_timeout_s, above_zero=True),
        max_inflight=inflight,
        max_threads=reader.number("max_threads", inflight or _DEFAULT_THREADS, 1),
        max_request_bytes=reader.number("max_request_bytes", default.max_request_bytes, 0),
        max_response_bytes=reader.number("max_response_bytes", default.max_response_bytes, 0),
        drain_timeout_s=reader.duration("drain_timeout", default.drain_timeout_s),
        drain_delay_s=reader.duration("drain_delay", reader.duration("healthcheck_interval", default.drain_delay_s)),
        port=reader.number("port", default.port, 0, 65535),
        bind_address=reader.get("bind_address") or default.bind_address,
        announce_fd=reader.descriptor("announce_fd"),
        lifeline_fd=reader.descriptor("lifeline_fd"),
        log_format=reader.choice("log_format", ("auto", "text", "json")),
        log_level="debug" if write_debug else log_level,
        combine_output=reader.choice("combine_output", ("false", "true")) == "true",
        write_debug=write_debug,
        ignored=reader.ignored(),
    )
    if settings.handler is None and not settings.fprocess and not reader.problems:
        reader.problems.append("nothing to serve: set function_handler to a handler.py, or fprocess to a command")
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return settings


class _Reader:
    """Reads variables one by one and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def get(self, name: str) -> str | None:
        return self._environ.get(name, "").strip() or None

    def ignored(self) -> tuple[tuple[str, str], ...]:
        return tuple(
            (name, reason) for name, reason in _UNSUPPORTED.items() if (self.get(name) or "false").lower() not in _OFF
        )

    def duration(self, name: str, default_s: float, *, above_zero: bool = False) -> float:
        found = self.get(name)
        if found is None:
            return default_s
        try:
            seconds = duration_s(found)
        except ValueError as problem:
            self.problems.append(f"{name}: {problem}")
            return default_s
        if above_zero and not seconds:
            self.problems.append(f"{name}: must be more than 0")
        return seconds

    def number(self, name: str, default: int, least: int, most: int | None = None) -> int:
        found = self.get(name)
        if found is None:
            return default
        if not (found.isascii() and found.isdigit()) or int(found) < least or (most is not None and int(found) > most):
            upper = "" if most is None else f" and at most {most}"
            self.problems.append(f"{name}: {found!r} is no whole number of at least {least}{upper}")
            return default
        return int(found)

    def descriptor(self, name: str) -> int | None:
        number = self.number(name, -1, 0)
        if number < 0:
            return None
        try:
            os.fstat(number)
        except OSError:
            self.problems.append(
                f"{name}: {number} is no open file descriptor; pass it on to this process when starting it"
            )
        return number

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        found = (self.get(name) or known[0]).lower()
        if found not in known:
            self.problems.append(f"{name}: {found!r} is unknown; choose one of {', '.join(known)}")
            return known[0]
        return found

    def signature(self, name: str) -> str:
        found = self.get(name)
        if found is not None and found.startswith("python3-"):
            # Templates come in variants for other base images (python3-http-debian); the signature is the same.
            found = "-".join(found.split("-")[:2])
        if found is None or found in SIGNATURES:
            return found or "auto"
        self.problems.append(f"{name}: {found!r} is unknown; choose one of {', '.join(SIGNATURES)}")
        return "auto"

    def handler(self, name: str) -> Path | None:
        found = self.get(name)
        if found is None:
            return None
        path = Path(found)
        if path.is_dir():
            path /= "handler.py"
        if not path.is_file():
            self.problems.append(f"{name}: there is no file {path}; point it at a handler.py or its folder")
        return path.absolute()

    def command(self, name: str) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(self.get(name) or ""))
        except ValueError as problem:
            self.problems.append(f"{name}: can't be split into words ({problem}); check its quotes")
            return ()
