"""Tokens of a tenant write scopes, keys and tokens of that tenant: nothing of another's changes, is named, or can be guessed."""

import json
import random
import re

import pytest
from conftest import Node
from test_administration import call
from test_tokens import ask, denials, make, marks
from views import config, get

MINE = {"scope": ["team", "search", "acme/team", "acme/", "acme"], "key": ["app", "narrow", "acme/app"]}
# what is another's, and what there is not: alike in all but what was asked
FOREIGN = [("umbrella-lab", "umbrella-lxb"), ("umbrella/umbrella-lab", "umbrelxa/umbrella-lab"), ("umbrella/", "umbrelxa/"), ("umbrella", "umbrelxa"), ("umbrella/app", "umbrelxa/app")]


def with_umbrella(sim):
    file = config(sim)
    file["providers"].append({"name": "umbrella-llm", "tenant": "umbrella", "dialect": "openai", "base_url": f"{sim.url}/v1"})
    file["models"].append({"name": "umbrella-only", "targets": [{"provider": "umbrella-llm", "model": "x"}], "price": {"input_per_mtok": "1", "output_per_mtok": "1"}})
    file["scopes"] += [{"name": "umbrella-lab", "kind": "team", "parent": "umbrella"}, {"name": "team", "kind": "team", "parent": "umbrella"}]
    file["scopes"] = [{**scope, "parent": "acme/team"} if scope["parent"] == "team" else scope for scope in file["scopes"]]
    file["keys"] = [{**key, "scope": "acme/team"} if key["scope"] == "team" else key for key in file["keys"]]
    file["keys"].append({"name": "umbrella-bot", "scope": "umbrella-lab", "secret": "sk-umbrella-bot-1"})
    return file


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("tenants"), with_umbrella(sim))
    yield node
    node.stop()


@pytest.fixture(scope="module")
def tokens(node):
    return {role: make(node, f"{role}-acme", role, tenant="acme")["secret"] for role in ("owner", "admin", "operator", "auditor")}


def test_an_administrator_of_a_tenant_runs_it(node, tokens):
    admin = tokens["admin"]
    made = ask(node, "scopes/lab", admin, "PUT", json={"kind": "team", "parent": "acme", "budgets": [{"limit": "1 USD", "every": "day"}]})
    assert made.status_code == 201 and made.json()["tenant"] == "acme" and made.headers["etag"]
    key = ask(node, "keys/bench", admin, "PUT", json={"scope": "lab", "models": ["fast"]})
    assert key.status_code == 201 and call(node, key.json()["secret"]).choices
    moved = ask(node, "keys/bench", admin, "PUT", json={**key.json()["spec"], "scope": "team", "budgets": [{"limit": "9 requests", "every": "day"}]})
    assert moved.status_code == 200, moved.text
    assert moved.json()["spec"]["scope"] == "team", "the name is clear to whoever does not know the other tenant"
    turned = ask(node, "keys/bench/rotate", admin, "POST", json={"overlap": "1h"})
    assert call(node, turned.json()["secret"]).choices and call(node, key.json()["secret"]).choices
    assert ask(node, "keys/bench/block", tokens["operator"], "POST").json()["status"] == "blocked"
    assert ask(node, "keys/bench", tokens["operator"], "DELETE").json()["code"] == "role_not_allowed"
    ask(node, "keys/hanging", admin, "PUT", json={"scope": "lab"})
    in_use = ask(node, "scopes/lab", admin, "DELETE")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "in_use") and "hanging" in in_use.json()["detail"]
    for path in ("keys/hanging", "keys/bench", "scopes/lab"):
        assert ask(node, path, admin, "DELETE").json()["deleted"] is True
    budgets = [row for row in get(node, "budgets", limit=1000)["data"] if row["name"] in ("lab", "bench")]
    assert budgets == [], "what hung on them is closed"
    helper = make(node, "helper", "operator", by=tokens["owner"])
    assert helper["tenant"] == "acme" and ask(node, f"tokens/{helper['id']}", tokens["owner"], "DELETE").json()["status"] == "revoked"


def test_what_is_the_platforms_stays_closed_and_is_in_the_audit(node, sim):
    writes = [
        ("PUT", "tenants/acme", {"rpm_limit": 1_000_000}),
        ("DELETE", "tenants/acme", None),
        ("PUT", "providers/mine", {"dialect": "openai", "base_url": sim.url}),
        ("DELETE", "providers/umbrella-llm", None),
        ("PUT", "models/fast", {"targets": [{"provider": "sim", "model": "x"}]}),
        ("PUT", "platform", {"budgets": []}),
        ("POST", "apply", {"tenants": []}),
        ("POST", "projections/audit/rebuild", None),
    ]
    for number, (method, path, body) in enumerate(writes):
        token = make(node, f"eager-{number}", "owner", tenant="acme")["secret"]
        answer = ask(node, path, token, method, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "platform_only"), answer.text
        assert [row["after"]["what"] for row in denials(node, f"eager-{number}")] == [f"{method} /api/v1/{path}"]
    assert ask(node, "platform", token).json()["code"] == "platform_only"


def test_anothers_and_what_there_is_not_are_the_same(node, tokens):
    """No status, code or text tells them apart."""
    tries = [
        ("PUT", "keys/{}", {"scope": "team"}),
        ("DELETE", "keys/{}", None),
        ("DELETE", "scopes/{}", None),
        ("POST", "keys/{}/rotate", None),
        ("POST", "keys/{}/block", None),
        ("PUT", "keys/probe", {"scope": "{}"}),
        ("PUT", "scopes/probe", {"kind": "team", "parent": "{}"}),
        ("PUT", "keys/probe", {"scope": "team", "models": ["{}"]}),
        ("PUT", "scopes/probe", {"kind": "team", "parent": "acme", "budgets": [{"limit": "1 USD", "every": "day", "only": {"providers": ["{}"]}}]}),
        ("PUT", "scopes/probe", {"kind": "team", "parent": "acme", "budgets": [{"limit": "1 USD", "every": "day", "only": {"models": ["{}"]}}]}),
        ("GET", "keys/{}", None),
        ("GET", "scopes/{}", None),
        ("GET", "prices/{}", None),
    ]
    pairs = [*FOREIGN, ("umbrella-bot", "umbrella-bxt"), ("umbrella-only", "umbrella-oxly"), ("umbrella-llm", "umbrella-lxm"), ("umbrella-llm/x", "umbrella-lxm/x")]
    for (method, path, body), names in ((one, pair) for one in tries for pair in pairs):
        said = []
        for name in names:
            filled = json.loads(json.dumps(body).replace("{}", name))
            answer = ask(node, path.format(name.replace("/", "%2F")), tokens["admin"], method, json=filled)
            text = re.sub(r'"request_id":"[^"]*"', "", answer.text)
            for part in sorted({name, *name.split("/")} - {""}, key=len, reverse=True):
                text = text.replace(part, "NAME")
            said.append((answer.status_code, text if answer.status_code >= 400 else ""))
            if answer.status_code < 300 and method == "PUT":  # a name that is free for this tenant
                assert answer.json()["tenant"] == "acme"
                ask(node, f"{path.split('/')[0]}/{answer.json()['id']}", tokens["admin"], "DELETE")
        assert said[0] == said[1], f"{method} {path} {names}"


def test_what_is_not_there_for_a_tenant_is_in_the_audit(node):
    for name in ("umbrella-bot", "umbrella-bxt"):
        prober = make(node, f"prober-{name}", "admin", tenant="acme")["secret"]
        assert ask(node, f"keys/{name}/rotate", prober, "POST").status_code == 404
        assert [row["after"]["what"] for row in denials(node, f"prober-{name}")] == [f"POST /api/v1/keys/{name}/rotate"]


def test_a_secret_of_anothers_is_taken_and_no_more_is_said(node, tokens):
    bodies = [{"scope": "team", "secret": secret} for secret in ("sk-umbrella-bot-1", "sk-narrow-000001")]
    said = [ask(node, "keys/thief", tokens["admin"], "PUT", json=body) for body in bodies]
    assert [answer.status_code for answer in said] == [400, 400]
    assert len({answer.json()["detail"] for answer in said}) == 1 and "umbrella" not in said[0].text


def test_random_writes_touch_nothing_of_anothers(node, tokens):
    chance = random.Random(7)
    foreign = marks(node, "umbrella") | {"umbrella-lab", "umbrella-bot", "umbrella-llm", "umbrella-only"}
    words = [*sum(MINE.values(), []), *(name for pair in FOREIGN for name in pair), "fresh", "fresh-2", *sorted(mark for mark in foreign if "_" in mark)[:8]]

    def spec(kind):
        body = {"scope" if kind == "keys" else "parent": chance.choice(words)}
        if kind == "scopes":
            body["kind"] = chance.choice(["team", "user"])
        if chance.random() < 0.3:
            body["budgets"] = [{"limit": "5 USD", "every": "day", "only": {chance.choice(["models", "providers"]): [chance.choice(["fast", "sim", "umbrella-only", "umbrella-llm"])]}}]
        if chance.random() < 0.3 and kind == "keys":
            body["models"] = [chance.choice(["fast", "umbrella-only", "umbrella-llm/x", "*"])]
        if chance.random() < 0.2:
            body["rpm_limit"] = chance.randrange(1, 1000)
        return body

    before, start, changed = [row for row in get(node, "keys", limit=1000)["data"] if row["tenant"] == "umbrella"], node.last(), 0
    for _ in range(300):
        kind = chance.choice(["keys", "scopes"])
        name = chance.choice(words).replace("/", "%2F")
        method, path, body = chance.choice([("PUT", f"{kind}/{name}", spec(kind)), ("PUT", f"{kind}/{name}", spec(kind)), ("DELETE", f"{kind}/{name}", None), ("POST", f"keys/{name}/{chance.choice(['rotate', 'block', 'unblock'])}", None)])
        answer = ask(node, path, tokens[chance.choice(["owner", "admin"])], method, json=body)
        assert answer.status_code < 500, answer.text
        changed += answer.status_code < 300
        if answer.status_code < 300 and method == "PUT":
            foreign -= {answer.json()["name"]}  # a name may be had by both
        said = answer.text
        for asked in sorted([*re.findall(r"[\w/-]+", str(body)), *name.split("%2F"), name.replace("%2F", "/")], key=len, reverse=True):
            said = said.replace(asked, "")
        assert not set(re.findall(r"[A-Za-z0-9_-]+", said)) & foreign, f"{method} {path} {body}: {answer.text}"
    assert changed > 30
    nouns = ("key", "scope", "budget", "policy", "tenant", "provider", "model")
    made = [event for event in node.events(start) if event["type"].split(".")[1] in nouns]
    assert {event["tenant"] for event in made if event.get("tenant")} == {"acme"}
    # a new key's budgets are there before it: nobody's yet
    assert {event["type"] for event in made if not event.get("tenant")} <= {"tollgate.budget.opened.v1"}
    assert [row for row in get(node, "keys", limit=1000)["data"] if row["tenant"] == "umbrella"] == before
