"""Administrators' tokens: roles, tenants, expiry. A tenant's token never sees a byte of another's."""

import itertools
import json
import os
import random
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import ADMIN, APP, BINARY, Node
from views import OTHER, config, get, traffic

ROLES = ["owner", "admin", "operator", "auditor", "billing"]
# route, method, the least role that may, and whether it is for tokens of the platform alone
ROUTES = [
    ("usage", "GET", "billing", False),
    ("budgets", "GET", "billing", False),
    ("budgets/bud_1/windows", "GET", "billing", False),
    ("capabilities", "GET", "billing", False),
    ("ledger/proof", "GET", "billing", True),
    ("calls", "GET", "auditor", False),
    ("calls/call_00000000000000000000000000", "GET", "auditor", False),
    ("audit", "GET", "auditor", False),
    ("events", "GET", "auditor", False),
    ("tokens", "GET", "auditor", False),
    ("projections", "GET", "auditor", True),
    ("projections/usage", "GET", "auditor", True),
    ("providers/health", "GET", "auditor", True),
    ("apply?dry_run", "POST", "auditor", True),
    ("projections/audit/rebuild", "POST", "operator", True),
    ("export", "GET", "admin", True),
    ("apply", "POST", "admin", True),
    ("platform", "GET", "auditor", True),
    ("platform", "PUT", "admin", True),
    ("prices", "GET", "auditor", False),
    ("providers/nobody/test", "POST", "operator", False),
    ("scopes/nobody", "DELETE", "admin", False),
    ("keys/nobody/rotate", "POST", "admin", False),
    ("tenants/nobody", "DELETE", "admin", True),
    ("models/nobody", "PUT", "admin", True),
    ("tokens", "POST", "owner", False),
    ("tokens/tok_99999", "DELETE", "owner", False),
]


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("tokens"), config(sim))
    traffic(node, 40)
    yield node
    node.stop()


def ask(node, path, token, method="GET", **more):
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.request(method, f"{node.url}/api/v1/{path}", headers=headers, timeout=30, **more)


def make(node, name, role, by=ADMIN, code=201, **more):
    answer = ask(node, "tokens", by, "POST", json={"name": name, "role": role, **more})
    assert answer.status_code == code, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def tokens(node):
    """A token of each role, of the platform and of each tenant."""
    return {(role, tenant): make(node, f"{role}-{tenant}", role, **({"tenant": tenant} if tenant else {}))["secret"] for role in ROLES for tenant in (None, "acme", "umbrella")}


def test_every_route_takes_the_roles_that_it_says(node, tokens):
    for (path, method, least, platform), role, tenant in itertools.product(ROUTES, ROLES, (None, "umbrella")):
        answer = ask(node, path, tokens[role, tenant], method)
        may = ROLES.index(role) <= ROLES.index(least)
        where = f"{method} {path} by {role} of {tenant}: {answer.status_code} {answer.text[:200]}"
        if not may:
            assert (answer.status_code, answer.json()["code"]) == (403, "role_not_allowed"), where
        elif platform and tenant:
            assert (answer.status_code, answer.json()["code"]) == (403, "platform_only"), where
        else:
            assert answer.status_code not in (401, 403), where


def test_nobody_else_is_let_in(node):
    for (path, method, _, _), token in itertools.product(ROUTES, (None, "", "wrong", APP, OTHER)):
        answer = ask(node, path, token, method)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_admin_token"), f"{method} {path}"
        assert answer.headers["content-type"] == "application/problem+json"


def marks(node, tenant):
    """Texts that only belong to one tenant: its name, and ids of what is its own."""
    found = {tenant}
    for event in node.events():
        if event.get("tenant") == tenant and not event["subject"].startswith("policy"):
            found.add(event["subject"])
    return found


def test_a_tenants_token_never_names_what_is_anothers(node, tokens):
    """Any question, any parameters: no answer has a mark of the other tenant, and of nobody's budgets or providers' figures."""
    chance = random.Random(42)
    names = ["acme", "umbrella", "team", "search", "app", "acme/app", "umbrella/app", "sim", "fast", "env=test", "bud_1", "bud_2", "call_0", "key_19", "scope_17", "ten_1"]
    parameters = ["tenant", "scope", "key", "model", "provider", "tag", "group_by", "step", "status", "order", "limit", "cursor", "subject", "kind", "closed", "from", "at_least"]
    values = [*names, "tenant", "scope,key", "model,tenant", "day", "ok", "failed", "time", "-time", "1", "5", "true", "0:3", "2026-01-01", "row_1"]
    every = {tenant: marks(node, tenant) for tenant in ("acme", "umbrella")}
    ids = sorted(every["acme"] | every["umbrella"])
    seen = 0
    for round in range(400):
        own = chance.choice(["acme", "umbrella"])
        foreign = every["umbrella" if own == "acme" else "acme"]
        path = chance.choice(["usage", "calls", "calls", "budgets", "audit", "events", "tokens", "calls/{id}", "budgets/{id}/windows"])
        id = chance.choice(ids)
        query = {chance.choice(parameters): chance.choice(values) for _ in range(chance.randrange(4))} if round % 5 else {}
        answer = ask(node, path.format(id=id), tokens[chance.choice(ROLES[:4]), own], params=query)
        said = answer.text
        for asked in sorted([*query.values(), id], key=len, reverse=True):  # what was asked may come back in an error
            said = said.replace(asked, "") if answer.status_code >= 400 else said
        words = set(re.findall(r"[A-Za-z0-9_]+", said))
        assert not words & foreign, f"{answer.url} by a token of {own}: {sorted(words & foreign)[:5]}"
        seen += answer.status_code == 200
    assert seen > 100


def test_platform_budgets_and_others_calls_are_not_there(node, tokens):
    call = get(node, "calls", tenant="acme", limit=1)["data"][0]["id"]
    assert ask(node, f"calls/{call}", tokens["auditor", "acme"]).status_code == 200
    assert ask(node, f"calls/{call}", tokens["auditor", "umbrella"]).status_code == 404
    budget = get(node, "budgets", tenant="acme")["data"][0]["id"]
    assert ask(node, f"budgets/{budget}/windows", tokens["billing", "umbrella"]).status_code == 404
    assert ask(node, "usage?tenant=acme", tokens["billing", "umbrella"]).status_code == 400
    both = get(node, "usage", group_by="tenant")["data"]
    own = ask(node, "usage?group_by=tenant", tokens["billing", "acme"]).json()["data"]
    assert own == [row for row in both if row["tenant"] == "acme"]


def denials(node, name):
    rows = get(node, "audit", kind="token", limit=10000)["data"]
    return [row for row in rows if row["type"] == "tollgate.token.denied.v1" and row["by"].get("name") == name]


def test_a_refused_change_and_a_made_one_stand_in_the_audit(node, tokens):
    curious = make(node, "curious", "auditor")["secret"]
    for _ in range(5):
        assert ask(node, "apply", curious, "POST", content="tenants: []").status_code == 403
    found = denials(node, "curious")
    assert [row["after"]["what"] for row in found] == ["POST /api/v1/apply"], "not more often than every ten seconds"
    changed = config_with_limit(node)
    applied = ask(node, "apply", tokens["admin", None], "POST", json=changed)
    rows = get(node, "audit", kind="tenant", limit=1, at_least=applied.json()["position"])["data"]
    assert rows[0]["by"]["name"] == "admin-None" and rows[0]["after"]["rates"]["rpm_limit"] == 12345


def config_with_limit(node):
    config = json.loads(node.file.read_text())
    config["tenants"][0]["rpm_limit"] = 12345
    return config


def test_tokens_end(node):
    made = make(node, "short", "auditor")
    assert ask(node, "calls", made["secret"]).status_code == 200
    assert ask(node, f"tokens/{made['id']}", ADMIN, "DELETE").json()["status"] == "revoked"
    assert ask(node, "calls", made["secret"]).status_code == 401
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    brief = make(node, "brief", "auditor", expires_at=soon)
    assert ask(node, "calls", brief["secret"]).status_code == 200
    time.sleep(2.5)
    assert ask(node, "calls", brief["secret"]).status_code == 401
    listed = {row["name"]: row["status"] for row in get(node, "tokens", limit=1000)["data"]}
    assert (listed["short"], listed["brief"]) == ("revoked", "expired")


def test_an_owner_of_a_tenant_makes_tokens_of_that_tenant_only(node, tokens):
    owner = tokens["owner", "acme"]
    made = make(node, "helper", "admin", by=owner)
    assert made["tenant"] == "acme"
    assert make(node, "spy", "auditor", by=owner, tenant="umbrella", code=400)["path"] == "tenant"
    theirs = [row for row in get(node, "tokens", limit=1000)["data"] if row["tenant"] == "umbrella"][0]["id"]
    assert ask(node, f"tokens/{theirs}", owner, "DELETE").status_code == 404
    assert {row["tenant"] for row in ask(node, "tokens", owner).json()["data"]} == {"acme"}


@pytest.mark.parametrize(
    ("body", "path"),
    [({"name": "x", "role": "king"}, "role"), ({"name": "", "role": "admin"}, "name"), ({"name": "x", "role": "admin", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"name": "x", "role": "admin", "expires_at": "soon"}, "expires_at")],
)
def test_what_cannot_be_a_token(node, body, path):
    answer = ask(node, "tokens", ADMIN, "POST", json=body)
    assert (answer.status_code, answer.json()["path"]) == (400, path)


def test_secrets_are_nowhere(node, tokens):
    text = json.dumps(node.events()) + json.dumps(get(node, "audit", limit=10000)) + json.dumps(get(node, "tokens", limit=1000))
    assert all(secret not in text for secret in tokens.values())
    stored = b"".join(path.read_bytes() for path in (node.folder / "data").rglob("*") if path.is_file())
    assert all(secret.encode() not in stored for secret in tokens.values())


def test_tokens_survive_a_kill_and_the_command_line_makes_them(node, tokens):
    node.kill()
    node.start()
    assert ask(node, "usage", tokens["billing", "acme"]).status_code == 200
    environment = {**os.environ, "TOLLGATE_TOKEN": ADMIN, "TOLLGATE_URL": node.url}

    def run(*arguments):
        return subprocess.run([BINARY, "token", *arguments], env=environment, capture_output=True, text=True, timeout=30, check=True).stdout

    secret = run("create", "finance", "--role", "billing", "--tenant", "acme", "--expires", "30d").strip()
    assert ask(node, "budgets", secret).status_code == 200 and ask(node, "calls", secret).status_code == 403
    assert re.search(r"tok_\d+\s+finance\s+billing\s+acme\s+live", run("list"))
    assert run("revoke", "finance") == "finance is revoked\n"
    assert ask(node, "budgets", secret).status_code == 401


def made(node, role, tenant):
    answer = ask(node, "tokens", ADMIN, "POST", json={"name": f"{role}-{tenant}-{time.time_ns()}", "role": role, "tenant": tenant})
    assert answer.status_code == 201, answer.text
    return answer.json()["secret"]


def test_what_all_tenants_come_to_is_shown_to_none(node):
    """A budget of the platform covers every call: its figures are sums over tenants."""
    before = get(node, "platform")["spec"]
    assert ask(node, "platform", ADMIN, "PUT", json={**before, "budgets": [{"limit": "90000 USD", "every": "month"}]}).status_code == 200
    traffic(node, 8)
    auditor = made(node, "auditor", "acme")
    calls = ask(node, "calls?limit=8&status=ok", auditor).json()["data"]
    levels = {id: {budget["level"] for budget in ask(node, f"calls/{id}/explain", auditor).json()["explanation"]["budgets"]} for id in (call["id"] for call in calls)}
    assert calls and all("platform" not in found for found in levels.values()), levels
    seen = ask(node, f"calls/{calls[0]['id']}/explain", ADMIN).json()["explanation"]["budgets"]
    assert "platform" in {budget["level"] for budget in seen}
    assert ask(node, "platform", ADMIN, "PUT", json=before).status_code == 200


def test_providers_of_others_are_none(node):
    own = {"dialect": "openai", "base_url": "https://own.example/v1", "tenant": "umbrella"}
    provider = ask(node, "providers/theirs", ADMIN, "PUT", json=own).json()["id"]
    billing, umbrellas = made(node, "billing", "acme"), made(node, "billing", "umbrella")
    for name in ("theirs", provider):
        for path in (f"usage?provider={name}", "usage?provider=nobody"):
            answer = ask(node, path, billing)
            assert answer.status_code == 400 and answer.json()["detail"].startswith("there is no provider"), answer.text
        assert ask(node, f"usage?provider={name}", umbrellas).status_code == 200
    assert ask(node, "providers/theirs", ADMIN, "DELETE").status_code == 200


def test_events_say_where_to_go_on(node):
    """A page of others' events is empty, and no end."""
    auditor, position, seen = made(node, "auditor", "umbrella"), "0:0", []
    while position:
        answer = ask(node, f"events?from={position}&limit=7", auditor)
        assert answer.status_code == 200, answer.text
        seen += [json.loads(line)["id"] for line in answer.text.splitlines()]
        position = answer.headers.get("x-tollgate-next-cursor")
    whole = [json.loads(line)["id"] for line in ask(node, "events?limit=10000", auditor).text.splitlines()]
    assert whole and seen[: len(whole)] == whole


def test_waiting_questions_keep_nobody_waiting(node):
    billing = made(node, "billing", "acme")
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(ask, node, "usage?at_least=0:99999999", billing) for _ in range(12)]
        time.sleep(0.5)
        assert ask(node, "usage", ADMIN).status_code == 200 and not any(question.done() for question in waiting)
        assert {question.result().status_code for question in waiting} == {503}


def test_tags_count_once(node):
    client = httpx.post(
        f"{node.url}/v1/chat/completions",
        headers={"authorization": f"Bearer {APP}", "x-tollgate-tags": "a=1,b=2,b=2"},
        json={"model": "fast", "max_tokens": 4, "messages": [{"role": "user", "content": "x"}]},
        timeout=30,
    )
    assert client.status_code == 200
    position = f"at_least=0:{node.last()}"
    for tag in ("a=1", "b=2"):
        assert ask(node, f"usage?tag={tag}&{position}", ADMIN).json()["data"][0]["calls"]["finished"] == 1
    assert ask(node, "usage?tag=a=1,b=2", ADMIN).json()["path"] == "tag"
    rows = ask(node, "usage?tag=a=1,b=2&group_by=tag", ADMIN).json()["data"]
    assert [(row["tag"], row["calls"]["finished"]) for row in rows] == [("a=1", 1), ("b=2", 1)]
