"""The faults: how each begins and ends. What they strike stands in their names.

Two faults of one target are never mixed: nobody can be killed who is dead.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.system.chaos.stage import Stage
from tests.system.processes import Program

Act = Callable[[Stage], None]
BURST = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """`hold_s` where the fault itself says how long it lasts."""

    name: str
    target: str
    begin: Act
    end: Act
    hold_s: float | None = None

    def hold(self, otherwise_s: float) -> float:
        return otherwise_s if self.hold_s is None else self.hold_s


def _nothing(_: Stage) -> None:
    """A fault that is over when it has begun."""


def _program(stage: Stage, name: str) -> Program:
    site = stage.site
    return {"agent": site.agent, "dispatcher": site.dispatcher, "gateway": site.gateway}[name]


def _end_program(name: str, number: signal.Signals, stage: Stage) -> None:
    program = _program(stage, name)
    code = program.end(number)
    assert number == signal.SIGKILL or code == 0, (
        f"the {name} left with {code} after {number.name}\n{program.last_words()}"
    )


def _start_program(name: str, stage: Stage) -> None:
    stage.restart(_program(stage, name))


def _pause(name: str, stage: Stage) -> None:
    _program(stage, name).pause()


def _resume(name: str, stage: Stage) -> None:
    _program(stage, name).resume()


def _disk(name: str, full: bool, stage: Stage) -> None:
    program = _program(stage, name)
    if program.running:
        program.disk_full(full=full)


def _end_broker(how: str, stage: Stage) -> None:
    if how == "term":
        stage.broker.stop()
    else:
        stage.broker.kill()
    if how == "wipe":
        stage.broker.wipe()


def _start_broker(stage: Stage) -> None:
    stage.broker.start()


def _order(answer: str, stage: Stage, **more: float) -> None:
    stage.site.gateway.order(answer, "seen", **more)


def _remove(stage: Stage) -> None:
    done = stage.site.command("functions", "remove", "seen", "--gateway", stage.site.gateway.url)
    assert done.returncode == 0, done.stderr


def _deploy(stage: Stage) -> None:
    site = stage.site
    done = site.command("functions", "deploy", "seen", "--file", str(site.gateway.stack), "--gateway", site.gateway.url)
    assert done.returncode == 0, done.stderr


def _nobody_listens(stage: Stage) -> None:
    """The broker knows no dispatcher: nobody has ever subscribed."""
    stage.site.dispatcher.kill()
    stage.broker.kill()
    stage.broker.wipe()
    stage.broker.start()


def _forgotten(stage: Stage) -> None:
    """The broker forgets everything, and the dispatcher comes back later than the agents."""
    stage.network.cut("dispatcher-broker", silent=False)
    stage.broker.kill()
    stage.broker.wipe()
    stage.broker.start()


def _rules(publish: bool, stage: Stage) -> None:
    stage.allow(publish=publish)
    stage.reread_rules()


def _faults() -> Iterator[Fault]:
    for name in ("agent", "dispatcher", "gateway"):
        begin = partial(_end_program, name)
        start = partial(_start_program, name)
        yield Fault(f"{name} killed", name, partial(begin, signal.SIGKILL), start)
        yield Fault(f"{name} stopped", name, partial(begin, signal.SIGTERM), start)
        yield Fault(f"{name} frozen", name, partial(_pause, name), partial(_resume, name))
    yield Fault("broker killed", "broker", partial(_end_broker, "kill"), _start_broker)
    yield Fault("broker stopped", "broker", partial(_end_broker, "term"), _start_broker)
    yield Fault("broker wiped", "broker", partial(_end_broker, "wipe"), _start_broker)
    yield Fault("broker frozen", "broker", lambda stage: stage.broker.pause(), lambda stage: stage.broker.resume())
    yield Fault("broker refuses", "broker", partial(_rules, False), partial(_rules, True))
    yield Fault("no subscriber yet", "dispatcher broker", _nobody_listens, partial(_start_program, "dispatcher"))
    yield Fault(
        "broker wiped, dispatcher late",
        "broker dispatcher-broker",
        _forgotten,
        lambda stage: stage.network.mend("dispatcher-broker"),
    )
    for cable in ("agent-broker", "dispatcher-broker", "dispatcher-gateway"):
        for silent, word in ((False, "cut"), (True, "silent")):
            yield Fault(
                f"{cable} {word}",
                cable,
                lambda stage, cable=cable, silent=silent: stage.network.cut(cable, silent=silent),  # type: ignore[misc]
                lambda stage, cable=cable: stage.network.mend(cable),  # type: ignore[misc] # mypy infers no defaults
            )
    for answer in ("500", "crash", "garbage", "half"):
        yield Fault(f"function {answer}", "function", partial(_order, answer), partial(_order, "ok"))
    yield Fault("function 429", "function", partial(_order, "429", retry_after_s=1), partial(_order, "ok"))
    yield Fault("function hangs", "function", partial(_order, "hang", hang_s=3.0), partial(_order, "ok"))
    yield Fault("function removed", "function gateway", _remove, _deploy)
    yield Fault("function slow", "function", partial(_order, "ok", pause_s=0.1), partial(_order, "ok"))
    yield Fault("function refuses some", "function", partial(_order, "400", every=3), partial(_order, "ok"))
    yield Fault("burst", "agent", lambda stage: stage.burst(BURST), _nothing, hold_s=0.0)
    for name in ("agent", "dispatcher"):
        yield Fault(f"{name} disk full", name, partial(_disk, name, True), partial(_disk, name, False))


FAULTS = {fault.name: fault for fault in _faults()}


def compatible(faults: list[Fault]) -> bool:
    """Whether no two of them strike the same thing."""
    targets = [target for fault in faults for target in fault.target.split()]
    return len(targets) == len(set(targets))
