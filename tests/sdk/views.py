"""Asking the views of a node, and traffic that gives them something to say."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
from conftest import ADMIN, APP, HELLO, PRICE, base_config, wait_until

OTHER, SEARCH = "sk-other-0000001", "sk-search-000001"
USERS = [f"user-{number}@example.com" for number in range(4)]
AUTHORIZED = {"authorization": f"Bearer {ADMIN}"}


def config(sim):
    """Two tenants; a team below a team."""
    config = base_config(sim)
    config["tenants"].append({"name": "umbrella", "budgets": [{"limit": "100000 tokens", "every": "hour"}]})
    config["providers"].append({"name": "bad", "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-sim-status": "400"}})
    config["models"].append({"name": "bad", "targets": [{"provider": "bad", "model": "sim-bad"}], "price": PRICE, "max_output_tokens": 16})
    config["scopes"].append({"name": "search", "kind": "team", "parent": "team"})
    config["keys"] += [{"name": "search", "scope": "search", "secret": SEARCH}, {"name": "app", "scope": "umbrella", "secret": OTHER}]
    return config


def get(node, path="usage", code=200, accept="application/json", **query):
    answer = httpx.get(f"{node.url}/api/v1/{path}", params=query, headers={**AUTHORIZED, "accept": accept}, timeout=30)
    assert answer.status_code == code, answer.text
    return answer.json() if answer.headers["content-type"].endswith("json") else answer.text


def assert_rebuilt_alike(node, *names):
    """Each view, built anew, has the same digest. An alert that the node tells meanwhile moves a view on: then another round says."""
    for _ in range(5):
        before = {name: get(node, f"projections/{name}", digest="true") for name in names}
        for name in names:
            assert httpx.post(f"{node.url}/api/v1/projections/{name}/rebuild", headers=AUTHORIZED).status_code == 202
        after = {name: wait_until(lambda name=name: (found := get(node, f"projections/{name}", digest="true"))["rebuilds"] == before[name]["rebuilds"] + 1 and found) for name in names}
        alike = [name for name in names if before[name]["digest"]["at"] == after[name]["digest"]["at"]]
        assert all(before[name]["digest"] == after[name]["digest"] for name in alike)
        if len(alike) == len(names):
            return
    raise AssertionError("a view moved on in each of five rounds")


def every(node, path, **query):
    """All rows of a list, page by page."""
    rows, cursor = [], {}
    while True:
        page = get(node, path, **query, **cursor)
        assert page["object"] == "list" and page["has_more"] == bool(page["next_cursor"])
        rows += page["data"]
        if not page["has_more"]:
            return rows
        cursor = {"cursor": page["next_cursor"]}


def traffic(node, calls=60):
    """Calls of all kinds: whole and streamed, of three keys, failing over, refused upstream, with tags, users and ids."""
    models = ["fast", "claude", "fallback", "bad", "missing"]

    def one(number):
        client = openai.OpenAI(api_key=(APP, OTHER, SEARCH)[number % 3], base_url=f"{node.url}/v1", max_retries=0, timeout=30)
        model = models[number % len(models)]
        tags = {"x-tollgate-tags": f"app=a{number % 4},env=test"} if number % 2 else {}
        stream = number % 4 == 3
        user = {"user": USERS[number % 4]} if number % 5 == 0 else {}
        if number % 7 == 1:
            tags["x-tollgate-user"] = USERS[number % 3]
        if number % 6 == 2:
            tags["x-request-id"] = f"ours-{uuid.uuid4()}"
        if number % 6 == 3:
            tags["traceparent"] = f"00-{uuid.uuid4().hex}-b7ad6b7169203331-01"
        try:
            answer = client.chat.completions.create(model=model, messages=HELLO, stream=stream, extra_headers=tags, **user)
            if stream:
                list(answer)
        except openai.APIStatusError:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(calls)))
