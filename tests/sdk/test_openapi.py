"""The OpenAPI document is valid, true of every route, and enough to make a client from."""

import itertools
import json
import os
import re
import subprocess
import sys
import time

import httpx
import pytest
import test_docs
from conftest import ADMIN, APP, BINARY, HELLO, ROOT, Node, wait_until
from openapi import METHODS, Document, printed
from openapi_spec_validator import validate
from views import AUTHORIZED, config, traffic

NUMBERS = itertools.count()

# What a route of administration can answer that no route is named for.
OF_ALL = {"unknown_url", "method_not_allowed"}


@pytest.fixture(scope="module")
def document():
    return Document(printed())


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("openapi"), config(sim))
    traffic(node)
    yield node
    node.stop()


def token(node, role, tenant=None):
    body = {"name": f"{role} {next(NUMBERS)}", "role": role, **({"tenant": tenant} if tenant else {})}
    answer = httpx.post(f"{node.url}/api/v1/tokens", json=body, headers=AUTHORIZED)
    assert answer.status_code == 201, answer.text
    return answer.json()["secret"]


def test_the_document_is_valid(document):
    validate(document.whole)
    assert document.whole["openapi"] == "3.1.0"


def test_it_is_served_as_it_is_printed(document, node):
    answer = document.hold(httpx.get(f"{node.url}/api/v1/openapi.json"))
    assert answer.text == document.text and ADMIN not in answer.text


def test_the_page_loads_nothing_from_elsewhere(document, node):
    first, second = (document.hold(httpx.get(f"{node.url}/api/v1/docs")) for _ in range(2))
    policy = first.headers["content-security-policy"]
    nonce = re.search(r"script-src 'nonce-([0-9a-f]{32})'", policy)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src 'self'" in policy
    assert re.findall(r"<(?:script|style) nonce=\"(\w+)\">", first.text) == [nonce, nonce] and nonce not in second.text
    assert not re.search(r"https?://|\bsrc=|<link|@import|url\(|localStorage|sessionStorage|document\.cookie|innerHTML|\son\w+=\"|\bstyle=", first.text)


def test_routes_have_the_methods_that_are_described(document, node):
    for path, item in document.paths.items():
        url = node.url + re.sub(r"\{\w+\}", "x", path)
        for method in METHODS:
            answer = httpx.request(method, url)
            if method in item:
                assert answer.status_code == (401 if "security" in item[method] else 200), f"{method} {path}: {answer.text[:200]}"
            else:
                assert answer.status_code == 405, f"{method} {path}: {answer.text[:200]}"
                if path.startswith("/api/"):
                    assert answer.json()["code"] == "method_not_allowed"
    assert httpx.get(f"{node.url}/api/v1/nothing").json()["code"] == "unknown_url"


def test_every_code_is_described(document):
    said = {code: about["status"] for code, about in document.whole["x-codes"].items()}
    table = {test_docs.quoted(code)[0]: status for code, status, *_ in test_docs.rows("Error codes")}
    assert {code: str(status) for code, status in said.items()} == {code: table.get(code) for code in said}
    real = set()
    for path in sorted((ROOT / "node/ingress/src/api").rglob("*.rs")):
        if path.name != "codes.rs":
            text = path.read_text().split("#[cfg(test)]")[0]
            real |= {code for pattern in test_docs.CODE[:1] for _, code in re.findall(pattern, text)}
    assert real | OF_ALL | {"headers_too_large"} == set(said)
    used = {code for _, _, operation in document.operations() for answer in operation["responses"].values() for code in answer.get("x-codes", [])}
    assert used == set(said) - OF_ALL


def test_roles_are_those_that_are_let_in(document, node):
    """A token of a role is refused as such where the document does not name it, and nowhere else."""
    for role in ("billing", "auditor", "operator", "admin"):
        headers = {"authorization": f"Bearer {token(node, role)}"}
        for method, path, operation in document.operations():
            if "security" in operation:
                answer = httpx.request(method, node.url + path.replace("{name}", "nothing").replace("{id}", "nothing"), headers=headers)
                refused = answer.status_code == 403 and answer.json()["code"] == "role_not_allowed"
                assert refused == (role not in operation["x-roles"]), f"{role}: {method} {path}: {answer.status_code}"


def asker(document, node, secret=ADMIN):
    def ask(method, path, code=200, body=None, **headers):
        headers = {"authorization": f"Bearer {secret}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = body if isinstance(body, (bytes, str)) or body is None else json.dumps(body)
        answer = document.hold(httpx.request(method, f"{node.url}{path}", content=content, headers=headers, timeout=30))
        assert answer.status_code == code, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.headers["content-type"].split(";")[0].endswith("json") else answer.text

    ask.node = node
    return ask


def questions(ask):
    for path in ("/livez", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/docs", "/api/v1/capabilities", "/api/v1/export", "/api/v1/ledger/proof"):
        ask("GET", path)
    ask("GET", "/api/v1/export", accept="application/yaml")
    lists = [
        "tenants", "scopes", "keys", "providers", "models", "tokens", "projections", "audit", "budgets?closed=true", "calls?limit=200", "calls?status=ok,failed&order=time",
        "calls?min_cost_usd=0.000001&min_total_ms=1&since=7d", "usage", "usage?group_by=tenant,scope,key,model,provider,tag&step=hour", "usage?step=day&order=-cost",
        "usage?group_by=key&step=month&tenant=acme", "usage?group_by=user,key", "prices", "providers/health", "providers/health?group_by=model,hour", "audit?kind=key&order=time", "audit?limit=1000",
    ]
    for path in lists:
        assert ask("GET", f"/api/v1/{path}")["data"], path
        for accept in ("application/jsonl", "text/csv"):
            assert ask("GET", f"/api/v1/{path}", accept=accept)
    for call in ask("GET", "/api/v1/calls?limit=1000")["data"]:
        ask("GET", f"/api/v1/calls/{call['id']}")
        ask("GET", f"/api/v1/calls/{call['id']}/explain")
    for budget in ask("GET", "/api/v1/budgets")["data"]:
        ask("GET", f"/api/v1/budgets/{budget['id']}/windows")
    for path in ("alerts", "webhooks", "alerts?state=open&kind=disk_low&order=time"):
        ask("GET", f"/api/v1/{path}")
    ask("GET", "/api/v1/prices/fast")
    ask("GET", "/api/v1/platform")
    for kind in ("tenants", "scopes", "keys", "providers", "models"):
        for row in ask("GET", f"/api/v1/{kind}")["data"]:
            ask("GET", f"/api/v1/{kind}/{row['id']}")
    for row in ask("GET", "/api/v1/projections")["data"]:
        ask("GET", f"/api/v1/projections/{row['name']}?digest=true")
    assert ask("GET", "/api/v1/events?from=0:0&limit=1000").count("\n") > 100


def changes(ask, sim):
    provider = {"dialect": "openai", "base_url": f"{sim.url}/v1", "api_key": "sk-upstream-more"}
    model = {"targets": [{"provider": "more", "model": "m"}], "price": {"input_per_mtok": "1", "output_per_mtok": "1", "tiers": {"flex": {"input_per_mtok": "1", "output_per_mtok": "1"}}}, "max_output_tokens": 8}
    budgets = [{"limit": "5 USD", "every": "day", "alert_at": ["0.5"], "only": {"models": ["fast"]}}]
    key = {"scope": "more/more", "models": ["more"], "rpm_limit": 5, "budgets": budgets}
    made = [("tenants", {"budgets": budgets}), ("providers", provider), ("models", model), ("scopes", {"kind": "team", "parent": "more/"}), ("keys", key)]
    for kind, spec in made:
        one = ask("PUT", f"/api/v1/{kind}/more", 201, spec)
        ask("PUT", f"/api/v1/{kind}/more", 200, one["spec"], If_Match=one["etag"])
        ask("PUT", f"/api/v1/{kind}/more", 412, spec, If_Match='"other"')
    for action in ("block", "unblock", "rotate"):
        ask("POST", f"/api/v1/keys/more/{action}")
    ask("POST", "/api/v1/keys/more/rotate", 200, {"overlap": "1h"})
    ask("POST", "/api/v1/keys/more/block", 200, Idempotency_Key="once")
    ask("POST", "/api/v1/keys/more/block", 200, Idempotency_Key="once")
    ask("POST", "/api/v1/keys/more/unblock", 422, Idempotency_Key="once")
    ask("POST", "/api/v1/providers/more/test")
    platform = ask("GET", "/api/v1/platform")
    ask("PUT", "/api/v1/platform", 200, {"loss": "warn"}, If_Match=platform["etag"])
    ask("PUT", "/api/v1/platform", 200, platform["spec"])
    hook = ask("PUT", "/api/v1/webhooks/more", 201, {"url": "http://127.0.0.1:9/hook"})
    ask("GET", f"/api/v1/webhooks/{hook['id']}")
    ask("GET", "/api/v1/webhooks/more/deliveries")
    assert ask("POST", "/api/v1/webhooks/more/test")["delivered"] is False
    ask("DELETE", "/api/v1/webhooks/more")
    kept(ask, ask("GET", "/api/v1/platform"))
    ask("DELETE", "/api/v1/tenants/acme/bodies")
    ask("DELETE", "/api/v1/tenants/more", 409)
    for kind in ("keys", "models", "scopes", "providers", "tenants"):
        ask("DELETE", f"/api/v1/{kind}/more")
    token = ask("POST", "/api/v1/tokens", 201, {"name": "for now", "role": "auditor", "tenant": "acme", "expires_at": "2100-01-01T00:00:00Z"})
    ask("DELETE", f"/api/v1/tokens/{token['id']}")
    ask("POST", "/api/v1/apply?dry_run=true", 200, {"tenants": [{"name": "dry"}]})
    ask("POST", "/api/v1/apply", 200, "tenants: [{name: wet}]\nkeys: [{name: wet, scope: wet}]\n", content_type="application/yaml")
    ask("POST", "/api/v1/projections/usage/rebuild", 202)


def kept(ask, platform):
    """A call whose bodies are kept, and asked for."""
    ask("PUT", "/api/v1/platform", 200, {"request_log": {"log": "all"}})
    url = ask.node.url
    answer = httpx.post(f"{url}/v1/chat/completions", json={"model": "fast", "messages": HELLO}, headers={"authorization": f"Bearer {APP}"})
    path = f"/api/v1/calls/{answer.headers['x-request-id']}/bodies"
    wait_until(lambda: httpx.get(f"{url}{path}", headers=AUTHORIZED).status_code == 200)
    assert ask("GET", path)["request"]
    ask("PUT", "/api/v1/platform", 200, platform["spec"])


def sealed(ask, folder):
    """A backup, which only its identity opens."""
    made = subprocess.run([BINARY, "backup", "--new-identity", folder / "identity"], capture_output=True, text=True, check=True)
    recipient = re.search(r"age1\w+", made.stdout)[0]
    assert ask("GET", f"/api/v1/backup?recipient={recipient}").startswith("age-encryption.org")


def wrong(ask):
    """What a caller may get wrong, each as a problem that its route describes."""
    assert ask("GET", "/api/v1/usage?group_by=colour", 400)["path"] == "group_by"
    assert ask("GET", "/api/v1/calls/%FF", 400)["code"] == "invalid_parameter"
    ask("GET", "/api/v1/calls?limit=%FF", 400)
    ask("GET", "/api/v1/calls/call_0", 404)
    ask("GET", "/api/v1/budgets/bud_9999/windows", 404)
    ask("GET", "/api/v1/keys/app", 409)
    ask("GET", "/api/v1/keys/nobody", 404)
    ask("PUT", "/api/v1/keys/nobody", 400, "{")
    ask("PUT", "/api/v1/keys/nobody", 400, {"scope": "nowhere", "colour": "red"})
    ask("PUT", "/api/v1/keys/%FF", 400, {})
    ask("POST", "/api/v1/keys/%FF/block", 400)
    ask("POST", "/api/v1/tokens", 400, {"name": "x"})
    ask("POST", "/api/v1/tokens", 400, {"name": "x", "role": "king"})
    ask("POST", "/api/v1/apply?dryrun=true", 400, {})
    ask("POST", "/api/v1/apply", 400, "tenants: [}")
    ask("POST", "/api/v1/apply", 400, b"\xff")
    large = ask("POST", "/api/v1/apply", 413, b"#" * (9 << 20))
    assert large["code"] == "request_too_large"
    ask("PUT", "/api/v1/models/large", 413, b"#" * (9 << 20))
    ask("GET", "/api/v1/keys", 431, x_long="x" * (70 << 10))


def test_ordinary_answers_are_as_described(document, node, sim, tmp_path):
    ask = asker(document, node)
    questions(ask)
    changes(ask, sim)
    sealed(ask, tmp_path)
    wrong(ask)
    for role, tenant in (("auditor", None), ("admin", "umbrella"), ("billing", "acme")):
        other = asker(document, node, token(node, role, tenant))
        other("POST", "/api/v1/apply", 403, {})
        other("GET", "/api/v1/usage?group_by=key")
    asker(document, node, "nobody's")("GET", "/api/v1/usage", 401)
    asker(document, node, "nobody's")("POST", "/api/v1/apply", 401, b"#" * (9 << 20))
    assert document.asked == {operation["operationId"] for _, _, operation in document.operations()}


def test_what_is_not_described_is_found(document, node):
    """The judge above is not blind."""
    answer = httpx.get(f"{node.url}/api/v1/usage", headers=AUTHORIZED)
    usage = document.whole["paths"]["/api/v1/usage"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    body = answer.json()
    assert document.problems(usage, body) == []
    assert document.problems(usage, {**body, "data": [{**body["data"][0], "colour": "red"}]})
    assert document.problems(usage, {**body, "data": [{**body["data"][0], "cost": {"USD": 1}}]})
    del body["data"][0]["cost"]
    assert document.problems(usage, body)


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,unsupported_method"


@pytest.fixture(scope="module")
def battered(sim, tmp_path_factory):
    """A node of its own: an owner's token may take everything away."""
    node = Node(tmp_path_factory.mktemp("battered"), config(sim))
    traffic(node, 30)
    yield node
    node.stop()


def battering(node, folder):
    """Requests are made with things that are there, so that they come further than to a 404."""
    rows = lambda path: httpx.get(f"{node.url}/api/v1/{path}", headers=AUTHORIZED).json()["data"]
    real = {
        **{f"/api/v1/{kind}/{{name}}": {"path.name": rows(kind)[-1]["id"]} for kind in ("tenants", "scopes", "keys", "providers", "models")},
        "/api/v1/calls/{id}": {"path.id": rows("calls")[0]["id"]},
        "/api/v1/calls/{id}/explain": {"path.id": rows("calls")[0]["id"]},
        "/api/v1/budgets/{id}/windows": {"path.id": rows("budgets")[0]["id"]},
        "/api/v1/projections/{name}": {"path.name": "usage"},
    }
    # a position that is not there yet is waited for, and then it is 503 on purpose
    lines = ['parameters = { "query.at_least" = "0:1" }']
    for path, parameters in real.items():
        lines += ["[[operations]]", f'include-path = "{path}"', 'include-method = "GET"', f"parameters = {{ {', '.join(f'{json.dumps(name)} = {json.dumps(value)}' for name, value in parameters.items())} }}"]
    # thousands of cases each, all of them made of prices: of the entries only those of keys are covered
    for path in ("tenants/{name}", "scopes/{name}", "providers/{name}", "models/{name}"):
        lines += ["[[operations]]", f'include-path = "/api/v1/{path}"', 'include-method = "PUT"', "phases.coverage.enabled = false"]
    lines += ["[[operations]]", 'include-path = "/api/v1/apply"', "phases.coverage.enabled = false"]
    file = folder / "schemathesis.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize(("role", "tenant", "phases"), [("admin", "acme", "fuzzing"), ("auditor", None, "fuzzing"), ("owner", None, "examples,coverage,fuzzing")])
def test_schemathesis_finds_nothing(document, battered, tmp_path, role, tenant, phases):
    file = tmp_path / "openapi.json"
    file.write_text(document.text)
    # an owner may revoke every token but the one that the node was started with
    secret = ADMIN if role == "owner" else token(battered, role, tenant)
    command = [
        ROOT / "target/venv/bin/st", "--config-file", battering(battered, tmp_path), "run", file, "--url", battered.url, "--header", f"Authorization: Bearer {secret}",
        "--checks", CHECKS, "--phases", phases, "--max-examples", "5", "--generation-deterministic", "--workers", "1",
        "--request-timeout", "20", "--continue-on-failure", "--no-color",
    ]
    begun = time.monotonic()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=170)
    print(done.stdout[-20000:], done.stderr[-4000:], f"{time.monotonic() - begun:.0f} s")
    assert done.returncode == 0
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 150
    assert httpx.get(f"{battered.url}/readyz").status_code == 200


@pytest.fixture(scope="module")
def client(document, tmp_path_factory):
    """The client that `make client` makes."""
    folder = tmp_path_factory.mktemp("client") / "client"
    command = ["make", "-C", ROOT, "-o", "build", "-o", "venv", "client", f"BIN={BINARY}", f"CLIENT={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, done.stdout + done.stderr
    return folder


USE = """
import os, sys
from tollgate_client import AuthenticatedClient
from tollgate_client.api.calls import get_call, list_calls
from tollgate_client.api.keys import delete_key, get_key, put_key
from tollgate_client.api.tokens import create_token
from tollgate_client.api.usage import list_usage
from tollgate_client.models import Key, KeyEntry, NewToken, Problem, Token

client = AuthenticatedClient(base_url=os.environ["TOLLGATE_URL"], token=os.environ["TOLLGATE_TOKEN"])

usage = list_usage.sync(client=client, group_by="key,model", order="-cost")
assert usage.data and float(usage.data[0].cost.usd) > 0 and usage.data[0].calls.finished > 0, usage

calls, cursor = [], {}
while True:
    page = list_calls.sync(client=client, limit=7, **cursor)
    calls += page.data
    if not page.has_more:
        break
    cursor = {"cursor": page.next_cursor}
assert len(calls) > 14 and len({call.id for call in calls}) == len(calls)
one = get_call.sync(calls[0].id, client=client)
assert one.id == calls[0].id and one.events[0].type_.startswith("tollgate.call.") and one.at == calls[0].at

token = create_token.sync(client=client, body=NewToken(name="generated", role="auditor"))
assert isinstance(token, Token) and token.secret and token.status == "live"

made = put_key.sync("generated", client=client, body=KeyEntry(scope="team", rpm_limit=60), if_none_match="*")
assert isinstance(made, Key) and made.secret and made.spec.rpm_limit == 60, made
changed = put_key.sync("generated", client=client, body=KeyEntry(scope="team", rpm_limit=90), if_match=made.etag)
assert changed.spec.rpm_limit == 90 and changed.etag != made.etag
late = put_key.sync_detailed("generated", client=client, body=KeyEntry(scope="team"), if_match=made.etag)
assert late.status_code == 412 and isinstance(late.parsed, Problem) and late.parsed.code == "changed"
wrong = put_key.sync("generated", client=client, body=KeyEntry(scope="nowhere"))
assert wrong.code == "invalid_configuration" and wrong.problems[0].path == "scope" and wrong.request_id, wrong
assert delete_key.sync("generated", client=client).deleted
assert get_key.sync("generated", client=client).code == "not_found"
print("used")
"""


def test_a_generated_client_works(client, node):
    environment = {**os.environ, "TOLLGATE_URL": node.url, "TOLLGATE_TOKEN": ADMIN, "PYTHONPATH": str(client)}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "used\n", done.stdout + done.stderr


def test_a_client_has_a_function_an_operation(client, document):
    made = {path.stem for path in (client / "tollgate_client/api").rglob("*.py")} - {"__init__"}
    assert made == {operation["operationId"] for _, _, operation in document.operations()}
