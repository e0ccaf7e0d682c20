"""What a key is told of itself, and what operators are told of the node."""

import re
from datetime import datetime, timezone
from decimal import Decimal

import httpx
import pytest
from conftest import ADMIN, APP, HELLO, PRICE, Node, free_port

KEY = "sk-account-000001"


@pytest.fixture(scope="module")
def here(sim, tmp_path_factory):
    config = {
        "providers": [{"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1"}],
        "models": [{"name": "m", "targets": [{"provider": "sim", "model": "sim-m"}], "price": PRICE, "max_output_tokens": 100}],
        "budgets": [{"limit": "5000 USD", "every": "total"}],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "month"}]}, {"name": "other"}],
        "scopes": [
            {"name": "org", "kind": "organization", "parent": "acme", "budgets": [{"limit": "10000 tokens", "every": "week", "hard": False}]},
            {"name": "team", "kind": "team", "parent": "org", "budgets": [{"limit": "20 USD", "every": "hour", "only": {"models": ["m"]}}]},
        ],
        "keys": [
            {"name": "k", "scope": "team", "secret": KEY, "budgets": [{"limit": "100 requests", "every": "day"}]},
            {"name": "theirs", "scope": "other", "secret": APP},
        ],
    }
    node = Node(tmp_path_factory.mktemp("account"), config)
    yield node
    node.stop()


def get(node, path, key=KEY, **headers):
    return httpx.get(f"{node.url}{path}", headers={"authorization": f"Bearer {key}"} | headers)


def test_budgets_nearest_first(here):
    before = here.budgets(KEY)
    assert [(budget["level"], budget["name"], budget["unit"], budget["every"], budget["hard"]) for budget in before] == [
        ("key", "k", "requests", "day", True),
        ("scope", "team", "USD", "hour", True),
        ("scope", "org", "tokens", "week", False),
        ("tenant", "acme", "USD", "month", True),
    ], "the platform's is not shown"
    answer = httpx.post(f"{here.url}/v1/chat/completions", json={"model": "m", "messages": HELLO, "max_tokens": 7}, headers={"authorization": f"Bearer {KEY}"})
    record = here.record(answer.headers["x-request-id"])
    spent = {"USD": Decimal(record["cost"]), "tokens": Decimal(record["tokens"]), "requests": 1}
    for old, new in zip(before, here.budgets(KEY)):
        limit, settled, held, free = (Decimal(new[name]) for name in ("limit", "settled", "held", "free"))
        assert settled - Decimal(old["settled"]) == spent[new["unit"]] > 0 and limit == settled + held + free
        assert new["object"] == "budget" and new["id"].startswith("bud_") and new["overrun"] == "0" and new["open_calls"] == 0
        assert datetime.fromisoformat(new["resets_at"].replace("Z", "+00:00")) > datetime.now(timezone.utc)
    assert get(here, "/budget").json()["data"] == here.budgets(KEY)


def test_usage_is_the_keys_own(here):
    before = here.usage(KEY)
    answer = httpx.post(f"{here.url}/v1/chat/completions", json={"model": "m", "messages": HELLO, "max_tokens": 7}, headers={"x-api-key": KEY})
    record = here.record(answer.headers["x-request-id"])
    after = here.usage(KEY)
    assert after["object"] == "usage" and after["key"] == "k" and after["calls"]["finished"] == before["calls"]["finished"] + 1 and after["calls"]["open"] == 0
    for name in ("input", "output", "reasoning", "cache_read"):
        assert after["tokens"][name] - before["tokens"][name] == record["usage"][name]
    assert Decimal(after["cost"]["USD"]) - Decimal(before["cost"]["USD"]) == Decimal(record["cost"]) > 0
    assert get(here, "/usage").json() == here.usage(KEY)
    theirs = here.usage(APP)
    assert theirs["calls"] == {"open": 0, "finished": 0, "orphaned": 0, "released": 0} and theirs["cost"]["USD"] == "0"
    assert here.budgets(APP) == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/usage", "/v1/budget", "/models", "/v1/models/m"])
def test_who_is_not_known_is_told_nothing(here, path):
    for headers in ({}, {"authorization": "Bearer sk-nobody-000001"}, {"authorization": "Basic c2s6"}):
        answer = httpx.get(f"{here.url}{path}", headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key" and answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-request-id"].startswith("call_")
    anthropics = httpx.get(f"{here.url}{path}", headers={"anthropic-version": "2023-06-01"}).json()
    assert anthropics["type"] == "error" and anthropics["error"]["type"] == "authentication_error"


def test_models_in_the_form_of_who_asks(here):
    assert [model["id"] for model in get(here, "/v1/models").json()["data"]] == ["m"]
    assert get(here, "/models").json() == get(here, "/v1/models").json()
    listed = get(here, "/v1/models", **{"anthropic-version": "2023-06-01"}).json()
    assert listed["data"][0]["type"] == "model" and listed["has_more"] is False and listed["first_id"] == "m"


def test_health(here):
    for path in ("/livez", "/readyz", "/health/liveliness", "/health/readiness"):
        answer = httpx.get(f"{here.url}{path}")
        assert answer.status_code == 200 and answer.json() == {"status": "ok"}


def test_metrics_hold_no_word_of_a_caller(here):
    strange = "zzz-unheard-of"
    headers = {"x-api-key": KEY, "x-tollgate-tags": f"{strange}=1", "user-agent": strange}
    bodies = [{"model": strange}, {"model": f"sim/{strange}", "messages": HELLO, "max_tokens": 1}, {"model": "m", "user": strange, "messages": HELLO, "max_tokens": 1}]
    for body in bodies:
        httpx.post(f"{here.url}/v1/chat/completions", json=body, headers=headers)
    httpx.post(f"{here.url}/v1/{strange}", headers=headers)
    text = httpx.get(f"{here.url}/metrics").text
    assert strange not in text and KEY not in text and not re.search(r"call_[0-9a-z]{20}", text)
    calls = re.findall(r'^tollgate_calls_total\{endpoint="(\w+)",outcome="(\w+)"\} \d+$', text, re.M)
    assert {outcome for _, outcome in calls} <= {"ok", "failed", "aborted", "refused", "released"} and ("chat_completions", "ok") in calls
    assert len(calls) <= 6 * 5


def test_metrics_count(here):
    def figure(name):
        return float(re.search(rf"^{re.escape(name)} ([\d.e+]+)$", httpx.get(f"{here.url}/metrics").text, re.M)[1])

    name = 'tollgate_calls_total{endpoint="chat_completions",outcome="ok"}'
    before = figure(name)
    httpx.post(f"{here.url}/v1/chat/completions", json={"model": "m", "messages": HELLO, "max_tokens": 7}, headers={"x-api-key": KEY})
    assert figure(name) == before + 1 and figure("tollgate_calls_in_flight") == 0


def test_administration_on_an_address_of_its_own(sim, tmp_path):
    admin = f"127.0.0.1:{free_port()}"
    node = Node(tmp_path, {"tenants": [{"name": "acme"}], "keys": [{"name": "k", "scope": "acme", "secret": KEY}]}, "--admin-listen", admin)
    token = {"authorization": f"Bearer {ADMIN}"}
    try:
        for path in ("/metrics", "/api/v1/events"):
            assert httpx.get(f"{node.url}{path}", headers=token).status_code == 404 and httpx.get(f"http://{admin}{path}", headers=token).status_code == 200
        for url, status in ((node.url, 200), (f"http://{admin}", 404)):
            assert httpx.get(f"{url}/v1/models", headers={"x-api-key": KEY}).status_code == status
            assert httpx.get(f"{url}/readyz").status_code == 200
        assert httpx.post(f"http://{admin}/v1/chat/completions", json={}, headers={"x-api-key": KEY}).status_code == 404
    finally:
        node.stop()
