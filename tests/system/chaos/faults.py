"""The faults: how each begins and ends. What they strike stands in their names.

Two faults of one target are never mixed: nobody can be killed who is dead.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tests.damage import damage, set_aside
from tests.system.chaos import clocks, disks
from tests.system.chaos.clocks import DAY_S
from tests.system.chaos.stage import Stage
from tests.system.processes import until

Act = Callable[[Stage], None]
Need = Literal["clocks", "disks", "pair"]
BURST = 1_000
BIG_BURST = 20_000
FAILED = 1
"""The exit code of a program that could not start (bridge/cli/exit_codes.py)."""
_WITHOUT_PROVIDER = (
    (404, "error finding function seen.openfaas-fn"),
    (500, "unable to reach the provider"),
    (503, "no endpoints available for seen"),
)
"""What gateways say while what runs their functions is away; which, depends on their age."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`hold_s` where the fault itself says how long it lasts; `shortest_s` what it needs at least.

    A `long` one is only carried out when it is asked for by its name.
    """

    name: str
    target: str
    begin: Act
    end: Act
    hold_s: float | None = None
    shortest_s: float = 0.0
    needs: Need | None = None
    long: bool = False
    disk_lost: bool = False

    def hold(self, otherwise_s: float) -> float:
        return max(otherwise_s, self.shortest_s) if self.hold_s is None else self.hold_s


def why_not(fault: Fault, *, pair: bool = False) -> str | None:
    """Why a fault cannot be carried out on this machine; None when it can."""
    match fault.needs:
        case "clocks":
            return clocks.why_not()
        case "disks":
            return disks.why_not()
        case "pair":
            return None if pair else "there is one dispatcher; --pair starts two"
        case None:
            return None


def _nothing(_: Stage) -> None:
    """A fault that is over when it has begun."""


# Programs.


def _end_program(name: str, number: signal.Signals, stage: Stage) -> None:
    program = stage.program(name)
    code = program.end(number)
    assert number == signal.SIGKILL or code == 0, (
        f"the {name} left with {code} after {number.name}\n{program.last_words()}"
    )


def _start_program(name: str, stage: Stage) -> None:
    stage.restart(stage.program(name))


def _pause(name: str, stage: Stage) -> None:
    stage.program(name).pause()


def _resume(name: str, stage: Stage) -> None:
    stage.program(name).resume()


def _programs(*names: str, needs: Need | None = None) -> Iterator[Fault]:
    for name in names:
        begin = partial(_end_program, name)
        start = partial(_start_program, name)
        yield Fault(f"{name} killed", name, partial(begin, signal.SIGKILL), start, needs=needs)
        yield Fault(f"{name} stopped", name, partial(begin, signal.SIGTERM), start, needs=needs)
        yield Fault(f"{name} frozen", name, partial(_pause, name), partial(_resume, name), needs=needs)


# The broker.


def _end_broker(how: str, stage: Stage) -> None:
    if how == "term":
        stage.broker.stop()
    else:
        stage.broker.kill()
    if how == "wipe":
        stage.broker.wipe()


def _start_broker(stage: Stage) -> None:
    stage.broker.start()


def _nobody_listens(stage: Stage) -> None:
    """The broker knows no dispatcher: nobody has ever subscribed."""
    for dispatcher in stage.site.dispatchers:
        dispatcher.kill()
    stage.broker.kill()
    stage.broker.wipe()
    stage.broker.start()


def _somebody_listens(stage: Stage) -> None:
    for dispatcher in stage.site.dispatchers:
        stage.restart(dispatcher)


def _dispatcher_late(wipe: bool, stage: Stage) -> None:
    """The broker ends and is there again, and the dispatchers come back later than the agents."""
    for cable in _dispatcher_cables(stage):
        stage.network.cut(cable, silent=False)
    stage.broker.kill()
    if wipe:
        stage.broker.wipe()
    stage.broker.start()


def _dispatcher_comes(stage: Stage) -> None:
    for cable in _dispatcher_cables(stage):
        stage.network.mend(cable)


def _dispatcher_cables(stage: Stage) -> tuple[str, ...]:
    return ("dispatcher-broker", "standby-broker") if stage.pair else ("dispatcher-broker",)


def _rules(publish: bool, stage: Stage) -> None:
    stage.allow(publish=publish)
    stage.reread_rules()


def _broker() -> Iterator[Fault]:
    yield Fault("broker killed", "broker", partial(_end_broker, "kill"), _start_broker)
    yield Fault("broker stopped", "broker", partial(_end_broker, "term"), _start_broker)
    yield Fault("broker wiped", "broker", partial(_end_broker, "wipe"), _start_broker)
    yield Fault("broker frozen", "broker", lambda stage: stage.broker.pause(), lambda stage: stage.broker.resume())
    yield Fault("broker refuses", "broker", partial(_rules, False), partial(_rules, True))
    yield Fault("no subscriber yet", "dispatcher standby broker", _nobody_listens, _somebody_listens)
    cables = "broker dispatcher-broker standby-broker"
    for word, wipe in (("killed", False), ("wiped", True)):
        begin = partial(_dispatcher_late, wipe)
        yield Fault(f"broker {word}, dispatcher late", cables, begin, _dispatcher_comes)


# Cables.


def _cut(cable: str, silent: bool, stage: Stage) -> None:
    stage.network.cut(stage.cable(cable), silent=silent)


def _mend(cable: str, stage: Stage) -> None:
    stage.network.mend(stage.cable(cable))


def _gateway_says(status: int, text: str, internal: bool, stage: Stage) -> None:
    head = [f"HTTP/1.1 {status} as ordered", f"Content-Length: {len(text)}", "Content-Type: text/plain"]
    head += ["X-OpenFaaS-Internal: proxy"] if internal else ['WWW-Authenticate: Basic realm="Restricted"']
    answer = "\r\n".join([*head, "Connection: close", "", text]).encode()
    for cable in _gateway_cables(stage):
        stage.network.answer(cable, answer)


def _gateway_is_back(stage: Stage) -> None:
    for cable in _gateway_cables(stage):
        stage.network.mend(cable)


def _gateway_cables(stage: Stage) -> tuple[str, ...]:
    return ("dispatcher-gateway", "standby-gateway") if stage.pair else ("dispatcher-gateway",)


def _cables() -> Iterator[Fault]:
    for cable in ("agent-broker", "dispatcher-broker", "dispatcher-gateway", "standby-broker", "standby-gateway"):
        for silent, word in ((False, "cut"), (True, "silent")):
            needs: Need | None = "pair" if cable.startswith("standby") else None
            yield Fault(f"{cable} {word}", cable, partial(_cut, cable, silent), partial(_mend, cable), needs=needs)
    both = "dispatcher-gateway standby-gateway"
    for status, text in _WITHOUT_PROVIDER:
        begin = partial(_gateway_says, status, text, True)
        yield Fault(f"gateway without provider, {status}", both, begin, _gateway_is_back)
    yield Fault("gateway 401", both, partial(_gateway_says, 401, "invalid credentials", False), _gateway_is_back)


# Functions and pins.


def _order(answer: str, stage: Stage, **more: float) -> None:
    stage.site.gateway.order(answer, "seen", **more)


def _remove(stage: Stage) -> None:
    done = stage.site.command("functions", "remove", "seen", "--gateway", stage.site.gateway.url)
    assert done.returncode == 0, done.stderr


def _deploy(stage: Stage) -> None:
    site = stage.site
    done = site.command("functions", "deploy", "seen", "--file", str(site.gateway.stack), "--gateway", site.gateway.url)
    assert done.returncode == 0, done.stderr


def _functions() -> Iterator[Fault]:
    ok = partial(_order, "ok")
    for answer in ("500", "crash", "garbage", "half"):
        yield Fault(f"function {answer}", "function", partial(_order, answer), ok)
    yield Fault("function 429", "function", partial(_order, "429", retry_after_s=1), ok)
    yield Fault("function hangs", "function", partial(_order, "hang", hang_s=3.0), ok)
    yield Fault("function removed", "function gateway", _remove, _deploy)
    yield Fault("function slow", "function", partial(_order, "ok", pause_s=0.1), ok)
    slow = partial(_order, "ok", pause_s=0.3)
    yield Fault("function slow for a minute", "function", slow, ok, hold_s=60.0, long=True)
    yield Fault("function refuses some", "function", partial(_order, "400", every=3), ok)
    yield Fault("burst", "agent", lambda stage: stage.burst(BURST), _nothing, hold_s=0.0)
    yield Fault("burst of 20,000", "agent", lambda stage: stage.burst(BIG_BURST), _nothing, hold_s=0.0, long=True)


# Disks.


def _limit_files(name: str, full: bool, stage: Stage) -> None:
    program = stage.program(name)
    if program.running:
        program.disk_full(full=full)


def _fill(name: str, stage: Stage) -> None:
    stage.disks[stage.program(name).name].fill()


def _free(name: str, stage: Stage) -> None:
    stage.disks[stage.program(name).name].free()


def _restart_on_full_disk(name: str, stage: Stage) -> None:
    """It may run or say why not; what it may not do is half of it."""
    program = stage.program(name)
    _fill(name, stage)
    program.end(signal.SIGKILL)
    program.start()


def _free_and_start(name: str, stage: Stage) -> None:
    _free(name, stage)
    program = stage.program(name)
    if not program.running:
        assert program.ended() == FAILED, program.last_words()
        program.start()


def _lock(name: str, stage: Stage) -> None:
    stage.disks[stage.program(name).name].lock()


def _unlock(name: str, stage: Stage) -> None:
    stage.disks[stage.program(name).name].unlock()


def _start_locked(name: str, stage: Stage) -> None:
    """Kill it, and start it on the folder that is read-only now: it says so, and ends, and has begun nothing."""
    program = stage.program(name)
    _lock(name, stage)
    program.end(signal.SIGKILL)
    before = len(program.log.read_text(encoding="utf-8", errors="replace"))
    program.start()
    code = program.ended()
    told = program.log.read_text(encoding="utf-8", errors="replace")[before:]
    assert code == FAILED, f"the {name} left with {code} on a read-only state folder\n{told}"
    assert "Traceback" not in told, told
    assert "ead-only" in told, told
    assert str(program.state) in told, told
    assert program.ask("/healthz")[0] == 0


def _unlock_and_start(name: str, stage: Stage) -> None:
    _unlock(name, stage)
    _start_program(name, stage)


def _disks() -> Iterator[Fault]:
    for name in ("agent", "dispatcher"):
        yield Fault(f"{name} disk full", name, partial(_limit_files, name, True), partial(_limit_files, name, False))
    for name in ("agent", "dispatcher", "gateway"):
        free = partial(_free, name)
        yield Fault(f"{name} disk really full", name, partial(_fill, name), free, needs="disks")
        begin, end = partial(_restart_on_full_disk, name), partial(_free_and_start, name)
        yield Fault(f"{name} killed, disk really full", name, begin, end, needs="disks")
        yield Fault(f"{name} state read-only", name, partial(_lock, name), partial(_unlock, name), needs="disks")
        begin, end = partial(_start_locked, name), partial(_unlock_and_start, name)
        yield Fault(f"{name} killed, state read-only", name, begin, end, needs="disks")


# Damaged files: what was in them is lost, and has to be reported.


def _damage(name: str, file: str, table: str, stage: Stage) -> None:
    program = stage.program(name)
    path = program.state / file
    before = len(set_aside(path))
    program.end(signal.SIGKILL)
    if name == "agent":
        stage.outbox_damaged()
    damage(path, table)
    program.start()
    stage.count_lost(program)
    until(lambda: len(set_aside(path)) == before + 1, f"{path} is set aside", told=program.last_words)


def _pile_up(stage: Stage) -> None:
    """Let events be stored and confirmed, and none of them end."""
    stage.site.gateway.order("500")


def _damage_ledger(stage: Stage) -> None:
    stage.remember_letters()
    _damage("dispatcher", "ledger.sqlite", "ids", stage)
    stage.site.gateway.order("ok")


def _damage_outbox(stage: Stage) -> None:
    _damage("agent", "outbox.db", "levels", stage)
    _mend("agent-broker", stage)


def _damages() -> Iterator[Fault]:
    journal, outbox = "dispatcher function gateway dispatcher-gateway", "agent agent-broker"
    yield Fault("dispatcher journal damaged", journal, _pile_up, _damage_ledger, disk_lost=True)
    yield Fault("agent outbox damaged", outbox, partial(_cut, "agent-broker", False), _damage_outbox, disk_lost=True)


# Clocks.


def _jump(name: str, by_s: float, stage: Stage) -> None:
    stage.clocks[stage.program(name).name].jump(by_s)


def _boot_in_1970(name: str, stage: Stage) -> None:
    stage.clocks[stage.program(name).name].start_in_1970()
    _end_program(name, signal.SIGKILL, stage)
    _start_program(name, stage)


def _ntp(name: str, stage: Stage) -> None:
    stage.clocks[stage.program(name).name].set_right()


def _clocks() -> Iterator[Fault]:
    jumps = (("a day back", -DAY_S), ("a day forward", DAY_S), ("an hour back", -3600))
    for name in ("agent", "dispatcher"):
        for word, by_s in jumps:
            yield Fault(
                f"{name} clock {word}",
                f"{name}-clock",
                partial(_jump, name, by_s),
                partial(_jump, name, 0),
                shortest_s=2.5,
                needs="clocks",
            )
        yield Fault(
            f"{name} boots in 1970",
            f"{name} {name}-clock",
            partial(_boot_in_1970, name),
            partial(_ntp, name),
            shortest_s=2.5,
            needs="clocks",
        )


def _faults() -> Iterator[Fault]:
    yield from _programs("agent", "dispatcher", "gateway")
    yield from _programs("standby", needs="pair")
    yield from _broker()
    yield from _cables()
    yield from _functions()
    yield from _disks()
    yield from _damages()
    yield from _clocks()


FAULTS = {fault.name: fault for fault in _faults()}


def compatible(faults: list[Fault]) -> bool:
    """Whether no two of them strike the same thing."""
    targets = [target for fault in faults for target in fault.target.split()]
    return len(targets) == len(set(targets))
