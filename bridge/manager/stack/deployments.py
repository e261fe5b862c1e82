"""The deployments and removals of stacks that the API was asked for: what each says while it goes on, and its end.

They are of this life of the manager. One that is under way when it stops is given up; what has been made by then stays,
and the next deployment of the same file goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from bridge.clock import Clock
from bridge.core.event import rfc3339
from bridge.errors import BridgeError

_log = logging.getLogger(__name__)

_LINES: Final = 1000
_STACKS: Final = 100
"""Of so many stacks the last deployment is remembered."""

What: TypeAlias = Literal["deploy", "remove"]
Tell: TypeAlias = Callable[[str, str], None]
Ended: TypeAlias = "Callable[[Deployment], None]"
Work: TypeAlias = Callable[[Tell], Awaitable[None]]


class UnderWay(BridgeError, RuntimeError):
    """Something else is being done with this stack."""


@dataclass(slots=True)
class Deployment:
    """One deployment or removal of a stack."""

    stack: str
    what: What
    who: str
    begun_at: str
    state: Literal["running", "succeeded", "failed"] = "running"
    ended_at: str | None = None
    lines: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=_LINES))
    errors: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "stack": self.stack,
            "what": self.what,
            "who": self.who,
            "state": self.state,
            "begun_at": self.begun_at,
            "ended_at": self.ended_at,
            "lines": list(self.lines),
            "errors": list(self.errors),
        }


class Deployments:
    """The last one of each stack; at most one of a stack goes on at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: OrderedDict[str, Deployment] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def last(self, stack: str) -> Deployment | None:
        """The one that goes on, or went on last."""
        return self._last.get(stack)

    def refuse_under_way(self, stack: str) -> None:
        """Raise UnderWay while one goes on."""
        if stack in self._tasks:
            what = self._last[stack].what
            raise UnderWay(f"{stack} is being {'deployed' if what == 'deploy' else 'removed'}; wait for the end of it")

    def begin(
        self,
        stack: str,
        what: What,
        who: str,
        work: Work,
        ended: Ended,
    ) -> Deployment:
        """Begin one; `ended` hears how it ended. Raises UnderWay."""
        self.refuse_under_way(stack)
        deployment = self._last[stack] = Deployment(stack, what, who, self._now())
        self._last.move_to_end(stack)
        for name in [name for name in self._last if name not in self._tasks and name != stack]:
            if len(self._last) <= _STACKS:
                break
            del self._last[name]
        self._tasks[stack] = asyncio.create_task(self._run(deployment, work, ended), name=f"{what} {stack}")
        return deployment

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            _log.warning("Given up, because the manager stops", extra={"op": "stack", "what": task.get_name()})
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, deployment: Deployment, work: Work, ended: Ended) -> None:
        def tell(part: str, text: str) -> None:
            deployment.lines.append({"at": self._now(), "part": part, "text": text})

        state: Literal["succeeded", "failed"] = "failed"
        try:
            await work(tell)
            state = "succeeded"
        except BridgeError as error:
            deployment.errors = tuple(str(error).splitlines())
        except Exception:  # noqa: BLE001 - the outermost place of this task; the traceback is logged
            _log.exception("deployment failed", extra={"op": "stack", "stack": deployment.stack})
            deployment.errors = ("the manager failed at it; its log has the reason",)
        finally:
            del self._tasks[deployment.stack]
        deployment.state = state
        deployment.ended_at = self._now()
        ended(deployment)

    def _now(self) -> str:
        return rfc3339(self._clock.now())
