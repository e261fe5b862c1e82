"""`/api/v1/mappings`: one by one, with tags, in the file and in force."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.manager.conftest import MAPPINGS, Desk

ROOT = "/api/v1/mappings"
NEW = {"name": "door", "select": {"sensor": "door", "event": "beam.broken"}, "invoke": "open"}


@pytest.fixture
async def api(desk: Desk) -> httpx.AsyncClient:
    await desk.start()
    return desk.client


async def tag(api: httpx.AsyncClient, path: str = f"{ROOT}/intruder") -> dict[str, str]:
    return {"If-Match": (await api.get(path)).headers["etag"]}


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["request_id"]) == (status, answer.headers["x-request-id"])
    return found


async def test_mappings_are_listed_in_the_order_of_the_file_as_they_stand_in_it(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    answer = await api.get(ROOT)
    assert answer.json() == {
        "mappings": [
            {
                "name": "intruder",
                "select": {"sensor": "front-door", "event": "motion.detected"},
                "invoke": "intruder-alert",
                "cooldown": "5s",
            },
            {
                "name": "frost",
                "select": {"kind": "thermometer", "event": "temperature.low"},
                "invoke": {"function": "heat", "payload": "data"},
            },
        ],
        "total": 2,
        "limit": 100,
        "offset": 0,
        "version": desk.manager.store.loaded.mappings.version,
    }


async def test_a_list_is_read_page_by_page_and_may_be_filtered(api: httpx.AsyncClient) -> None:
    first = await api.get(ROOT, params={"limit": 1})
    assert [one["name"] for one in first.json()["mappings"]] == ["intruder"]
    second = await api.get(first.links["next"]["url"])
    assert [one["name"] for one in second.json()["mappings"]] == ["frost"]
    assert "next" not in second.links
    for params, names in (
        ({"name": "fr*"}, ["frost"]),
        ({"function": "heat"}, ["frost"]),
        ({"enabled": "false"}, []),
        ({"enabled": "true", "name": "i*"}, ["intruder"]),
    ):
        found = (await api.get(ROOT, params=params)).json()
        assert ([one["name"] for one in found["mappings"]], found["total"]) == (names, len(names))
    problem(await api.get(ROOT, params={"limit": 0}), 422)


@pytest.mark.parametrize("path", ["", "/intruder", "/file", "/history", "/history/1"])
async def test_what_a_client_has_already_is_not_sent_again(api: httpx.AsyncClient, path: str) -> None:
    first = await api.get(f"{ROOT}{path}")
    for given in (first.headers["etag"], f'"x", W/{first.headers["etag"]}', "*"):
        again = await api.get(f"{ROOT}{path}", headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await api.get(f"{ROOT}{path}", headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_new_mapping_stands_at_the_end_of_the_file_and_is_in_force(desk: Desk, api: httpx.AsyncClient) -> None:
    answer = await api.post(ROOT, json=NEW, params={"why": "a new door"})
    assert (answer.status_code, answer.headers["location"], answer.json()) == (201, f"{ROOT}/door", NEW)
    assert (
        desk.file.read_text()
        == MAPPINGS + "\n  door:\n    select: {sensor: door, event: beam.broken}\n    invoke: open\n"
    )
    assert "door" in desk.manager.store.loaded.mappings.mappings
    read = await api.get(f"{ROOT}/door")
    assert (read.json(), read.headers["etag"]) == (NEW, answer.headers["etag"])
    last = (await api.get(f"{ROOT}/history")).json()["revisions"][0]
    assert (last["who"], last["what"], last["why"]) == ("tester", "created", "a new door")
    assert answer.headers["x-revision"] == str(last["number"])
    problem(await api.post(ROOT, json=NEW), 409)
    problem(await api.post(ROOT, json={**NEW, "name": "b"}, params={"why": "two\nlines"}), 422)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "enable", "disable"])
async def test_a_change_of_what_exists_needs_the_tag_of_what_is_meant(
    desk: Desk, api: httpx.AsyncClient, method: str
) -> None:
    switches = method in ("enable", "disable")
    path = f"{ROOT}/intruder/{method}" if switches else f"{ROOT}/intruder"
    verb, json = ("POST", None) if switches else (method, None if method == "DELETE" else {"invoke": "x"})
    assert "If-Match" in problem(await api.request(verb, path, json=json), 428)["detail"]
    for wrong in ('"x"', f"W/{(await tag(api))['If-Match']}"):
        answer = await api.request(verb, path, json=json, headers={"If-Match": wrong})
        assert "has changed since" in problem(answer, 412)["detail"]
        assert answer.headers["etag"] == (await tag(api))["If-Match"]
    assert desk.file.read_text() == MAPPINGS


async def test_two_editors_do_not_overwrite_each_other(desk: Desk, api: httpx.AsyncClient) -> None:
    seen = await tag(api)
    assert (await api.patch(f"{ROOT}/intruder", json={"cooldown": "7s"}, headers=seen)).status_code == 200
    problem(await api.patch(f"{ROOT}/intruder", json={"cooldown": "9s"}, headers=seen), 412)
    assert "cooldown: 7s    # not more often" in desk.file.read_text()


async def test_of_many_changes_at_once_of_the_same_state_one_is_made(desk: Desk, api: httpx.AsyncClient) -> None:
    seen = await tag(api)
    answers = await asyncio.gather(
        *(api.patch(f"{ROOT}/intruder", json={"cooldown": f"{i}s"}, headers=seen) for i in range(10, 20))
    )
    (made,) = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 412}
    assert f"cooldown: {made.json()['cooldown']}" in desk.file.read_text()


async def test_what_somebody_writes_by_hand_changes_the_tag_at_once(desk: Desk, api: httpx.AsyncClient) -> None:
    seen = await tag(api)
    desk.file.write_text(MAPPINGS.replace("5s", "6s"), encoding="utf-8")
    problem(await api.patch(f"{ROOT}/intruder", json={"cooldown": "7s"}, headers=seen), 412)


async def test_a_put_replaces_and_may_be_repeated(desk: Desk, api: httpx.AsyncClient) -> None:
    body = {"select": {"sensor": "front-door"}, "invoke": "other"}
    first = await api.put(f"{ROOT}/intruder", json=body, headers=await tag(api))
    assert (first.status_code, first.json()) == (200, {"name": "intruder", **body})
    again = await api.put(f"{ROOT}/intruder", json=first.json(), headers={"If-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["x-revision"]) == (200, first.headers["x-revision"])
    made = await api.put(f"{ROOT}/new-one", json=body, headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["location"]) == (201, f"{ROOT}/new-one")
    problem(await api.put(f"{ROOT}/new-one", json=body, headers={"If-None-Match": "*"}), 412)
    problem(await api.put(f"{ROOT}/nobody", json=body, headers={"If-Match": "*"}), 412)
    assert "# Somebody is there." in desk.file.read_text()


async def test_a_patch_changes_some_keys_and_null_takes_one_away(desk: Desk, api: httpx.AsyncClient) -> None:
    answer = await api.patch(
        f"{ROOT}/intruder",
        content=b'{"cooldown": null, "select": {"node": "pi-1"}, "enabled": false}',
        headers={**await tag(api), "Content-Type": "application/merge-patch+json"},
    )
    assert answer.json() == {
        "name": "intruder",
        "select": {"sensor": "front-door", "event": "motion.detected", "node": "pi-1"},
        "invoke": "intruder-alert",
        "enabled": False,
    }
    assert not desk.manager.store.loaded.mappings.mappings["intruder"].enabled


async def test_a_mapping_is_switched_off_and_on_again(desk: Desk, api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{ROOT}/intruder/disable", headers=await tag(api))
    assert answer.json()["enabled"] is False
    again = await api.post(f"{ROOT}/intruder/disable", headers=await tag(api))
    assert again.headers["x-revision"] == answer.headers["x-revision"]
    assert (await api.post(f"{ROOT}/intruder/enable", headers=await tag(api))).json()["enabled"] is True


async def test_a_mapping_is_deleted_and_the_last_one_stays(desk: Desk, api: httpx.AsyncClient) -> None:
    answer = await api.delete(f"{ROOT}/intruder", headers=await tag(api))
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await api.get(f"{ROOT}/intruder"), 404)
    problem(await api.delete(f"{ROOT}/intruder", headers={"If-Match": "*"}), 404)
    refused = await api.delete(f"{ROOT}/frost", headers={"If-Match": "*"})
    assert "holds no mapping" in problem(refused, 422)["detail"]


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({**NEW, "cooldown": 5}, "/cooldown", "needs a unit"),
        ({**NEW, "select": [{"sensor": "a"}, {"senser": "b"}]}, "/select/1/senser", "did you mean sensor?"),
        ({**NEW, "when": "1 +"}, "/when", "expression"),
        ({**NEW, "invoke": {"function": "f", "mode": "async"}}, "/invoke/mode", "add order: none"),
        ({"name": "door", "invoke": "f"}, "/select", "is missing"),
        ({"select": {"sensor": "a"}, "invoke": "f"}, "/name", "is missing"),
        ({**NEW, "name": "Door!"}, "/name", "lower-case"),
        ({**NEW, "name": "history"}, "/name", "stands for something else"),
    ],
)
async def test_a_mistake_is_told_with_its_place_and_changes_nothing(
    desk: Desk, api: httpx.AsyncClient, body: dict[str, Any], pointer: str, detail: str
) -> None:
    for path in (ROOT, f"{ROOT}/validate"):
        if path != ROOT and body.get("name") == "history":
            continue
        found = problem(await api.post(path, json=body), 422)
        assert found["errors"][0].get("pointer", "") == pointer
        assert detail in found["errors"][0]["detail"]
    assert desk.file.read_text() == MAPPINGS


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[1]", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"", "application/json", 400),
        (b'{"name": "x", "select": ' + b"[" * 500 + b"]" * 500 + b"}", "application/json", 422),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413),
    ],
    ids=["no-json", "no-text", "list", "type", "empty", "deep", "large"],
)
async def test_a_body_that_cannot_be_read_is_refused(
    api: httpx.AsyncClient, content: bytes, kind: str, status: int
) -> None:
    problem(await api.post(ROOT, content=content, headers={"Content-Type": kind}), status)


async def test_while_the_file_is_broken_single_changes_are_refused_with_its_line(
    desk: Desk, api: httpx.AsyncClient
) -> None:
    desk.file.write_text(MAPPINGS.replace("cooldown: 5s", "cooldown: 5"), encoding="utf-8")
    found = problem(await api.post(ROOT, json=NEW), 409)
    assert (found["errors"][0]["line"], found["errors"][0]["column"]) == (10, 15)
    ready = await api.get("/readyz")
    assert (ready.status_code, list(ready.json()["reasons"])) == (503, ["mappings"])
    assert f"{desk.file}:10:15: mappings.intruder.cooldown" in ready.json()["reasons"]["mappings"]
    mended = await api.put(
        f"{ROOT}/file",
        content=MAPPINGS,
        headers={**await tag(api, f"{ROOT}/file"), "Content-Type": "application/yaml"},
    )
    assert mended.status_code == 200
    assert (await api.get("/readyz")).status_code == 200


async def test_the_file_as_a_whole_is_read_planned_and_replaced(desk: Desk, api: httpx.AsyncClient) -> None:
    read = await api.get(f"{ROOT}/file")
    assert (read.text, read.headers["content-type"]) == (MAPPINGS, "application/yaml")
    wanted = MAPPINGS.replace("5s", "8s").replace("  frost:", "  cold:")
    yaml = {"Content-Type": "application/yaml"}
    planned = (await api.post(f"{ROOT}/plan", content=wanted, headers=yaml)).json()
    assert planned["changes"] == {"added": ["cold"], "changed": ["intruder"], "removed": ["frost"]}
    assert "-  frost:\n+  cold:\n" in planned["diff"]
    assert planned["etag"] == read.headers["etag"] == (await api.get(ROOT)).headers["etag"]
    problem(await api.put(f"{ROOT}/file", content=wanted, headers=yaml), 428)
    applied = await api.put(f"{ROOT}/file", content=wanted, headers={**yaml, "If-Match": planned["etag"]})
    assert applied.json() == {
        "revision": 2,
        "version": planned["version"],
        "changes": planned["changes"],
        "mappings": 2,
    }
    assert desk.file.read_text() == wanted
    found = problem(await api.post(f"{ROOT}/plan", content="version: 1\nmappings: {a: {}}\n", headers=yaml), 422)
    assert {one["line"] for one in found["errors"]} == {2}


async def test_an_earlier_state_can_be_rolled_back_to(desk: Desk, api: httpx.AsyncClient) -> None:
    await api.delete(f"{ROOT}/intruder", headers=await tag(api))
    problem(await api.post(f"{ROOT}/rollback", json={"revision": 1}), 428)
    problem(await api.post(f"{ROOT}/rollback", json={"revision": 99}, headers={"If-Match": "*"}), 404)
    problem(await api.post(f"{ROOT}/rollback", json={"revision": True}, headers={"If-Match": "*"}), 422)
    answer = await api.post(f"{ROOT}/rollback", json={"revision": 1}, headers=await tag(api, ROOT))
    assert answer.json()["changes"] == {"added": ["intruder"], "changed": [], "removed": []}
    assert desk.file.read_text() == MAPPINGS
    whats = [one["what"] for one in (await api.get(f"{ROOT}/history")).json()["revisions"]]
    assert whats == ["rolled back to 1", "deleted", "found"]
    assert (await api.get(f"{ROOT}/history/1")).text == MAPPINGS
    of_intruder = (await api.get(f"{ROOT}/history", params={"name": "frost"})).json()
    assert of_intruder["total"] == 1


async def test_a_mapping_is_validated_without_being_saved(desk: Desk, api: httpx.AsyncClient) -> None:
    answer = await api.post(f"{ROOT}/validate", json=NEW)
    assert answer.json()["changes"] == {"added": ["door"], "changed": [], "removed": []}
    whole = await api.post(
        f"{ROOT}/validate", content="version: 1\nmappings: {}\n", headers={"Content-Type": "application/yaml"}
    )
    assert "holds no mapping" in problem(whole, 422)["errors"][0]["detail"]
    assert desk.file.read_text() == MAPPINGS


async def test_head_is_answered_as_get_without_a_body(api: httpx.AsyncClient) -> None:
    answer = await api.head(f"{ROOT}/intruder")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["etag"] == (await tag(api))["If-Match"]
