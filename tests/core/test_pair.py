"""Rule 17: who of a pair of dispatchers is at work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.pair import Pair, Peer, Role


def state(pair: Pair) -> tuple[Role, int, float | None]:
    return pair.role, pair.term, pair.wake_at


ACTIVE, STANDBY, OFFLINE = "active", "standby", "offline"


def test_rule_17_one_that_is_alone_takes_over_after_its_time() -> None:
    pair = Pair("main", 5.0)
    pair.connected(0.0)
    assert state(pair) == (Role.STANDBY, 0, 5.0)
    pair.wake(4.9)
    assert state(pair) == (Role.STANDBY, 0, 5.0)
    pair.wake(5.0)
    assert state(pair) == (Role.ACTIVE, 1, None)


def test_rule_17_a_standby_waits_while_somebody_is_at_work_and_takes_over_when_they_are_gone() -> None:
    pair = Pair("spare", 5.0)
    pair.connected(0.0)
    pair.heard("main", Peer(ACTIVE, 7), 1.0)
    pair.wake(100.0)
    assert state(pair) == (Role.STANDBY, 7, None)
    assert pair.active_peer == "main"
    pair.heard("main", Peer(OFFLINE, 7), 200.0)
    assert state(pair) == (Role.STANDBY, 7, 205.0)
    pair.wake(205.0)
    assert state(pair) == (Role.ACTIVE, 8, None)


def test_rule_17_of_two_that_wait_the_first_by_name_takes_over_first() -> None:
    first, second = Pair("a", 5.0), Pair("b", 5.0)
    first.connected(0.0)
    second.heard("a", Peer(STANDBY, 0), 0.0)
    second.connected(0.0)
    assert (first.wake_at, second.wake_at) == (5.0, 10.0)


def test_rule_17_the_later_claim_wins() -> None:
    pair = Pair("a", 1.0)
    pair.connected(0.0)
    pair.wake(1.0)
    pair.heard("b", Peer(ACTIVE, 0), 2.0)
    assert state(pair) == (Role.ACTIVE, 1, None)
    pair.heard("b", Peer(ACTIVE, 1), 3.0)
    assert state(pair) == (Role.STANDBY, 1, None)


def test_rule_17_who_has_lost_the_broker_is_not_at_work() -> None:
    pair = Pair("a", 1.0)
    pair.connected(0.0)
    pair.wake(1.0)
    pair.disconnected()
    assert state(pair) == (Role.STANDBY, 1, None)
    pair.heard("b", Peer(OFFLINE, 0), 2.0)
    assert state(pair) == (Role.STANDBY, 1, None)
    pair.connected(3.0)
    assert state(pair) == (Role.STANDBY, 1, 4.0)


def test_its_own_status_and_repetitions_change_nothing() -> None:
    pair = Pair("a", 1.0)
    pair.connected(0.0)
    pair.heard("a", Peer(ACTIVE, 9), 0.5)
    pair.heard("b", Peer(STANDBY, 0), 0.6)
    assert pair.wake_at == 1.0
    pair.wake(0.7)
    assert pair.role is Role.STANDBY


MOVES = st.lists(st.sampled_from(["time", "cut a", "cut b", "join a", "join b"]), max_size=40)


@given(MOVES)
def test_rule_17_two_that_hear_each_other_are_never_both_at_work_for_long(moves: list[str]) -> None:
    """Statuses travel at once; a cut one is told of by its last will."""
    pairs = {"a": Pair("a", 1.0), "b": Pair("b", 1.0)}
    online: dict[str, bool] = {"a": False, "b": False}
    now = 0.0

    def tell() -> None:
        for _ in range(3):
            for name, pair in pairs.items():
                other = "b" if name == "a" else "a"
                if online[other]:
                    state = pair.role.value if online[name] else OFFLINE
                    pairs[other].heard(name, Peer(state, pair.term), now)

    for move in moves:
        action, _, name = move.partition(" ")
        if action == "time":
            now += 1.0
            for pair in pairs.values():
                pair.wake(now)
                tell()
        elif action == "cut":
            online[name] = False
            pairs[name].disconnected()
        elif not online[name]:
            online[name] = True
            pairs[name].connected(now)
        tell()
        assert sum(pair.role is Role.ACTIVE for pair in pairs.values()) <= 1
        assert all(online[name] for name, pair in pairs.items() if pair.role is Role.ACTIVE)
