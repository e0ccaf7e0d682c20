"""Requests and tokens a minute and calls at once, at the key, its scopes and its tenant; they are counted over all reactors."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import HELLO, PRICE, Node

LEVELS = ["key", "scope", "tenant"]
LIMITS = {"rpm": {"rpm_limit": 5}, "tpm": {"tpm_limit": 200}, "parallel": {"max_parallel_requests": 2}}


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    """A tenant, a scope and a key for each limit at each level: `rpm-scope` is the key below a scope that is limited in requests."""
    config = {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "price": PRICE},
            {"name": "claude", "dialect": "anthropic", "base_url": sim.url, "price": PRICE},
        ],
        "tenants": [], "scopes": [], "keys": [],
    }
    for limit, fields in LIMITS.items():
        for level in LEVELS:
            name = f"{limit}-{level}"
            config["tenants"].append({"name": f"t-{name}"} | (fields if level == "tenant" else {}))
            config["scopes"].append({"name": f"s-{name}", "kind": "team", "parent": f"t-{name}"} | (fields if level == "scope" else {}))
            config["keys"].append({"name": f"k-{name}", "scope": f"s-{name}", "secret": secret(name)} | (fields if level == "key" else {}))
    node = Node(tmp_path_factory.mktemp("rates"), config)
    yield node
    node.stop()


def secret(name):
    return f"sk-{name}-00000001"


def ask(node, name, path="chat/completions", model="sim/m", **more):
    body = {"model": model, "messages": HELLO, "max_tokens": 10} | more
    return httpx.post(f"{node.url}/v1/{path}", json=body, headers={"x-api-key": secret(name)}, timeout=30)


def refused(answer, level, name, kind):
    error = answer.json()["error"]
    assert answer.status_code == 429 and error["code"] == "rate_limit_exceeded" and error["type"] == "rate_limit_error", answer.text
    assert error["tollgate"]["level"] == level and error["tollgate"]["name"].endswith(name)
    assert 1 <= int(answer.headers["retry-after"]) <= 60 and "x-should-retry" not in answer.headers
    return error


@pytest.mark.parametrize("level", LEVELS)
def test_requests_a_minute(node, level):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(node, f"rpm-{level}"), range(20)))
    passed = [answer for answer in answers if answer.status_code == 200]
    assert len(passed) == 5, "exact, also at once"
    assert sorted(int(answer.headers["x-ratelimit-remaining-requests"]) for answer in passed) == [0, 1, 2, 3, 4]
    for answer in answers:
        if answer not in passed:
            refused(answer, level, f"rpm-{level}", "requests")


@pytest.mark.parametrize("level", LEVELS)
def test_tokens_a_minute(node, level):
    # what was estimated gives way to what was used: each of these takes some 12 of 200 tokens, though 10 + 100 were its estimate
    for _ in range(4):
        assert ask(node, f"tpm-{level}", max_tokens=100, x_sim={"output": 3}).status_code == 200
    assert ask(node, f"tpm-{level}", max_tokens=110, x_sim={"output": "max"}).status_code == 200
    refused(ask(node, f"tpm-{level}", max_tokens=100), level, f"tpm-{level}", "tokens")
    never = ask(node, f"tpm-{level}", max_tokens=300)
    assert never.status_code == 429 and never.headers["x-should-retry"] == "false" and "retry-after" not in never.headers


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("stream", [False, True])
def test_calls_at_once(node, level, stream):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(node, f"parallel-{level}", stream=stream, x_sim={"latency_ms": 600}), range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
    refused(next(answer for answer in answers if answer.status_code == 429), level, f"parallel-{level}", "parallel")
    assert ask(node, f"parallel-{level}").status_code == 200, "they are over"


def test_refused_calls_and_failed_ones_give_their_place_back(node):
    for wish in ({"status": 400}, {"reset": True}, {"cut": 3}):
        ask(node, "parallel-key", stream=True, x_sim=wish)
    ask(node, "parallel-key", model="nothing")
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        assert [answer.status_code for answer in pool.map(lambda _: ask(node, "parallel-key"), range(2))] == [200, 200]
    assert time.monotonic() - start < 5


def test_counting_tokens_counts_for_rates_and_costs_nothing(node):
    config = node.apply({"keys": [{"name": "k-count", "scope": "t-rpm-key", "secret": secret("count"), "rpm_limit": 3, "budgets": [{"limit": "1 USD", "every": "day"}]}]})
    assert config.status_code == 200, config.text
    for _ in range(3):
        assert ask(node, "count", "messages/count_tokens", "claude/m").json()["input_tokens"] > 0
    answer = ask(node, "count", "messages/count_tokens", "claude/m")
    assert answer.status_code == 429 and answer.json()["type"] == "error" and answer.json()["error"]["type"] == "rate_limit_error"
    usage = node.usage(secret("count"))
    assert usage["calls"]["finished"] == 3 and usage["cost"]["USD"] == "0" and usage["tokens"]["input"] == 0
