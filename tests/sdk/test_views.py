"""Calls, budgets, audit and providers' health: each against an independent fold of the history, with tenants apart."""

import json
import time
from decimal import Decimal

import httpx
import pytest
from books import Books, assert_call_row, assert_changes, assert_health, assert_windows
from conftest import APP, Node
from views import OTHER, assert_rebuilt_alike, config, every, get, traffic


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("views"), config(sim))
    traffic(node, 60)
    node.kill()  # with what is in flight, if anything is
    node.start()
    traffic(node, 30)
    yield node
    node.stop()


@pytest.fixture(scope="module")
def events(node):
    return node.events()


@pytest.fixture(scope="module")
def books(node, events):
    books = Books(events)
    for view in ("usage", "calls", "budgets", "audit", "providers"):
        path = {"providers": "providers/health"}.get(view, view)
        get(node, path, at_least=f"0:{books.position}")
    return books


def test_all_projections_follow(node, books):
    rows = every(node, "projections")
    assert [row["name"] for row in rows] == ["usage", "calls", "budgets", "audit", "providers", "alerts"]
    assert all((row["status"], row["at"], row["lag_events"]) == ("following", f"0:{books.position}", 0) for row in rows)


def test_calls_are_those_of_the_history(node, books):
    rows = every(node, "calls", limit=7)
    assert [row["id"] for row in rows] == sorted(books.calls, reverse=True)
    assert rows == every(node, "calls", limit=1000, order="time")[::-1]
    for row in rows:
        assert_call_row(row, books.calls[row["id"]])


def test_one_call_has_its_events(node, books, events):
    id = next(id for id, call in books.calls.items() if len(call.attempts) > 1)
    body = get(node, f"calls/{id}")
    assert body["events"] == [event for event in events if event["subject"] == id]
    assert body["attempts"] == len(books.calls[id].attempts) and body["object"] == "call"
    get(node, "calls/call_00000000000000000000000000", code=404)
    get(node, "calls/nonsense", code=404)


@pytest.mark.parametrize(
    ("query", "takes"),
    [
        ({"status": "failed"}, lambda call: call.outcome == "failed"),
        ({"status": "ok,released"}, lambda call: call.outcome == "ok" or call.state == "released"),
        ({"tenant": "umbrella"}, lambda call: call.tenant == "umbrella"),
        ({"key": "search"}, lambda call: call.key in SEARCH_KEYS),
        ({"model": "fast,claude"}, lambda call: call.model in ("fast", "claude")),
        ({"provider": "sim"}, lambda call: call.provider == "sim"),
        ({"tag": "app=a1"}, lambda call: "app=a1" in call.tags),
        ({"min_cost_usd": "0.00002"}, lambda call: call.cost >= Decimal("0.00002")),
        ({"model": "claude", "tenant": "acme", "status": "ok"}, lambda call: (call.model, call.tenant, call.outcome) == ("claude", "acme", "ok")),
    ],
)
def test_calls_are_found_by_what_they_say(node, books, query, takes):
    SEARCH_KEYS.update(id for id, key in books.keys.items() if key["name"] == "search")
    assert {row["id"] for row in every(node, "calls", limit=5, **query)} == {call.id for call in books.calls.values() if takes(call)}


SEARCH_KEYS = set()


def test_calls_of_a_time(node, books):
    calls = sorted(books.calls.values(), key=lambda call: call.id)
    middle = calls[len(calls) // 2].admitted_at
    assert {row["id"] for row in every(node, "calls", until=middle, since="24h")} == {call.id for call in calls if call.admitted_at < middle}
    assert get(node, "calls", **{"from": "2020-01-01", "until": "2020-01-02"})["data"] == []


def test_budgets_are_what_callers_are_told(node, books):
    rows = every(node, "budgets", limit=2)
    told = {row["id"]: row for key in (APP, OTHER, "sk-poor-00000001") for row in node.budgets(key)}
    assert len(rows) == len(told) == 4
    for row in rows:
        for field in ("unit", "every", "limit", "settled", "held", "free", "overrun", "open_calls", "resets_at", "hard", "level", "name"):
            assert row[field] == told[row["id"]][field], field
        assert Decimal(row["limit"]) == Decimal(row["settled"]) + Decimal(row["held"]) + Decimal(row["free"])
    money = {row["name"]: Decimal(row["settled"]) for row in rows if row["unit"] == "USD" and row["level"] != "key"}
    spent = books.usage(lambda call: call.tenant)
    assert money["acme"] == money["team"] == spent["acme"]["cost"]
    assert {row["name"] for row in every(node, "budgets", tenant="umbrella")} == {"umbrella"}
    assert {row["name"] for row in every(node, "budgets", scope="team")} == {"team", "poor"}
    windows = every(node, f"budgets/{rows[0]['id']}/windows")
    assert len(windows) == 1 and windows[0] == rows[0]
    assert_windows(books, [window for row in rows for window in every(node, f"budgets/{row['id']}/windows")])
    get(node, "budgets/bud_999/windows", code=404)


def test_audit_has_every_change_and_what_was_before(node, books):
    rows = every(node, "audit", order="time", limit=9)
    assert_changes(books, rows)
    assert {row["tenant"] for row in every(node, "audit", tenant="umbrella")} == {"umbrella"}


def test_a_change_is_told_with_who_made_it(node, sim):
    changed = config(sim)
    changed["keys"][0]["rpm_limit"] = 60000
    changed["tenants"][0]["budgets"][0]["limit"] = "900 USD"
    answer = node.apply(changed)
    assert answer.status_code == 200, answer.text
    rows = get(node, "audit", at_least=answer.json()["position"], limit=2)["data"]
    assert {row["kind"] for row in rows} == {"key", "budget"}
    assert {row["by"]["kind"] for row in rows} == {"admin"}
    by_kind = {row["kind"]: row for row in rows}
    assert by_kind["key"]["before"]["rates"]["rpm_limit"] is None and by_kind["key"]["after"]["rates"]["rpm_limit"] == 60000
    assert (by_kind["budget"]["before"]["limit"], by_kind["budget"]["after"]["limit"]) == ("1000", "900")
    assert [row["id"] for row in get(node, "audit", subject=by_kind["key"]["subject"], kind="key")["data"]][0] == by_kind["key"]["id"]


def test_health_counts_attempts(node, books):
    rows = {row["provider"]: row for row in every(node, "providers/health")}
    assert_health(books, rows.values())
    assert rows["sim"]["first_byte_ms"]["count"] == books.attempts()["sim"]["ok"] and rows["sim"]["first_byte_ms"]["p50"] is not None
    one = every(node, "providers/health", provider="sim", group_by="model,hour")
    assert {row["model"] for row in one} == {"sim-fast"} and all(row["start"] < row["end"] for row in one)


def test_each_view_is_the_same_when_it_is_built_anew(node, books):
    names = [row["name"] for row in every(node, "projections")]
    position = f"0:{node.last()}"
    for name in names:
        get(node, {"providers": "providers/health"}.get(name, name), at_least=position)
    assert_rebuilt_alike(node, *names)


def test_lists_as_lines_and_tables(node, books):
    lines = get(node, "calls", accept="application/jsonl").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in every(node, "calls")]
    assert get(node, "audit", accept="text/csv").count("\r\n") == len(every(node, "audit")) + 1


@pytest.mark.parametrize("path", ["calls", "calls/call_00000000000000000000000000", "budgets", "budgets/bud_1/windows", "audit", "providers/health", "projections", "projections/usage"])
def test_views_are_for_administrators(node, path):
    for headers in ({}, {"authorization": f"Bearer {APP}"}):
        answer = httpx.get(f"{node.url}/api/v1/{path}", headers=headers)
        assert answer.status_code == 401 and answer.headers["content-type"] == "application/problem+json"


def test_the_last_of_the_disk_is_the_journals(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    traffic(node, 10)
    get(node, "usage", at_least=f"0:{node.last()}")
    node.kill()
    node.flags, node.ready = ("--disk-low-mib", str(1 << 40)), "/livez"
    node.start()
    time.sleep(6)  # longer than what nobody asks for waits
    assert all(row["lag_events"] > 0 and row["status"] == "following" for row in every(node, "projections"))
    node.kill()
    node.flags, node.ready = (), "/readyz"
    node.start()
    get(node, "usage", at_least=f"0:{node.last()}")
    assert every(node, "projections")[0]["lag_events"] == 0
    node.stop()
