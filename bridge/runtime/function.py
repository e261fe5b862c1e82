"""What every kind of function is to the server, and how one fails."""

from typing import Protocol

from .exchange import Request, Response


class Function(Protocol):
    """Something that answers requests: a Python handler or a command."""

    async def __call__(self, request: Request) -> Response:
        """Answer one request. Cancelled when its time is over. Raises FunctionFailed, or what the code raises."""
        ...

    @property
    def overdue(self) -> int:
        """How many calls were given up but still occupy a thread."""
        ...

    def complaint(self) -> str | None:
        """Why no further call can succeed, or None."""
        ...

    def close(self) -> None:
        """Give back threads that are idle."""
        ...


class FunctionNotLoaded(ImportError):
    """The function can't be served at all; the text says why and what to do."""


class FunctionFailed(RuntimeError):
    """A call ended badly in a way that needs no traceback; the text goes to the log."""
