"""The commands of `gpio-bridge`. What a command needs is imported when it runs, so that each starts quickly."""

from __future__ import annotations

import errno
import sys
from io import TextIOWrapper

from bridge.cli import exit_codes
from bridge.errors import BridgeError, ConfigError, EngineUnavailable, NotRunning

EXTRAS = {
    "agent": ("gpiozero", "lgpio", "spidev"),
    "server": (
        "aiohappyeyeballs", "aiohttp", "cel", "docker", "fastapi", "httpx", "rich", "ruamel", "tzdata", "uvicorn",
        "watchfiles", "websockets", "yarl",
    ),
    "laptop": ("iotcore",),
}  # fmt: skip
"""What each extra brings, by the names that are imported: not every installation has all of them."""


_OF_THE_MACHINE = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EPIPE}
)
"""What a machine refuses at any place: no traceback of ours says more about it."""


def main() -> None:
    """Run the command line and leave with one of the documented exit codes."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        # A terminal that has no letter for a name or an arrow shows its number; an error would end a running `up`.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """The exit code of one command line; messages for people go to stderr."""
    from bridge.cli import lean

    try:
        program = lean.program(arguments)
        if program is not None:
            return program()
        from bridge.cli.app import tree

        tree()(arguments, prog_name="gpio-bridge")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else exit_codes.FAILED
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return exit_codes.CONFIG
    except (NotRunning, EngineUnavailable) as error:
        print(f"gpio-bridge: {error}", file=sys.stderr)
        return exit_codes.UNAVAILABLE
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        if extra is None:
            raise
        print(
            f"gpio-bridge: this needs {error.name}, which is not installed here;"
            f" install it with: pip install 'gpio-bridge[{extra}]'",
            file=sys.stderr,
        )
        return exit_codes.UNAVAILABLE
    except BridgeError as error:
        print(f"gpio-bridge: {error}", file=sys.stderr)
        return exit_codes.FAILED
    except OSError as error:
        if error.errno not in _OF_THE_MACHINE:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"gpio-bridge: {error.strerror}{where}", file=sys.stderr)
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    return exit_codes.OK
