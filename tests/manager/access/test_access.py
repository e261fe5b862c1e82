"""Who may do what: tokens, roles, patience with wrong ones, and the audit."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import httpx
import pytest

from bridge.clock import RealClock, VirtualClock
from bridge.manager.access.guard import Guard
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import FILE, TokenRefused, create_token, read_tokens, revoke_token
from bridge.manager.problems import Refusal
from bridge.manager.settings import AuthSettings
from tests.manager.conftest import Desk

AT = "2026-11-22T12:00:00Z"
ROOT = "/api/v1/mappings"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_without_a_token_nothing_of_the_api_is_read_but_health_is(desk: Desk) -> None:
    await desk.start()
    async with httpx.AsyncClient(base_url=desk.manager.url, trust_env=False, timeout=60) as nobody:
        for path in (ROOT, f"{ROOT}/intruder", f"{ROOT}/file", f"{ROOT}/history", "/api/v1/audit"):
            answer = await nobody.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
            assert answer.headers["www-authenticate"].startswith("Bearer ")
        for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
            assert (await nobody.get(path)).status_code == 200


async def test_each_role_may_do_what_it_is_for(desk: Desk) -> None:
    await desk.start()
    tokens = {role: create_token(desk.settings.state_dir, role.value, role, AT) for role in Role}
    body = {"name": "door", "select": {"sensor": "door"}, "invoke": "open"}
    expected = {Role.VIEWER: (200, 403, 403), Role.OPERATOR: (200, 201, 403), Role.ADMIN: (200, 201, 200)}
    for role, statuses in expected.items():
        headers = bearer(tokens[role])
        read = await desk.client.get(ROOT, headers=headers)
        made = await desk.client.post(ROOT, json={**body, "name": f"by-{role.value}"}, headers=headers)
        audit = await desk.client.get("/api/v1/audit", headers=headers)
        assert (read.status_code, made.status_code, audit.status_code) == statuses, role
        assert (await desk.client.post(f"{ROOT}/validate", json=body, headers=headers)).status_code == 200


async def test_a_revoked_token_opens_nothing_from_then_on(desk: Desk) -> None:
    await desk.start()
    token = create_token(desk.settings.state_dir, "anna", Role.VIEWER, AT)
    assert (await desk.client.get(ROOT, headers=bearer(token))).status_code == 200
    revoke_token(desk.settings.state_dir, "anna", AT)
    answer = await desk.client.get(ROOT, headers=bearer(token))
    assert (answer.status_code, 'error="invalid_token"' in answer.headers["www-authenticate"]) == (401, True)


async def test_the_audit_tells_who_changed_what_in_which_request(desk: Desk) -> None:
    await desk.start()
    folder = desk.settings.state_dir
    anna, eve = create_token(folder, "anna", Role.OPERATOR, AT), create_token(folder, "eve", Role.VIEWER, AT)
    made = {"select": {"sensor": "door"}, "invoke": "open"}
    await desk.client.put(f"{ROOT}/door", json=made, headers={**bearer(anna), "X-Request-Id": "r-1"})
    await desk.client.delete(f"{ROOT}/door", headers=bearer(eve))
    revoke_token(folder, "eve", AT)
    found = (await desk.client.get("/api/v1/audit")).json()
    told = [(one["who"], one["what"], one["target"].partition(" (")[0], one["status"]) for one in found["entries"]]
    assert told == [
        ("command", "token revoked", "eve", 200),
        ("eve", "refused DELETE", f"{ROOT}/door", 403),
        ("anna", "replaced", "door", 200),
        ("command", "token created", "eve", 200),
        ("command", "token created", "anna", 200),
    ]
    entry = found["entries"][2]
    assert (entry["request_id"], entry["revision"], entry["address"]) == ("r-1", 2, "127.0.0.1")
    await desk.stop()
    await desk.start()
    assert (await desk.client.get("/api/v1/audit")).json()["total"] == 5, "told once, also over a restart"


async def test_who_guesses_has_to_wait(desk: Desk) -> None:
    desk.settings = dataclasses.replace(desk.settings, auth=AuthSettings(failures=3))
    await desk.start()
    for _ in range(3):
        assert (await desk.client.get(ROOT, headers=bearer("gpb_00000000_x"))).status_code == 401
    answer = await desk.client.get(ROOT, headers=bearer("gpb_00000000_x"))
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert (await desk.client.get(ROOT)).status_code == 200, "who knows a token is not shut out by who guesses"


async def test_the_patience_with_wrong_tokens_comes_back_and_a_known_one_is_guessed_no_further(tmp_path: Path) -> None:
    clock = VirtualClock()
    guard = Guard(tmp_path, AuthSettings(failures=2), clock, changed=lambda tokens: None)
    token = create_token(tmp_path, "anna", Role.VIEWER, AT)
    wrong = f"Bearer {token[:-1]}{'a' if token[-1] != 'a' else 'b'}"
    for status in (401, 401, 429):
        with pytest.raises(Refusal) as refused:
            guard.known(wrong, "192.0.2.1")
        assert refused.value.status == status
    with pytest.raises(Refusal) as refused:
        guard.known(f"Bearer {token}", "192.0.2.1")
    assert refused.value.status == 429, "or the right one would be found by trying on"
    assert guard.known(f"Bearer {token}", "192.0.2.2").name == "anna"
    await clock.advance(61)
    assert guard.known(f"Bearer {token}", "192.0.2.1").role is Role.VIEWER


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer x", "Basic YTpi", "Bearer gpb__", "bearer gpb_a", "Bearer \xff"]
)
def test_what_is_no_token_opens_nothing(tmp_path: Path, shown: str) -> None:
    create_token(tmp_path, "anna", Role.ADMIN, AT)
    guard = Guard(tmp_path, AuthSettings(), RealClock("always"), changed=lambda tokens: None)
    with pytest.raises(Refusal) as refused:
        guard.known(shown, "192.0.2.1")
    assert refused.value.status == 401


def test_a_token_is_kept_as_a_hash_that_only_the_manager_may_read(tmp_path: Path) -> None:
    token = create_token(tmp_path, "anna", Role.ADMIN, AT)
    file = tmp_path / FILE
    assert token.rpartition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (kept,) = read_tokens(tmp_path)
    assert (kept.name, kept.role, kept.revoked_at) == ("anna", Role.ADMIN, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away: run as root")
def test_a_token_that_root_makes_can_be_read_by_the_managers_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 4321)
    create_token(tmp_path, "anna", Role.ADMIN, AT)
    assert (tmp_path / FILE).stat().st_uid == 1234


def test_a_name_is_taken_until_its_token_is_revoked(tmp_path: Path) -> None:
    create_token(tmp_path, "anna", Role.VIEWER, AT)
    with pytest.raises(TokenRefused, match="revoke it first"):
        create_token(tmp_path, "anna", Role.VIEWER, AT)
    with pytest.raises(TokenRefused, match="no name for a token"):
        create_token(tmp_path, "Anna!", Role.VIEWER, AT)
    revoke_token(tmp_path, "anna", AT)
    create_token(tmp_path, "anna", Role.ADMIN, AT)
    with pytest.raises(TokenRefused, match="there is no token nobody"):
        revoke_token(tmp_path, "nobody", AT)


async def test_a_damaged_token_file_lets_nobody_in_and_is_told(desk: Desk) -> None:
    await desk.start()
    token = create_token(desk.settings.state_dir, "anna", Role.VIEWER, AT)
    (desk.settings.state_dir / FILE).write_text(json.dumps({"tokens": [{}]}), encoding="utf-8")
    assert (await desk.client.get(ROOT, headers=bearer(token))).status_code == 401
    assert "is damaged" in (await desk.client.get("/readyz")).json()["reasons"]["tokens"]
