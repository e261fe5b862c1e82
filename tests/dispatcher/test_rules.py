"""The dispatcher's rules that need no real part, in a house: its agent says what happened, its clock lets time pass."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bridge.testing import House, VirtualTime

AGENT = {"node": "pi-1", "sensors": {"front-door": {"kind": "pir", "pin": 17}}}
ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 3, first: 1m, max: 1h}
"""

pytestmark = pytest.mark.gpio_bridge(agents=AGENT, mappings=ONE)


def motion(bridge: House) -> None:
    bridge.pi("pi-1").sensor("front-door").motion(for_="1s")


def test_an_attempt_that_fails_is_tried_again_until_its_policy_gives_up(
    bridge: House, virtual_clock: VirtualTime
) -> None:
    bridge.function("hello").answers(500)
    motion(bridge)
    virtual_clock.advance("2h")
    assert [made.number for made in bridge.invocations.only().attempts] == [1, 2, 3]
    assert bridge.dispatcher.ledger.open_events == 0
    assert bridge.dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_dead_letters_total") == 1


@pytest.mark.gpio_bridge(mappings=ONE + "    when: data.missing == 1\n")
def test_rule_12_a_condition_that_raises_is_a_dead_letter_with_its_text(
    bridge: House, virtual_clock: VirtualTime
) -> None:
    motion(bridge)
    virtual_clock.advance("1s")
    bridge.invocations.none()
    (letter,) = bridge.dead_letters
    assert "missing" in letter["reason"]
    assert letter["reason"].endswith(bridge.why("greet").split(": ", 1)[1])
    assert bridge.dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_dead_letters_total") == 1


@pytest.mark.parametrize("killed", [False, True])
def test_rule_13_what_waits_for_a_mapping_that_is_removed_becomes_a_dead_letter(
    bridge: House, virtual_clock: VirtualTime, killed: bool
) -> None:
    bridge.function("hello").answers(500)
    motion(bridge)
    if killed:
        bridge.kill_dispatcher()
        bridge.restart_dispatcher()
    bridge.replace_mappings(ONE.replace("greet:", "welcome:"))
    virtual_clock.advance("1s")
    assert bridge.invocations.only().reason == "mapping removed"
    assert [letter["reason"] for letter in bridge.dead_letters] == ["mapping removed"]


@pytest.mark.gpio_bridge(mappings=ONE + "    for: 10m\n")
def test_rule_15_a_mapping_with_for_fires_only_if_nothing_ends_it(bridge: House, virtual_clock: VirtualTime) -> None:
    door = bridge.pi("pi-1").sensor("front-door")
    door.motion(for_="599s")
    virtual_clock.advance("1h")
    bridge.invocations.none()
    door.motion(for_="601s")
    assert bridge.invocations.only().at == bridge.invocations.only().event.time + timedelta(minutes=10)


@pytest.mark.gpio_bridge(mappings=ONE + "    for: 10m\n")
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("away", ["1m", "20m"])
def test_rule_15_a_for_survives_a_restart(bridge: House, virtual_clock: VirtualTime, killed: bool, away: str) -> None:
    bridge.pi("pi-1").sensor("front-door").motion()
    if killed:
        bridge.kill_dispatcher()
        virtual_clock.advance(away)
    bridge.restart_dispatcher()
    virtual_clock.advance("15m")
    assert len(bridge.invocations.only().attempts) == 1


def test_a_broker_that_forgets_everything_is_subscribed_to_again(bridge: House) -> None:
    bridge.broker.forget()
    assert "subscriptions" not in bridge.dispatcher.health.not_ready()
    motion(bridge)
    bridge.invocations.only()
