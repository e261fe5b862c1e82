"""One virtual Pi as a program of its own: its board, the control of its pins, and an agent that runs on it."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from typing import Self

from bridge.agent.agent import Agent
from bridge.agent.settings import AgentSettings
from bridge.clock import Clock
from bridge.mqtt.transport import Connector
from bridge.virtual.board import VirtualBoard
from bridge.virtual.control import Control
from bridge.virtual.folder import emptied, held


class VirtualNode:
    """An agent on a virtual board; a program (bridge.service.Program).

    What its board keeps stands in the state folder, of which it must be the only user. Raises BridgeError.

    Stops the agent first, then the control, so that nobody drives a pin that nobody watches without being told; the
    board last, because the agent's outputs hold its pins until then.
    """

    name = "agent"

    def __init__(self, settings: AgentSettings, *, clock: Clock, connect: Connector, control_port: int = 0) -> None:
        state = settings.state_dir
        taken = f"another virtual Pi works in {state}; stop it, or give this one another state_dir"
        with ExitStack() as made:
            made.enter_context(held(state / "virtual.lock", taken))
            self.board = VirtualBoard(settings, within=emptied(state / "virtual"))
            made.callback(self.board.close)
            self._made = made.pop_all()
        self.control = Control({settings.node: self.board}, control_port)
        self.agent = Agent(self.board.settings, clock=clock, connect=connect, board=self.board)
        self.health = self.agent.health
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.push(self._made)
            await stack.enter_async_context(self.control)
            await stack.enter_async_context(self.agent)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def failed(self) -> None:
        """Wait until the agent fails, and raise its error."""
        await self.agent.failed()
