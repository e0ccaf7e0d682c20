"""What only the file could say until now, by REST: the platform's own budgets and rules, prices, and whether a provider can be reached."""

import socket
import threading
import time

import pytest
from conftest import Node, free_port
from test_administration import send
from test_tokens import ask, make
from views import config, every, get


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("platform"), config(sim))
    yield node
    node.stop()


def test_the_platform_is_one_entry(node):
    empty = send(node, "GET", "platform")
    assert empty["object"] == "platform" and empty["spec"] == {}
    spec = {"budgets": [{"limit": "5000 USD", "every": "month"}, {"limit": "9 USD", "every": "day", "only": {"models": ["fast"]}}], "loss": "warn"}
    made = send(node, "PUT", "platform", spec, If_Match=empty["etag"])
    assert made["spec"] == spec
    exported = get(node, "export")
    assert {name: exported[name] for name in ("budgets", "loss")} == spec
    send(node, "PUT", "platform", {}, code=412, If_Match=empty["etag"])
    less = send(node, "PUT", "platform", {"budgets": spec["budgets"][:1]}, If_Match=made["etag"])
    assert less["spec"] == {"budgets": spec["budgets"][:1]}, "what is not named is closed"
    assert send(node, "PUT", "platform", {})["spec"] == {}
    assert send(node, "PUT", "platform", {"budgets": [{"limit": "x USD", "every": "day"}]}, code=400)["problems"][0]["path"] == "budgets[0].limit"
    assert send(node, "PUT", "platform", {"keys": []}, code=400)["path"] == "keys"
    assert [row["type"] for row in get(node, "audit", kind="policy")["data"]] == ["tollgate.policy.set.v1"] * 2


def test_an_entrys_budgets_are_those_that_it_names(node):
    spec = {"kind": "team", "parent": "acme", "budgets": [{"limit": "5 USD", "every": "day"}, {"limit": "7 requests", "every": "hour"}]}
    assert send(node, "PUT", "scopes/thrifty", spec, code=201)["spec"]["budgets"] == spec["budgets"]
    one = send(node, "PUT", "scopes/thrifty", {**spec, "budgets": spec["budgets"][1:]})
    assert one["spec"]["budgets"] == spec["budgets"][1:]
    both = send(node, "PUT", "scopes/thrifty", spec)
    assert both["spec"]["budgets"] == spec["budgets"], "opened again"
    send(node, "DELETE", "scopes/thrifty")


def test_prices_say_where_they_come_from(node, sim):
    send(node, "PUT", "providers/priced", {"dialect": "openai", "base_url": f"{sim.url}/v1", "price": {"input_per_mtok": "7", "output_per_mtok": "8"}}, code=201)
    targets = [{"provider": "priced", "model": "own-name", "price": {"input_per_mtok": "3", "output_per_mtok": "4"}}, {"provider": "sim", "model": "gpt-4o-mini"}, {"provider": "priced", "model": "unheard-of"}]
    send(node, "PUT", "models/mixed", {"targets": targets}, code=201)
    rows = get(node, "prices/mixed")["candidates"]
    assert [(row["order"], row["provider"], row["upstream_model"], row["source"]) for row in rows] == [(1, "priced", "own-name", "target"), (2, "sim", "gpt-4o-mini", "catalogue"), (3, "priced", "unheard-of", "provider")]
    assert rows[0]["price"] == {"input_per_mtok": "3", "output_per_mtok": "4"} and rows[2]["price"]["output_per_mtok"] == "8"
    assert [row["source"] for row in get(node, "prices/fast")["candidates"]] == ["model"]
    routed = get(node, "prices/priced%2Fanything")["candidates"][0]
    assert (routed["source"], routed["price"]["input_per_mtok"]) == ("provider", "7")
    assert get(node, "prices/sim/unpriced-x")["candidates"][0]["price"] is None
    send(node, "GET", "prices/nothing-such", code=404)
    listed = every(node, "prices", limit=2)
    assert [row for row in listed if row["model"] == "mixed"] == rows == get(node, "prices", model="mixed")["data"]
    assert {"fast", "claude", "fallback", "embed", "bad"} <= {row["model"] for row in listed}
    for target in targets:  # a price is changed where it stands
        target["price"] = {"input_per_mtok": "1", "output_per_mtok": "2"}
    send(node, "PUT", "models/mixed", {"targets": targets})
    assert {row["source"] for row in get(node, "prices/mixed")["candidates"]} == {"target"}
    send(node, "DELETE", "models/mixed")
    send(node, "DELETE", "providers/priced")


def a_provider(node, name, base_url, **more):
    send(node, "PUT", f"providers/{name}", {"dialect": "openai", "base_url": base_url, "api_key": "sk-very-secret-key", **more}, code=201)
    tested = send(node, "POST", f"providers/{name}/test")
    send(node, "DELETE", f"providers/{name}")
    assert tested["object"] == "provider_test" and "sk-very-secret" not in str(tested) and len(tested["detail"]) < 600
    assert tested["ok"] is (tested["code"] == "ok")
    return tested


def listening(answer):
    """A server of one connection a time that says this, or nothing at all."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                if answer is None:
                    time.sleep(30)
                else:
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return server, f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def said(status, body):
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body)


def test_a_connection_that_works(node, sim):
    for name in ("sim", "claude-sim"):
        tested = send(node, "POST", f"providers/{name}/test")
        assert (tested["ok"], tested["status"], tested["code"], tested["detail"]) == (True, 200, "ok", "") and tested["models"] >= 1, tested
        assert 0 <= tested["latency_ms"] < 10_000
    assert node.records() == {}, "it is no call"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (said(b"401 Unauthorized", b'{"error": "sk-very-secret-key is wrong %s"}' % (b"x" * 900)), 401, "key_refused"),
        (said(b"404 Not Found", b"<html>"), 404, "not_found"),
        (said(b"429 Too Many Requests", b"slow down"), 429, "rate_limited"),
        (said(b"500 Internal Server Error", b"oh"), 500, "provider_error"),
        (said(b"200 OK", b"<html>hello"), 200, "unreadable"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", None, "broke_off"),
    ],
)
def test_what_a_provider_may_answer(node, answer, status, code):
    server, url = listening(answer)
    tested = a_provider(node, "odd", url)
    server.close()
    assert (tested["status"], tested["code"], tested["models"]) == (status, code, None), tested


def test_what_cannot_be_reached(node):
    assert a_provider(node, "closed", f"http://127.0.0.1:{free_port()}/v1")["code"] == "unreachable"
    assert a_provider(node, "nowhere", "http://no-such-host.invalid/v1")["code"] == "name_not_found"
    assert a_provider(node, "private", "http://localhost:9/v1", tenant="acme")["code"] == "address_refused"
    server, url = listening(b"no TLS at all")
    assert a_provider(node, "plain", url.replace("http:", "https:"))["code"] == "tls_failed"
    server.close()


def test_a_silent_provider_is_given_up(node):
    server, url = listening(None)
    started = time.monotonic()
    tested = a_provider(node, "silent", url)
    assert tested["code"] == "timed_out" and 9 < time.monotonic() - started < 15
    server.close()


def test_operators_test_and_tenants_do_not_see(node):
    roles = {role: make(node, f"{role}-tests", role)["secret"] for role in ("operator", "auditor")}
    assert ask(node, "providers/sim/test", roles["operator"], "POST").json()["ok"] is True
    assert ask(node, "providers/sim/test", roles["auditor"], "POST").json()["code"] == "role_not_allowed"
    tenant = make(node, "tenant-tests", "owner", tenant="acme")["secret"]
    assert ask(node, "providers/sim/test", tenant, "POST").status_code == 404
    send(node, "POST", "providers/nobody/test", code=404)
