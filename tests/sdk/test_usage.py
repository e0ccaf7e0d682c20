"""Usage by any dimension, from a projection that follows the history: against an independent fold, through kill -9 and rebuilding."""

import csv
import io
import json
from collections import Counter
from decimal import Decimal

import httpx
import pytest
from books import Books
from conftest import APP, HELLO, Node
from views import AUTHORIZED, USERS, assert_rebuilt_alike, config, every, get, traffic


@pytest.fixture
def node(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    yield node
    node.stop()


DIMENSIONS = {
    "tenant": lambda call: call.tenant,
    "key_id": lambda call: call.key,
    "scope_id": lambda call: call.scope,
    "user": lambda call: call.user,
    "model": lambda call: call.model,
    "provider": lambda call: call.provider,
    "tag": lambda call: call.tags,
}


def seen(rows, name):
    """Rows of an answer in the form of the independent fold."""
    found = {}
    for row in rows:
        counts = Counter({"cost": Decimal(row["cost"]["USD"]), "charge": Decimal(row["charge"]["USD"]), "total_ms": row["total_ms"]})
        counts.update({outcome: count for outcome, count in row["calls"].items()})
        counts.update({kind: row["tokens"][kind] for kind in ("input", "output")})
        found[row[name]] = +counts
    return found


def assert_as_told(node):
    """Every dimension says what the history says."""
    events = node.events()
    books = Books(events)
    assert len(books.calls) > 20
    for name, by in DIMENSIONS.items():
        told = {called: sums for called, sums in books.usage(by).items()}
        rows = get(node, group_by=name.removesuffix("_id"), at_least=f"0:{books.position}", limit=1000)["data"]
        assert seen(rows, name) == told, name


def test_usage_is_what_the_history_says(node):
    traffic(node)
    assert_as_told(node)
    total = get(node)["data"]
    assert len(total) == 1 and total[0]["calls"]["ok"] > 20
    by_two = get(node, group_by="tenant,model", order="-cost")["data"]
    assert [row["model"] for row in by_two] and {row["tenant"] for row in by_two} == {"acme", "umbrella"}
    costs = [Decimal(row["cost"]["USD"]) for row in by_two]
    assert costs == sorted(costs, reverse=True)


def test_users_are_pseudonyms_that_are_found_by_name(node):
    traffic(node)
    books = Books(node.events())
    position = f"0:{books.position}"
    everywhere = str(node.events()) + str(every(node, "calls")) + str(get(node, group_by="user", limit=1000))
    assert "@example.com" not in everywhere, "no name that a caller gave is kept"
    users = {call.user for call in books.calls.values()} - {None}
    assert len(users) > 6, "of two tenants"
    rows = get(node, group_by="tenant,user", at_least=position, limit=1000)["data"]
    by_two = books.usage(lambda call: (call.tenant, call.user))
    assert {(row["tenant"], row["user"]) for row in rows} == set(by_two)
    called = get(node, user=USERS[0], group_by="tenant,user", limit=1000)["data"]
    assert {row["tenant"] for row in called} == {"acme", "umbrella"} and len({row["user"] for row in called}) == 2, "a name is another user in another tenant"
    for row in called:
        assert row["calls"]["finished"] == by_two[row["tenant"], row["user"]]["finished"]
        again = get(node, user=row["user"], limit=1000)["data"]
        assert [one["cost"] for one in again] == [row["cost"]]
    assert {row["user"] for row in every(node, "calls", user=USERS[0])} == {row["user"] for row in called}
    total = sum(Decimal(row["cost"]["USD"]) for row in get(node, group_by="user", limit=1000)["data"])
    assert total == Decimal(get(node)["data"][0]["cost"]["USD"]), "with those of nobody they are all"
    assert get(node, group_by="user,tag", code=400)["path"] == "user"
    for call in books.calls.values():
        if call.request_id:
            assert [row["id"] for row in every(node, "calls", request_id=call.request_id)] == [call.id]
        if call.trace_id:
            assert [row["id"] for row in every(node, "calls", trace_id=call.trace_id)] == [call.id]
    assert any(call.request_id for call in books.calls.values()) and any(call.trace_id for call in books.calls.values())


@pytest.mark.parametrize("name", ["", "u" * 129, "ü"])
def test_a_user_that_cannot_be_kept_is_refused(node, name):
    body = {"model": "fast", "messages": HELLO}
    headers = {"authorization": f"Bearer {APP}", "x-tollgate-user": name.encode()}
    answer = httpx.post(f"{node.url}/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 400 and "x-tollgate-user" in answer.json()["error"]["message"]


def test_a_killed_node_counts_nothing_twice(node):
    for _ in range(3):
        traffic(node, 40)
        node.kill()
        node.start()
    assert_as_told(node)


def test_a_rebuilt_projection_has_the_same_rows(node):
    traffic(node)
    end = node.last()
    get(node, at_least=f"0:{end}")
    before = get(node, "projections/usage", digest="true")
    assert before["status"] == "following" and int(before["digest"]["at"].removeprefix("0:")) >= end
    assert_rebuilt_alike(node, "usage")
    node.kill()
    node.start()
    get(node, at_least=f"0:{node.last()}")
    assert_as_told(node)


def test_rows_of_another_history_are_dropped(node, sim, tmp_path):
    traffic(node, 20)
    get(node, at_least=f"0:{node.last()}")
    node.stop()
    folder = tmp_path / "other"
    folder.mkdir()
    other = Node(folder, config(sim))
    other.stop()
    for file in (other.folder / "data/projections").iterdir():
        file.write_bytes((node.folder / "data/projections" / file.name).read_bytes())
    other.start()
    traffic(other, 40)
    assert_as_told(other)
    other.stop()


def test_a_damaged_projection_is_built_anew_and_calls_go_on(node):
    traffic(node, 30)
    get(node, at_least=f"0:{node.last()}")
    node.stop()
    file = node.folder / "data/projections/usage.redb"
    file.write_bytes(b"\0" * 4096 + file.read_bytes()[4096:])
    node.start()
    traffic(node, 30)
    assert_as_told(node)


def test_filters_pages_and_forms(node):
    traffic(node)
    get(node, at_least=f"0:{node.last()}")
    whole = get(node, group_by="key,model", limit=1000)["data"]
    assert every(node, "usage", group_by="key,model", limit=2) == whole
    own = get(node, group_by="key", tenant="umbrella")["data"]
    assert [row["key"] for row in own] == ["app"]
    below = get(node, scope="team", group_by="scope")["data"]
    assert {row["scope"] for row in below} == {"team", "search"}
    assert get(node, key="umbrella/app")["data"] == get(node, tenant="umbrella")["data"]
    one = get(node, group_by="model", model="fast,claude")["data"]
    assert {row["model"] for row in one} == {"fast", "claude"}
    days = get(node, step="day", since="48h")["data"]
    assert days and all(row["start"].endswith("T00:00:00Z") for row in days)
    lines = get(node, accept="application/jsonl", group_by="key,model")
    assert [json.loads(line) for line in lines.splitlines()] == whole
    table = list(csv.DictReader(io.StringIO(get(node, accept="text/csv", group_by="key,model"))))
    assert [row["cost.USD"] for row in table] == [row["cost"]["USD"] for row in whole]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"group_by": "colour"}, "group_by"),
        ({"step": "week"}, "step"),
        ({"from": "yesterday"}, "from"),
        ({"since": "1d", "from": "2026-01-01"}, "since"),
        ({"key": "nobody"}, "key"),
        ({"tenant": "nobody"}, "tenant"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"at_least": "x"}, "at_least"),
        ({"grup_by": "key"}, "grup_by"),
    ],
)
def test_what_cannot_be_asked_is_named(shared, query, path):
    answer = httpx.get(f"{shared.url}/api/v1/usage", params=query, headers=AUTHORIZED)
    assert answer.status_code == 400 and answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (problem["code"], problem["path"], problem["status"]) == ("invalid_parameter", path, 400)
    assert problem["request_id"] == answer.headers["x-request-id"]


@pytest.fixture(scope="module")
def shared(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("usage"), config(sim))
    yield node
    node.stop()


def test_only_administrators_are_let_in(shared):
    for headers in ({}, {"authorization": f"Bearer {APP}"}, {"authorization": "Bearer wrong"}):
        answer = httpx.get(f"{shared.url}/api/v1/usage", headers=headers)
        assert answer.status_code == 401 and answer.json()["code"] == "invalid_admin_token"


def test_the_lag_is_a_metric(shared):
    text = httpx.get(f"{shared.url}/metrics", headers=AUTHORIZED).text
    assert 'tollgate_projection_lag_events{projection="usage"}' in text and 'tollgate_projection_up{projection="usage"} 1' in text


def test_without_a_disk_it_works_as_well(sim, tmp_path):
    node = Node(tmp_path, config(sim), "--journal", "memory")
    traffic(node, 30)
    assert_as_told(node)
    node.stop()
