"""Functions of the user's own, run in the process of the test: each handler.py with the environment that it would have.

In production every function is a process of its own. Here each gets, for as long as it is imported or called, its own
environment variables, its own folder on the path and its own modules; afterwards they are set aside, so that two
functions with a module of the same name do not meet.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from bridge.errors import FunctionNotFound, FunctionUnavailable
from bridge.inline import Inline
from bridge.openfaas.deployment import Deployment
from bridge.openfaas.stack_file import HANDLER_ANNOTATION
from bridge.runtime.app import App
from bridge.runtime.exchange import BrokenOff, Request, dispose
from bridge.runtime.function import FunctionNotLoaded
from bridge.runtime.handler import load
from bridge.runtime.settings import SettingsError, from_environment


class Handlers:
    """The functions of a stack file, loaded when one is first asked for. Secrets are put below `folder()`."""

    def __init__(self, stack: Mapping[str, Deployment], folder: Callable[[], Path]) -> None:
        self._stack = stack
        self._folder = folder
        self._alone = asyncio.Lock()

    def load(self, name: str, environment: Mapping[str, str], secrets: Mapping[str, str]) -> RealFunction:
        """The function of this name. Raises FunctionNotFound and FunctionUnavailable."""
        deployment = self._stack.get(name)
        if deployment is None:
            known = ", ".join(self._stack) or "no function"
            raise FunctionNotFound(f"there is no function {name} in the stack file; it has {known}")
        handler = (deployment.annotations or {}).get(HANDLER_ANNOTATION)
        if handler is None or deployment.env_process:
            raise FunctionUnavailable(
                f"{name} is a command, not a handler.py, and is not run in a test's process; say how it answers"
            )
        path = Path(handler)
        path = path if path.is_file() else path / "handler.py"
        given = set(deployment.secrets or ())
        folder = self._folder() / name
        for secret, value in secrets.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / secret).write_text(value, encoding="utf-8")
        missing = sorted(given - secrets.keys())
        if missing:
            raise FunctionUnavailable(f"{name} wants the secret {', '.join(missing)}; give it with runs(secrets=...)")
        variables = {
            **(deployment.env_vars or {}),
            "secret_path": str(folder),
            "function_name": name,
            "function_handler": str(path),
            **environment,
        }
        return RealFunction(name, path, variables, self._alone)


class RealFunction:
    """One handler; carries out `bridge.testing.functions.Runs`. `alone`: one of them is at home at a time."""

    def __init__(self, name: str, path: Path, environment: Mapping[str, str], alone: asyncio.Lock) -> None:
        self._environment = environment
        self._folder = path.parent.resolve()
        self._inside = f"{self._folder}{os.sep}"
        self._alone = alone
        self._modules: dict[str, ModuleType] = {}
        try:
            settings = from_environment(environment)
            with self._at_home():
                function = load(
                    path,
                    signature=settings.signature,
                    raw_body=settings.raw_body,
                    max_threads=settings.max_threads,
                    threads=Inline(),
                )
        except (SettingsError, FunctionNotLoaded) as error:
            raise FunctionUnavailable(f"{name} cannot be loaded: {error}") from error
        except Exception as error:
            raise FunctionUnavailable(
                f"{name} cannot be loaded: importing {path} failed: {type(error).__name__}: {error}"
            ) from error
        self._app = App(function, exec_timeout_s=settings.exec_timeout_s, max_inflight=settings.max_inflight)

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        request = Request("POST", "/", "/", "", tuple((key.lower(), value) for key, value in headers.items()), body)
        async with self._alone:
            return await self._answer(request)

    async def _answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        with self._at_home():
            response = await self._app(request)
            body = response.body
            if isinstance(body, bytes):
                return response.status, dict(response.headers), body
            try:
                return response.status, dict(response.headers), b"".join([piece async for piece in body])
            except BrokenOff:
                # A gateway tells its caller so: what it has of the answer is not the whole of it.
                return 502, {}, b"the function's answer broke off\n"
            finally:
                await dispose(response)

    @contextmanager
    def _at_home(self) -> Iterator[None]:
        """With this function's environment, path and modules."""
        variables, path, others = dict(os.environ), list(sys.path), dict(self._of_functions())
        for name in others:
            del sys.modules[name]
        sys.modules.update(self._modules)
        os.environ.update(self._environment)
        sys.path.insert(0, str(self._folder))
        try:
            yield
        finally:
            self._modules = dict(self._of_functions())
            for name in self._modules:
                del sys.modules[name]
            sys.modules.update(others)
            sys.path[:] = path
            os.environ.clear()
            os.environ.update(variables)

    def _of_functions(self) -> Iterator[tuple[str, ModuleType]]:
        """Modules that belong to a function: the package `function`, and what stands in this one's folder."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name.split(".")[0] == "function" or (isinstance(file, str) and file.startswith(self._inside)):
                yield name, module
