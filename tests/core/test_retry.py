from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.retry import GiveUp, Outcome, Park, RetryAfter, RetryPolicy, Verdict, classify, decide


def outcome(verdict: Verdict = Verdict.RETRYABLE, *, retry_after_s: float | None = None) -> Outcome:
    return Outcome(verdict=verdict, status=503, reason="busy", duration_s=0.1, retry_after_s=retry_after_s)


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_a_2xx_succeeds_rule_11(status: int) -> None:
    assert classify(status, from_gateway=False) is Verdict.SUCCEEDED


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_may_pass_is_retried_rule_11(status: int) -> None:
    assert classify(status, from_gateway=False) is Verdict.RETRYABLE


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("from_gateway", [True, False])
def test_an_unknown_function_or_a_refusal_parks_rule_11(status: int, from_gateway: bool) -> None:
    assert classify(status, from_gateway=from_gateway) is Verdict.PARKED


@pytest.mark.parametrize("status", [500, 503])
def test_the_gateways_own_word_about_a_function_parks_rule_11(status: int) -> None:
    assert classify(status, from_gateway=True) is Verdict.PARKED


@pytest.mark.parametrize("status", [502, 504])
def test_the_gateways_word_about_one_call_is_retried_rule_11(status: int) -> None:
    assert classify(status, from_gateway=True) is Verdict.RETRYABLE


@pytest.mark.parametrize("status", [301, 400, 409, 410, 422])
def test_the_functions_own_no_is_refused_rule_11(status: int) -> None:
    assert classify(status, from_gateway=False) is Verdict.REFUSED


@given(st.integers(100, 599), st.booleans())
def test_every_status_has_a_verdict(status: int, from_gateway: bool) -> None:
    assert isinstance(classify(status, from_gateway=from_gateway), Verdict)


def test_a_refusal_is_given_up_at_once() -> None:
    decided = decide(RetryPolicy(), outcome(Verdict.REFUSED), attempt=1, elapsed_s=0, jitter=0.5)

    assert decided == GiveUp("refused: busy")


def test_a_parked_outcome_is_kept_however_many_attempts_it_took() -> None:
    decided = decide(RetryPolicy(attempts=1, total_s=1), outcome(Verdict.PARKED), attempt=9, elapsed_s=99, jitter=0)

    assert decided == Park()


@pytest.mark.parametrize(("attempts", "told"), [(1, "1 attempt:"), (3, "3 attempts:")])
def test_the_last_attempt_is_the_end(attempts: int, told: str) -> None:
    decided = decide(RetryPolicy(attempts=attempts), outcome(), attempt=attempts, elapsed_s=1, jitter=0.5)

    assert decided == GiveUp(f"gave up after {told} busy")


def test_no_attempt_starts_after_the_total_time() -> None:
    policy = RetryPolicy(attempts=10, first_s=4, total_s=10)

    assert decide(policy, outcome(), attempt=1, elapsed_s=6, jitter=1) == RetryAfter(4)
    given_up = decide(policy, outcome(), attempt=2, elapsed_s=6.1, jitter=1)
    assert given_up == GiveUp("gave up after 2 attempts in 6 s: busy")


@pytest.mark.parametrize(("attempt", "ceiling_s"), [(1, 1), (2, 2), (3, 4), (7, 60), (4999, 60)])
def test_the_ceiling_doubles_up_to_the_maximum(attempt: int, ceiling_s: float) -> None:
    policy = RetryPolicy(attempts=5000)

    assert decide(policy, outcome(), attempt=attempt, elapsed_s=0, jitter=1) == RetryAfter(ceiling_s)


def test_who_asks_for_patience_gets_it_beyond_the_maximum_but_not_beyond_a_day() -> None:
    policy = RetryPolicy(max_s=1)

    assert decide(policy, outcome(retry_after_s=90), attempt=1, elapsed_s=0, jitter=0) == RetryAfter(90)
    assert decide(policy, outcome(retry_after_s=1e12), attempt=1, elapsed_s=0, jitter=0) == RetryAfter(86400)


@given(
    st.builds(
        RetryPolicy,
        attempts=st.integers(1, 50),
        first_s=st.floats(0.001, 600),
        max_s=st.floats(0.001, 3600),
        total_s=st.none() | st.floats(0, 86400),
    ),
    st.sampled_from(Verdict),
    st.none() | st.floats(0) | st.just(float("nan")),
    st.integers(1, 60),
    st.floats(0, 86400),
    st.floats(0, 1),
)
def test_a_pause_is_bounded_and_never_outlives_the_policy(
    policy: RetryPolicy, verdict: Verdict, retry_after_s: float | None, attempt: int, elapsed_s: float, jitter: float
) -> None:
    decided = decide(
        policy, outcome(verdict, retry_after_s=retry_after_s), attempt=attempt, elapsed_s=elapsed_s, jitter=jitter
    )

    if isinstance(decided, RetryAfter):
        assert attempt < policy.attempts
        assert 0 <= decided.delay_s <= max(policy.max_s, 86400)
        assert policy.total_s is None or elapsed_s + decided.delay_s <= policy.total_s
        if not retry_after_s:
            assert decided.delay_s <= min(policy.max_s, policy.first_s * 2.0 ** (attempt - 1))
