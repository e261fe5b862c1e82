"""Functions written in Python: loading a `handler.py` and calling its `handle`."""

import asyncio
import contextvars
import importlib
import importlib.machinery
import importlib.util
import inspect
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from . import answers
from .event import Context, event_of
from .exchange import Request, Response
from .function import FunctionFailed, FunctionNotLoaded

_END = object()
_PACKAGE = "function"  # the name OpenFaaS' templates give the folder, so that their imports work here too


class PythonFunction:
    """A `handle`: awaited on the loop when it is `async def`, else run in a thread, and so is each step of a generator.

    A thread can't be stopped. A call that is given up keeps its thread until it returns by itself; when all threads are
    kept like that, `complaint` says so and the process should be replaced.
    """

    def __init__(
        self,
        handle: Callable[..., Any],
        *,
        signature: str,
        raw_body: bool,
        max_threads: int,
        threads: Executor | None = None,
    ) -> None:
        self._handle = handle
        self._with_event = signature == "python3-http"
        self._raw_body = raw_body
        self._context = Context(socket.gethostname())
        self._async = inspect.iscoroutinefunction(handle)
        self._max_threads = max_threads
        self._threads = threads or ThreadPoolExecutor(max_threads, thread_name_prefix="handler")
        self._given_up: set[Future[Any]] = set()

    async def __call__(self, request: Request) -> Response:
        """Call the handler and turn what it returns into a response."""
        arguments: tuple[object, ...]
        if self._with_event:
            arguments = (event_of(request), self._context)
        else:
            arguments = (request.body if self._raw_body else request.body.decode("utf-8", "replace"),)
        result = await (self._awaited(arguments) if self._async else self._in_thread(self._handle, *arguments))
        answer = answers.of_event_handler if self._with_event else answers.of_request_handler
        return answer(result, request, self._stepped)

    @property
    def overdue(self) -> int:
        """Threads that still run a call which was given up."""
        if self._given_up:
            self._given_up = {call for call in self._given_up if not call.done()}
        return len(self._given_up)

    def complaint(self) -> str | None:
        """All threads hang: nothing can run any more."""
        if self.overdue >= self._max_threads:
            return f"all {self._max_threads} threads hang in calls that were given up after exec_timeout"
        return None

    def close(self) -> None:
        """Let idle threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _awaited(self, arguments: tuple[object, ...]) -> object:
        try:
            return await self._handle(*arguments)
        except SystemExit as end:
            raise FunctionFailed(f"the handler called sys.exit({end.code!r}); return an answer instead") from end

    def _stepped(self, source: Iterator[object]) -> AsyncIterator[object]:
        return _Steps(source, self._in_thread)

    async def _in_thread(self, work: Callable[..., object], *arguments: object) -> object:
        call = self._threads.submit(contextvars.copy_context().run, self._called, work, arguments)
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            if not call.cancel() and not call.done():
                self._given_up.add(call)
            raise

    def _called(self, work: Callable[..., object], arguments: tuple[object, ...]) -> object:
        try:
            return work(*arguments)
        except SystemExit as end:
            # It would end the whole server, with everybody else's calls.
            raise FunctionFailed(f"the handler called sys.exit({end.code!r}); return an answer instead") from end
        except StopIteration as end:
            # asyncio can't carry this one across threads; the caller would wait for ever.
            raise FunctionFailed("the handler raised StopIteration; give next() a default") from end


class _Steps(AsyncIterator[object]):
    """A plain generator, each of its steps in a thread."""

    def __init__(self, source: Iterator[object], in_thread: Callable[..., Awaitable[object]]) -> None:
        self._source = source
        self._in_thread = in_thread
        # A step that was given up runs on. A generator cannot be closed meanwhile, so whoever comes last closes it.
        self._lock = threading.Lock()
        self._stepping = False
        self._over = threading.Event()

    async def __anext__(self) -> object:
        piece = await self._in_thread(self._step)
        if piece is _END:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        with self._lock:
            self._over.set()
            stepping = self._stepping
        if not stepping:
            await self._in_thread(self._close)

    def _step(self) -> object:
        with self._lock:
            if self._over.is_set():
                return _END
            self._stepping = True
        try:
            return next(self._source, _END)
        finally:
            with self._lock:
                self._stepping = False
                over = self._over.is_set()
            if over:
                self._close()

    def _close(self) -> None:
        close = getattr(self._source, "close", None)
        if close is not None:
            close()


def load(
    path: Path, *, signature: str, raw_body: bool, max_threads: int, threads: Executor | None = None
) -> PythonFunction:
    """Import a `handler.py` and take its `handle`; calls run on `threads`, where they are given.

    Its folder goes on `sys.path` and is the package `function`, so that sibling modules import either way. Raises
    FunctionNotLoaded when there is no usable `handle`; what the import itself raises passes through.
    """
    folder = path.parent
    sys.path.insert(0, str(folder))
    _package(folder)
    module = _module(f"{_PACKAGE}.{path.stem}", path)
    handle = getattr(module, "handle", None)
    if not callable(handle):
        raise FunctionNotLoaded(f"{path} defines no function `handle`; write `def handle(event, context):` in it")
    return PythonFunction(
        handle,
        signature=_signature(handle, signature, path),
        raw_body=raw_body,
        max_threads=max_threads,
        threads=threads,
    )


def _package(folder: Path) -> None:
    """Make the folder the package `function`, running its `__init__.py` where there is one."""
    initial = folder / "__init__.py"
    if initial.is_file():
        _module(_PACKAGE, initial, search=[str(folder)])
    else:
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(folder)]
        package.__spec__ = importlib.machinery.ModuleSpec(_PACKAGE, None, is_package=True)
        package.__spec__.submodule_search_locations = [str(folder)]
        sys.modules[_PACKAGE] = package


def _module(name: str, path: Path, search: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise FunctionNotLoaded(f"{path} is no Python file; name it handler.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _signature(handle: Callable[..., Any], wanted: str, path: Path) -> str:
    """The signature that was set, or found by counting; either way one that `handle` can be called with."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(handle)
    if wanted == "auto":
        required = [p for p in signature.parameters.values() if p.kind in kinds and p.default is p.empty]
        rest = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
        wanted = "python3-http" if len(required) == 2 or (rest and not required) else "python3"
    try:
        signature.bind(*(("event", "context") if wanted == "python3-http" else ("req",)))
    except TypeError as problem:
        raise FunctionNotLoaded(
            f"handle{signature} in {path} can't be called as {wanted} ({problem});"
            " write `def handle(event, context):` for python3-http or `def handle(req):` for the others"
        ) from None
    return wanted
