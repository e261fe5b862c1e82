"""`python -m bridge.runtime` (or `python -m runtime` where only this folder was copied): serve one function.

Settings come from the environment, see `settings.py`. Exit codes: 0 drained after SIGTERM or SIGINT, 1 calls were cut
off (drain_timeout was over, or a second signal came), 2 the settings are wrong, 3 the function can't be loaded, 4 the
port can't be had.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import traceback

from . import command, handler, logs
from .app import App
from .function import Function, FunctionNotLoaded
from .http import Server
from .settings import Settings, SettingsError, from_environment

_log = logging.getLogger(__name__)

DRAINED, CUT_OFF, BAD_SETTINGS, NOT_LOADED, NO_PORT = range(5)


def main() -> int:
    """Serve until told to stop; the exit code."""
    try:
        settings = from_environment(os.environ)
    except SettingsError as problem:
        sys.stderr.write(f"The function server can't start:\n{problem}\n")
        return BAD_SETTINGS
    # Function logs are read live; a pipe would make stdout keep back 8 KiB.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # replaced only by tests, never in this program
    logs.configure(settings.log_format, settings.log_level)
    for name, reason in settings.ignored:
        _log.warning("A setting is not supported", extra={"op": "start", "setting": name, "reason": reason})
    try:
        function = _load(settings)
    except FunctionNotLoaded as problem:
        sys.stderr.write(f"The function can't be loaded: {problem}\n")
        return NOT_LOADED
    except BaseException:  # noqa: BLE001 - the outermost place; importing somebody's code may raise anything, SystemExit too
        traceback.print_exc()
        sys.stderr.write(f"The function can't be loaded: importing {settings.handler} failed as shown above\n")
        return NOT_LOADED
    code = asyncio.run(_serve(settings, function))
    sys.stdout.flush()
    sys.stderr.flush()
    if code == CUT_OFF or function.overdue:
        # The interpreter would wait for threads that hang; whoever stops us has been told how long we may take.
        os._exit(code)
    return code


def _load(settings: Settings) -> Function:
    if settings.handler is not None:
        if settings.fprocess:
            _log.warning("Both function_handler and fprocess are set; fprocess is ignored", extra={"op": "start"})
        return handler.load(
            settings.handler,
            signature=settings.signature,
            raw_body=settings.raw_body,
            max_threads=settings.max_threads,
        )
    return command.CommandFunction(
        settings.fprocess,
        os.environ,
        max_response_bytes=settings.max_response_bytes,
        content_type=settings.content_type,
        combine_output=settings.combine_output,
        write_debug=settings.write_debug,
    )


async def _serve(settings: Settings, function: Function) -> int:
    loop = asyncio.get_running_loop()
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        # The first signal asks, the second insists.
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    app = App(function, exec_timeout_s=settings.exec_timeout_s, max_inflight=settings.max_inflight)
    server = Server(
        app,
        settings.bind_address,
        settings.port,
        max_body_bytes=settings.max_request_bytes,
        read_timeout_s=settings.read_timeout_s,
        write_timeout_s=settings.write_timeout_s,
    )
    try:
        await server.start()
    except OSError as problem:
        sys.stderr.write(
            f"Can't listen on {settings.bind_address}, port {settings.port}: {problem}; choose another port\n"
        )
        return NO_PORT
    _log.info("Listening", extra={"op": "start", "address": settings.bind_address, "port": server.port})
    if settings.announce_fd is not None:
        _announce(settings.announce_fd, server.port)
    if settings.lifeline_fd is not None:
        _hold(loop, settings.lifeline_fd, stop)
    await stop.wait()
    return await _drain(settings, app, server, function, hurry)


async def _drain(settings: Settings, app: App, server: Server, function: Function, hurry: asyncio.Event) -> int:
    """Stop in order: probes say no, balancers get time to notice, the door closes, calls finish, threads end."""
    _log.info("Draining", extra={"op": "stop", "connections": server.connections})
    app.draining = True
    hurried = asyncio.create_task(hurry.wait(), name="second-signal")
    draining = asyncio.create_task(_stopped(settings, server), name="drain")
    await asyncio.wait((hurried, draining), return_when=asyncio.FIRST_COMPLETED)
    if draining.done():
        finished = draining.result()
    else:
        draining.cancel()
        await asyncio.wait((draining,))
        finished = await server.stop(0.0)
    hurried.cancel()
    function.close()
    _log.info("Stopped", extra={"op": "stop", "finished": finished})
    return DRAINED if finished else CUT_OFF


async def _stopped(settings: Settings, server: Server) -> bool:
    server.retire()
    await asyncio.sleep(settings.drain_delay_s)
    return await server.stop(settings.drain_timeout_s)


def _announce(descriptor: int, port: int) -> None:
    """Tell whoever started us where we listen; the descriptor is closed after it."""
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps({"port": port}).encode() + b"\n")
    except OSError as problem:
        _log.warning("The port could not be announced", extra={"op": "start", "problem": str(problem)})


def _hold(loop: asyncio.AbstractEventLoop, descriptor: int, stop: asyncio.Event) -> None:
    """Stop when the other end of the descriptor closes, which it does however its owner died."""
    os.set_inheritable(descriptor, False)
    os.set_blocking(descriptor, False)

    def readable() -> None:
        if not os.read(descriptor, 64):
            loop.remove_reader(descriptor)
            _log.warning("Whoever started this process is gone", extra={"op": "stop"})
            stop.set()

    loop.add_reader(descriptor, readable)


if __name__ == "__main__":
    raise SystemExit(main())
