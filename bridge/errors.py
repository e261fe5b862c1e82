"""The errors of gpio-bridge.

BridgeError                      everything below; catch it to catch them all
├── ConfigError (ValueError)     files written by people: every problem at once, each with file, line and key
├── TopicError (ValueError)      a string that is no topic or topic filter, or not one of ours
├── EventError (ValueError)      a payload that is not the event it claims to be
├── ConditionError (ValueError)  an expression that does not compile
├── ConditionFailed (ValueError) a compiled expression that could not be evaluated for one event
├── SensorError (OSError)        one reading of a sensor failed, or its device cannot be opened
├── TransportError (ConnectionError)  the broker refused us, or an operation needs a connection
├── BrokerError (RuntimeError)   the embedded broker could not be started
├── JournalError (OSError)       the journal cannot be opened, read or written
├── BrokenDecision (RuntimeError)  a decision of the ledger broke half-way: the dispatcher ends and begins anew
├── EngineError (RuntimeError)   the Docker Engine refused what was asked; `status` is its HTTP status
│   └── EngineUnavailable (ConnectionError)  it cannot be asked now
├── EngineDoorError (RuntimeError) the engine door cannot be opened
├── ClusterError (RuntimeError)  the cluster is not so that it can be done; the message says what to do
├── StackError (RuntimeError)    a stack cannot be deployed, or does not become well
├── ImageError (RuntimeError)    a function's image could not be built or pushed
│   └── BuildFailed              a step of its build failed; `output` is what the step wrote
├── FunctionError (RuntimeError) a function could not be deployed or started
│   ├── FunctionNotFound (LookupError)
│   └── FunctionUnavailable      known, but nothing can answer for it now
└── NotRunning (ConnectionError) a command asked a program that does not answer
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class BridgeError(Exception):
    """The root of every error that gpio-bridge raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a file: where it stands and what is wrong. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(BridgeError, ValueError):
    """A file written by people has mistakes; `problems` lists all of them in the order of the file.

    `document` is what could be understood of the file all the same, where it is only about single places: its contents
    can be checked too, so that everything is told at once.
    """

    def __init__(self, problems: Iterable[Problem], document: object = None) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        self.document = document
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TopicError(BridgeError, ValueError):
    """A string is not a valid MQTT topic or topic filter, or not one of ours."""


class EventError(BridgeError, ValueError):
    """A payload is not the event it claims to be."""


class ConditionError(BridgeError, ValueError):
    """A condition does not compile; the message shows where."""


class ConditionFailed(BridgeError, ValueError):
    """A condition could not be evaluated for an event: a key is missing, or a value has another type."""


class SensorError(BridgeError, OSError):
    """A sensor's device cannot be opened, or one reading of it failed."""


class TransportError(BridgeError, ConnectionError):
    """The broker refused us, or what was asked for needs a connection that is not there."""


class BrokerError(BridgeError, RuntimeError):
    """The embedded broker could not be started."""


class JournalError(BridgeError, OSError):
    """The journal cannot be opened, read or written."""


class BrokenDecision(BridgeError, RuntimeError):
    """A decision of the ledger broke half-way, so that the dispatcher must end; what broke it stands in the log."""


class EngineError(BridgeError, RuntimeError):
    """The Docker Engine refused what was asked of it; the message holds its own words."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class EngineUnavailable(EngineError, ConnectionError):
    """The Docker Engine does not answer, or its swarm has nobody to decide; what was asked may be asked again."""


class EngineDoorError(BridgeError, RuntimeError):
    """The engine door cannot be opened: its socket cannot be made, or there is no such user."""


class ClusterError(BridgeError, RuntimeError):
    """The cluster is not so that this can be done; the message says what to do."""


class StackError(BridgeError, RuntimeError):
    """A stack cannot be deployed, or does not become well; a line for each reason."""


class ImageError(BridgeError, RuntimeError):
    """The image of a function could not be built or pushed."""


class BuildFailed(ImageError):
    """A step of a build failed; `output` is what the failing step wrote."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


class FunctionError(BridgeError, RuntimeError):
    """A function could not be deployed or started."""


class FunctionNotFound(FunctionError, LookupError):
    """No function of this name is deployed."""


class FunctionUnavailable(FunctionError):
    """The function is known, but no replica of it can answer now."""


class NotRunning(BridgeError, ConnectionError):
    """A command asked a program that does not answer; the message says how to start it."""
