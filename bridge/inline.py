"""An executor that has no threads: the work is done at once, by who asks for it.

For programs on a virtual clock, which stands still while a thread works: with it, they do the same in the same order
every time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Inline(Executor):
    """Runs what it is given on the calling thread; a future from it is done when it is handed out."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call `fn` now."""
        done: Future[R] = Future()
        try:
            result = fn(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - handed to the caller, whatever it is
            done.set_exception(error)
        else:
            done.set_result(result)
        return done
