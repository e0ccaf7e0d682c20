"""Usage by any dimension, from a projection that follows the history: against an independent fold, through kill -9 and rebuilding."""

import csv
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import openai
import pytest
from books import Books
from conftest import ADMIN, APP, HELLO, Node, base_config, wait_until

OTHER = "sk-other-0000001"
AUTHORIZED = {"authorization": f"Bearer {ADMIN}"}


def config(sim):
    config = base_config(sim)
    config["tenants"].append({"name": "umbrella"})
    config["scopes"].append({"name": "search", "kind": "team", "parent": "team"})
    config["keys"] += [{"name": "search", "scope": "search", "secret": "sk-search-000001"}, {"name": "app", "scope": "umbrella", "secret": OTHER}]
    return config


@pytest.fixture
def node(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    yield node
    node.stop()


def get(node, path="usage", status=200, accept="application/json", **query):
    answer = httpx.get(f"{node.url}/api/v1/{path}", params=query, headers={**AUTHORIZED, "accept": accept})
    assert answer.status_code == status, answer.text
    return answer.json() if "json" in answer.headers["content-type"] and "jsonl" not in answer.headers["content-type"] else answer.text


def traffic(node, calls=60):
    """Calls of all kinds: whole and streamed, of three keys, failing over, refused upstream, with tags."""
    kinds = [("fast", {}), ("claude", {}), ("fallback", {}), ("fast", {"x-sim-status": "400"}), ("missing", {})]

    def one(number):
        key = (APP, OTHER, "sk-search-000001")[number % 3]
        client = openai.OpenAI(api_key=key, base_url=f"{node.url}/v1", max_retries=0, timeout=30)
        model, _ = kinds[number % len(kinds)]
        tags = {"x-tollgate-tags": f"app=a{number % 4},env=test"} if number % 2 else {}
        try:
            answer = client.chat.completions.create(model=model, messages=HELLO, stream=number % 4 == 3, extra_headers=tags)
            if number % 4 == 3:
                list(answer)
        except openai.APIStatusError:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(calls)))


DIMENSIONS = {
    "tenant": lambda call: call.tenant,
    "key_id": lambda call: call.key,
    "scope_id": lambda call: call.scope,
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


def test_a_killed_node_counts_nothing_twice(node):
    for _ in range(3):
        traffic(node, 40)
        node.kill()
        node.start()
    assert_as_told(node)


def test_a_rebuilt_projection_has_the_same_rows(node):
    traffic(node)
    position = f"0:{node.last()}"
    get(node, at_least=position)
    before = get(node, "projections/usage", digest="true")
    assert before["status"] == "following" and before["digest"]["at"] == position
    answer = httpx.post(f"{node.url}/api/v1/projections/usage/rebuild", headers=AUTHORIZED)
    assert answer.status_code == 202
    after = wait_until(lambda: (found := get(node, "projections/usage", digest="true"))["rebuilds"] == 1 and found)
    assert after["digest"] == before["digest"]
    node.kill()
    node.start()
    get(node, at_least=f"0:{node.last()}")
    assert_as_told(node)


def test_rows_of_another_history_are_dropped(node, sim, tmp_path):
    traffic(node, 20)
    get(node, at_least=f"0:{node.last()}")
    node.stop()
    other = Node(tmp_path_factory_folder(tmp_path), config(sim))
    other.stop()
    for file in (other.folder / "data/projections").iterdir():
        file.write_bytes((node.folder / "data/projections" / file.name).read_bytes())
    other.start()
    traffic(other, 40)
    assert_as_told(other)
    other.stop()


def tmp_path_factory_folder(folder):
    (folder / "other").mkdir()
    return folder / "other"


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
    pages, cursor = [], None
    while True:
        page = get(node, group_by="key,model", limit=2, **({"cursor": cursor} if cursor else {}))
        pages += page["data"]
        cursor = page["next_cursor"]
        assert page["has_more"] == bool(cursor)
        if not cursor:
            break
    assert pages == whole
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
