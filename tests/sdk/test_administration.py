"""Administration by REST: each thing as its entry of the configuration file, while the node serves."""

import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from conftest import ADMIN, APP, BINARY, HELLO, Node, wait_for, wait_until
from views import AUTHORIZED, config, every, get


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("administration"), config(sim))
    node.sim = sim
    yield node
    node.stop()


def send(node, method, path, body=None, code=200, **headers):
    answer = httpx.request(method, f"{node.url}/api/v1/{path}", json=body, headers={**AUTHORIZED, **{name.replace("_", "-"): value for name, value in headers.items()}}, timeout=30)
    assert answer.status_code == code, f"{answer.status_code} {answer.text}"
    return answer.json()


def call(node, secret, model="fast"):
    return openai.OpenAI(api_key=secret, base_url=f"{node.url}/v1", max_retries=0).chat.completions.create(model=model, messages=HELLO)


def test_each_kind_is_listed_as_the_file_says_it(node):
    exported = get(node, "export")
    for kind in ("tenants", "scopes", "keys", "providers", "models"):
        rows = every(node, kind, limit=2)
        assert [row["spec"] for row in rows] == exported[kind] and len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            by_id = get(node, f"{kind}/{row['id']}")
            assert by_id == {**row, **{name: by_id[name] for name in ("spend", "calls") if name in by_id}}


def test_a_team_is_made_used_and_taken_away(node):
    send(node, "PUT", "tenants/initech", {"budgets": [{"limit": "10 USD", "every": "day"}]}, code=201)
    send(node, "PUT", "scopes/tps", {"kind": "team", "parent": "initech", "rpm_limit": 100}, code=201)
    made = send(node, "PUT", "keys/reports", {"scope": "tps", "models": ["fast"]}, code=201)
    assert made["spec"]["secret"] == "keep" and made["tenant"] == "initech" and made["status"] == "live"
    assert call(node, made["secret"]).choices
    with pytest.raises(openai.PermissionDeniedError):
        call(node, made["secret"], "claude")
    widened = send(node, "PUT", f"keys/{made['id']}", {**made["spec"], "models": ["fast", "claude"]})
    assert "secret" not in widened and call(node, made["secret"], "claude").choices
    assert get(node, "keys/reports")["calls"]["finished"] == 2
    in_use = send(node, "DELETE", "scopes/tps", code=409)
    assert in_use["code"] == "in_use" and "tps" in in_use["detail"]
    assert send(node, "DELETE", "keys/reports")["deleted"] is True
    with pytest.raises(openai.AuthenticationError):
        call(node, made["secret"])
    send(node, "DELETE", "scopes/tps")
    send(node, "DELETE", "tenants/initech")
    send(node, "GET", "tenants/initech", code=404)
    kinds = [row["type"].split(".")[1:3] for row in get(node, "audit", limit=20)["data"]]
    assert ["key", "revoked"] in kinds and ["scope", "closed"] in kinds and ["tenant", "closed"] in kinds


def test_a_model_and_its_provider(node, sim):
    send(node, "PUT", "providers/second", {"dialect": "openai", "base_url": f"{sim.url}/v1", "api_key": "sk-second-upstream"}, code=201)
    model = {"targets": [{"provider": "second", "model": "sim-x"}], "price": {"input_per_mtok": "1", "output_per_mtok": "1"}, "max_output_tokens": 64}
    send(node, "PUT", "models/extra", model, code=201)
    assert call(node, APP, "extra").choices
    assert send(node, "DELETE", "providers/second", code=409)["code"] == "in_use"
    send(node, "DELETE", "models/extra")
    with pytest.raises(openai.NotFoundError):
        call(node, APP, "extra")
    kept = send(node, "PUT", "providers/second", {"dialect": "openai", "base_url": f"{sim.url}/v1", "api_key": "keep", "max_parallel_requests": 3})
    assert kept["spec"]["max_parallel_requests"] == 3 and "sk-second" not in str(kept)
    send(node, "DELETE", "providers/second")


def test_writers_do_not_overwrite_each_other(node):
    one = get(node, "scopes/search")
    send(node, "PUT", "scopes/search", {**one["spec"], "rpm_limit": 500}, If_Match=one["etag"])
    late = send(node, "PUT", "scopes/search", {**one["spec"], "rpm_limit": 9}, code=412, If_Match=one["etag"])
    assert late["code"] == "changed" and get(node, "scopes/search")["spec"]["rpm_limit"] == 500
    send(node, "DELETE", "scopes/search", code=412, If_Match=one["etag"])
    send(node, "PUT", "scopes/search", one["spec"], code=412, If_None_Match="*")
    send(node, "PUT", "scopes/nobody", {"kind": "team", "parent": "acme"}, code=412, If_Match="*")
    send(node, "PUT", "scopes/search", one["spec"], If_Match="*")


def test_a_key_is_blocked_let_in_and_rotated(node):
    key = send(node, "PUT", "keys/turning", {"scope": "team"}, code=201)
    assert send(node, "POST", "keys/turning/block")["status"] == "blocked"
    with pytest.raises(openai.AuthenticationError):
        call(node, key["secret"])
    assert send(node, "POST", "keys/turning/unblock")["status"] == "live"
    assert call(node, key["secret"]).choices
    fresh = send(node, "POST", "keys/turning/rotate")["secret"]
    assert fresh != key["secret"] and call(node, fresh).choices
    with pytest.raises(openai.AuthenticationError):
        call(node, key["secret"])
    send(node, "POST", "keys/turning/paint", code=404)
    send(node, "DELETE", "keys/turning")


@pytest.mark.parametrize(
    ("path", "body", "code", "place"),
    [
        ("keys/x", {"scope": "nowhere"}, 400, "scope"),
        ("keys/x", {"scope": "team", "budgets": [{"limit": "ten USD", "every": "day"}]}, 400, "budgets[0].limit"),
        ("keys/x", {"scope": "team", "colour": "red"}, 400, "colour"),
        ("keys/x", {"scope": "team", "name": "y"}, 400, None),
        ("models/x", {"targets": [{"provider": "nobody", "model": "m"}]}, 400, "targets[0].provider"),
        ("tenants/x", [1], 400, None),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(node, path, body, code, place):
    problem = send(node, "PUT", path, body, code=code)
    if place:
        assert place in [part["path"] for part in problem["problems"]], problem
    send(node, "GET", path, code=404)


def test_names_that_two_tenants_have(node):
    twice = send(node, "GET", "keys/app", code=409)
    assert twice["code"] == "ambiguous"
    assert get(node, "keys/umbrella%2Fapp")["tenant"] == "umbrella"
    assert get(node, "keys/acme%2Fapp")["tenant"] == "acme"
    made = send(node, "PUT", "keys/umbrella%2Fsecond", {"scope": "umbrella"}, code=201)
    assert (made["name"], made["tenant"]) == ("second", "umbrella")
    send(node, "DELETE", f"keys/{made['id']}")


def test_what_hangs_on_another_tenant_is_another_thing(node):
    send(node, "PUT", "scopes/east", {"parent": "acme"}, code=201)
    send(node, "PUT", "scopes/west", {"parent": "umbrella"}, code=201)
    made = send(node, "PUT", "keys/traveller", {"scope": "east"}, code=201)
    for name in ("traveller", made["id"], "acme%2Ftraveller"):
        refused = send(node, "PUT", f"keys/{name}", {"scope": "west", "rpm_limit": 1}, code=400, if_match=made["etag"])
        assert refused["problems"] == [{"path": "scope", "message": "umbrella/west belongs to tenant umbrella, and this to tenant acme: a tenant never changes"}]
    assert send(node, "PUT", "scopes/east", {"parent": "umbrella"}, code=400)["problems"][0]["path"] == "parent"
    # the tenant that the path says is the one that it hangs on
    for name in ("umbrella%2Fnew", "nobody%2Fnew"):
        assert send(node, "PUT", f"keys/{name}", {"scope": "east"}, code=400)["problems"][0]["path"] == "scope"
    assert send(node, "PUT", "keys/a%2Fb%2Fc", {"scope": "east"}, code=400)
    assert {row["name"] for row in every(node, "keys")} & {"new", "b", "c", "b/c"} == set()
    assert send(node, "PUT", "keys/acme%2Fnew", {"scope": "east"}, code=201)["tenant"] == "acme"
    for name in ("acme%2Fnew", "traveller"):
        send(node, "DELETE", f"keys/{name}")
    for name in ("east", "west"):
        send(node, "DELETE", f"scopes/{name}")


def test_nothing_moves_to_another_owner(node):
    before = get(node, "providers/sim")
    for name, body in (("acme%2Fsim", before["spec"]), ("sim", {**before["spec"], "tenant": "acme"})):
        refused = send(node, "PUT", f"providers/{name}", body, code=400)
        assert refused["problems"] == [{"path": "tenant", "message": "sim belongs to the platform: that never changes"}]
    own = send(node, "PUT", "providers/acme%2Fown", {"dialect": "openai", "base_url": "https://own.example/v1"}, code=201)
    assert own["tenant"] == "acme" and send(node, "PUT", "providers/umbrella%2Fown", {"dialect": "openai", "base_url": "https://own.example/v1"}, code=400)
    send(node, "PUT", "webhooks/pager", {"url": "http://127.0.0.1:9/"}, code=201)
    assert send(node, "PUT", "webhooks/umbrella%2Fpager", {"url": "https://own.example/"}, code=400)["problems"][0]["path"] == "tenant"
    assert get(node, "providers/sim")["etag"] == before["etag"]
    send(node, "DELETE", "providers/own")
    send(node, "DELETE", "webhooks/pager")


def test_a_slash_in_a_models_name_is_its_own(node):
    spec = {"targets": [{"provider": "sim", "model": "sim-fast"}], "price": {"input_per_mtok": "1", "output_per_mtok": "2"}}
    for name, status in (("meta%2Fllama-3", 201), ("meta%2Fllama-3", 200)):
        made = send(node, "PUT", f"models/{name}", spec, code=status)
        assert made["name"] == made["spec"]["name"] == "meta/llama-3"
    assert "llama-3" not in {row["name"] for row in every(node, "models")}
    send(node, "DELETE", "models/meta%2Fllama-3")


def test_a_webhook_is_no_entry_of_the_platform(node):
    before = get(node, "platform")
    budget = {"limit": "5000 USD", "every": "month"}
    made = send(node, "PUT", "platform", {"budgets": [budget], "loss": "warn", "request_log": {"log": "errors"}})
    send(node, "PUT", "webhooks/pager", {"url": "http://127.0.0.1:9/", "alerts": ["disk_low"]}, code=201)
    assert get(node, "platform")["etag"] == made["etag"] and get(node, "platform")["spec"]["budgets"] == [budget]
    send(node, "DELETE", "webhooks/pager")
    assert get(node, "platform")["etag"] == made["etag"]
    send(node, "PUT", "platform", before["spec"])


def test_one_of_several_makers_wins(node):
    def make(number):
        return httpx.put(f"{node.url}/api/v1/keys/wanted", json={"scope": "team", "rpm_limit": number + 1}, headers={**AUTHORIZED, "if-none-match": "*"}, timeout=30).status_code

    for _ in range(3):
        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(make, range(6))) == [201] + [412] * 5
        send(node, "DELETE", "keys/wanted")


def test_who_leaves_does_not_let_others_in_between(node):
    keys = [{"name": f"bulk-{number}", "scope": "team", "secret": f"sk-bulk-{number:08}"} for number in range(300)]
    body = json.dumps({"keys": keys}).encode()
    address = urlsplit(node.url)
    head = f"POST /api/v1/apply HTTP/1.1\r\nhost: x\r\nauthorization: {AUTHORIZED['authorization']}\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port)) as leaver:
        leaver.sendall(head.encode() + body)
        wait_until(lambda: len(every(node, "keys", limit=1000)) > 20)
    for number in range(5):
        made = send(node, "PUT", f"keys/between-{number}", {"scope": "team", "secret": f"sk-between-{number:08}"}, code=201)
        assert made["name"] == f"between-{number}"
    assert {row["name"] for row in every(node, "keys")} >= {key["name"] for key in keys}
    for key in (*keys[:20], *keys[-20:], *({"name": f"between-{number}", "secret": f"sk-between-{number:08}"} for number in range(5))):
        account = httpx.get(f"{node.url}/v1/usage", headers={"authorization": f"Bearer {key['secret']}"})
        assert account.status_code == 200 and account.json()["key"] == key["name"], account.text
    send(node, "POST", "apply?prune=true", config(node.sim))


def test_an_id_is_nobody_elses(node):
    made = send(node, "PUT", "keys/first", {"scope": "team"}, code=201)
    other = send(node, "PUT", f"keys/acme%2F{made['id']}", {"scope": "team"}, code=201)
    assert other["id"] != made["id"] and other["name"] == made["id"]
    assert get(node, f"keys/{made['id']}")["name"] == "first"
    assert send(node, "DELETE", f"keys/{made['id']}")["id"] == made["id"]
    send(node, "DELETE", f"keys/{other['id']}")


def test_a_parameter_that_is_not_taken_is_refused(node):
    made = send(node, "PUT", "keys/stays", {"scope": "team"}, code=201)
    for method, path in (("DELETE", "keys/stays?dry_run=true"), ("PUT", "keys/stays?dry_run=true"), ("POST", "keys/stays/block?x=1")):
        assert send(node, method, path, {} if method == "PUT" else None, code=400)["code"] == "invalid_parameter"
    assert send(node, "GET", "calls?limit=1&limit=2", code=400)["path"] == "limit"
    assert get(node, "keys/stays")["etag"] == made["etag"]
    send(node, "DELETE", "keys/stays")


def test_what_hangs_on_it_is_named(node):
    send(node, "PUT", "scopes/busy", {"parent": "acme"}, code=201)
    send(node, "PUT", "keys/worker", {"scope": "busy"}, code=201)
    assert send(node, "DELETE", "scopes/busy", code=409)["problems"] == [{"path": "scope", "message": "key worker hangs on busy"}]
    told = send(node, "DELETE", "providers/sim", code=409)["problems"]
    assert told and all(problem["message"].startswith("model ") and "[" not in problem["message"] for problem in told), told
    send(node, "DELETE", "keys/worker")
    send(node, "DELETE", "scopes/busy")


def test_what_was_set_is_there_after_a_kill(node):
    send(node, "PUT", "scopes/lasting", {"kind": "team", "parent": "acme", "budgets": [{"limit": "3 USD", "every": "week"}]}, code=201)
    before = get(node, "scopes/lasting")
    node.kill()
    node.start()
    # the file that the node starts with names other things only
    assert get(node, "scopes/lasting") == before
    assert ADMIN not in str(before)


def restarted(node, *flags, **env):
    """What comes of a start on the same data without its file."""
    node.kill()
    environment = {**os.environ, "TOLLGATE_ADMIN_TOKEN": ADMIN, **env}
    command = [BINARY, "serve", "--listen", f"127.0.0.1:{node.port}", "--data", node.folder / "data", *flags]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_another_master_key_is_refused(node):
    process = restarted(node, TOLLGATE_MASTER_KEY="ab" * 32)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "the master key does not open the secret of provider" in err, err
    node.start()
    assert call(node, APP).choices


def test_a_start_without_a_file_changes_nothing(node):
    before = [row["id"] for row in every(node, "keys")]
    process = restarted(node, OPENAI_API_KEY="sk-from-the-environment")
    try:
        wait_for(f"{node.url}/readyz", process)
        assert [row["id"] for row in every(node, "keys")] == before and call(node, APP).choices
    finally:
        process.kill()
        process.communicate()
    node.start()
