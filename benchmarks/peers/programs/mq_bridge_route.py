"""Runs the one route of a configuration file with mq-bridge until SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from mq_bridge import Route, init_logging


def main(config: str) -> None:
    """Start, wait, stop."""
    logging.basicConfig(level=logging.WARNING)
    init_logging("warn")
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    route = Route.from_file(config)
    route.start()
    over.wait()
    route.stop()
    route.join()


if __name__ == "__main__":
    main(sys.argv[1])
