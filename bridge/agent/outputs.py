"""Outputs: LEDs, buzzers and relays that commands switch, and that fail safe.

An output is off at the start, off at the stop, and off after `max_on`, whoever forgot it: the limit is kept here and
needs no broker. `max_on` counts from the last command that was carried out, so a repeated command keeps it on.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import orjson

from bridge.agent.board import Board, explained
from bridge.agent.commands import BadCommand, Command, parse
from bridge.agent.metrics import Metrics
from bridge.agent.pins import Pin, Use
from bridge.clock import Clock, Timer
from bridge.config import Choice, Seconds
from bridge.core.event import rfc3339
from bridge.errors import SensorError

_log = logging.getLogger(__name__)

REMEMBERED_IDS = 256
"""A command's id is known for so many commands of its output."""

SWITCH_AGAIN_S = 1.0
"""How long after a failed attempt to switch off the next one is made."""

_MaxOn = Annotated[float, Seconds(0.01, 86400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPin:
    """What every output says of its pin."""

    pin: Pin
    active_low: bool = False
    """Whether 0 V switches it on, as with many relay modules."""

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        yield Use("pin", self.pin.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Led(OutputPin):
    """`kind: led`; `dimmable` takes values between 0 and 1."""

    KIND: ClassVar[str] = "led"

    dimmable: bool = False
    max_on_s: _MaxOn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Buzzer(OutputPin):
    """`kind: buzzer`, one that makes its tone by itself."""

    KIND: ClassVar[str] = "buzzer"

    max_on_s: _MaxOn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay(OutputPin):
    """`kind: relay`. How long it may stay on has to be said: nobody may be there to switch it off."""

    KIND: ClassVar[str] = "relay"

    max_on_s: _MaxOn


OutputSettings: TypeAlias = Annotated[Led | Buzzer | Relay, Choice("kind")]

Why: TypeAlias = Literal["start", "command", "for", "max_on", "stop", "fault"]


class Output:
    """One output at work. `changed` is told after every change of its state."""

    def __init__(
        self,
        name: str,
        settings: Led | Buzzer | Relay,
        *,
        board: Board,
        clock: Clock,
        metrics: Metrics,
        changed: Callable[[str], None],
    ) -> None:
        self.name = name
        self.settings = settings
        self.problem: str | None = None
        """Why the pin cannot be moved, or None."""
        self.value = 0.0
        self._board = board
        self._clock = clock
        self._metrics = metrics
        self._changed = changed
        self._device: Any = None
        self._dimmable = False
        self._timer: Timer | None = None
        self._since: datetime = clock.now()
        self._until: datetime | None = None
        self._why: Why = "start"
        self._command: str | None = None
        self._ids: deque[str] = deque(maxlen=REMEMBERED_IDS)

    def open(self) -> None:
        """Take the pin and switch it off. A pin that cannot be had is a `problem`, and tried again by each command."""
        try:
            self._device = self._opened()
        except SensorError as error:
            self.problem, self._why = str(error), "fault"
            _log.error("An output cannot be opened", extra={"op": "output", "output": self.name, "reason": str(error)})
        else:
            self.problem = None

    def receive(self, payload: bytes, *, retained: bool) -> None:
        """Carry out a command, or say in the log why not (PROTOCOL.md, rule 5)."""
        result, detail = self._judge(payload, retained=retained)
        self._metrics.commands.labels(self.name, result).inc()
        level = logging.INFO if result == "carried_out" else logging.WARNING
        _log.log(
            level, "A command came", extra={"op": "command", "output": self.name, "result": result, "detail": detail}
        )

    def document(self) -> bytes:
        """The retained state."""
        on: bool | float = self.value if self._dimmable else self.value > 0
        return orjson.dumps(
            {
                "version": 1,
                "value": on,
                "since": rfc3339(self._since),
                "until": None if self._until is None else rfc3339(self._until),
                "why": self._why,
                "command": self._command,
                "problem": self.problem,
                "time": rfc3339(self._clock.now()),
            }
        )

    def stop(self) -> None:
        """Switch off."""
        self._cancel()
        if self._device is None:
            return
        try:
            self._set(0.0, "stop", None)
        except SensorError as error:
            self._not_switched(error)

    def abandon(self) -> None:
        """Let go of the pin as it is."""
        self._cancel()
        self.close()

    def close(self) -> None:
        """Let go of the pin, which stays off."""
        if self._device is not None:
            self._device.close()
            self._device = None

    def _judge(self, payload: bytes, *, retained: bool) -> tuple[str, str]:
        if retained:
            return "retained", "a retained command is never carried out; publish it without retain"
        try:
            command = parse(payload)
        except BadCommand as error:
            return "malformed", f"the payload {error}"
        if command.id is not None and command.id in self._ids:
            return "repeated", command.id
        on = command.value == "toggle" or command.value > 0
        if command.expires_at is not None:
            if command.expires_at <= self._clock.now():
                return "expired", f"{command.id} was valid until {rfc3339(command.expires_at)}"
            if on and not self._clock.synchronized():
                # Before the first synchronisation the clock is behind, and everything old would seem valid.
                return "clock", f"{command.id} expires, and the clock is not synchronised yet"
        if self._device is None:
            self.open()
        if self._device is None:
            return "failed", self.problem or "the pin is not open"
        if command.id is not None:
            self._ids.append(command.id)
        return self._carry_out(command)

    def _carry_out(self, command: Command) -> tuple[str, str]:
        value = command.value
        if value == "toggle":
            value = 0.0 if self.value > 0 else 1.0
        self._cancel()
        try:
            self._set(value, "command", command.id)
        except SensorError as error:
            self.problem = str(error)
            return "failed", str(error)
        limits: list[tuple[float, Why]] = []
        if command.for_s is not None:
            limits.append((command.for_s, "for"))
        if self.settings.max_on_s is not None:
            limits.append((self.settings.max_on_s, "max_on"))
        if value > 0 and limits:
            delay_s, why = min(limits)
            self._until = self._clock.now() + timedelta(seconds=delay_s)
            self._timer = self._clock.call_at(self._clock.monotonic() + delay_s, lambda: self._end(why))
        self._changed(self.name)
        return "carried_out", command.id or ""

    def _end(self, why: Why) -> None:
        self._timer, self._until = None, None
        try:
            self._set(0.0, why, self._command)
        except SensorError as error:
            self._not_switched(error)
            self._timer = self._clock.call_at(self._clock.monotonic() + SWITCH_AGAIN_S, lambda: self._end(why))
        else:
            _log.info("An output was switched off", extra={"op": "output", "output": self.name, "why": why})
        self._changed(self.name)

    def _not_switched(self, error: SensorError) -> None:
        self.problem = str(error)
        _log.error(
            "An output could not be switched off", extra={"op": "output", "output": self.name, "reason": str(error)}
        )

    def _set(self, value: float, why: Why, command: str | None) -> None:
        with explained(f"switching {self.name} ({self.settings.pin.name})"):
            self._device.value = value if self._dimmable else value > 0
        if (value > 0) != (self.value > 0):
            self._since = self._clock.now()
        self.value, self._why, self._command, self.problem = value, why, command, None

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._until = None, None

    def _opened(self) -> Any:
        from gpiozero import OutputDevice, PinPWMUnsupported, PWMOutputDevice  # noqa: PLC0415 - only where pins are

        settings = self.settings
        arguments = {"active_high": not settings.active_low, "pin_factory": self._board.pin_factory}
        with explained(f"opening {settings.pin.name} as an output"):
            if isinstance(settings, Led) and settings.dimmable:
                with contextlib.suppress(PinPWMUnsupported):
                    device = PWMOutputDevice(settings.pin.bcm, initial_value=0, **arguments)
                    self._dimmable = True
                    return device
                _log.warning(
                    "A pin cannot be dimmed by this driver, only switched", extra={"op": "output", "output": self.name}
                )
            return OutputDevice(settings.pin.bcm, initial_value=False, **arguments)
