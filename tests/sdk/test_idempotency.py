"""A write under an idempotency key is carried out once, and answered the same again, also after a kill."""

import threading

import httpx
import pytest
from conftest import ADMIN, Node
from test_administration import send
from test_tokens import make
from views import config, every, get

ROUTES = [
    ("PUT", "keys/fresh", {"scope": "team"}, 201),
    ("PUT", "scopes/lab", {"kind": "team", "parent": "acme"}, 201),
    ("POST", "tokens", {"name": "ci", "role": "auditor"}, 201),
    ("POST", "keys/fresh/rotate", {"overlap": "1h"}, 200),
    ("POST", "keys/fresh/block", None, 200),
    ("POST", "apply", {"keys": [{"name": "applied", "scope": "team"}]}, 200),
    ("PUT", "keys/wrong", {"scope": "nowhere"}, 400),
    ("DELETE", "keys/fresh", None, 200),
    ("DELETE", "keys/fresh", {"other": "body"}, 404),
    ("POST", "projections/audit/rebuild", None, 202),
]


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("idempotency"), config(sim))
    yield node
    node.stop()


def ask(node, method, path, body, key, token=ADMIN):
    headers = {"authorization": f"Bearer {token}", "idempotency-key": key}
    return httpx.request(method, f"{node.url}/api/v1/{path}", json=body, headers=headers, timeout=30)


def kept(answer):
    return (answer.status_code, answer.text, *(answer.headers.get(name) for name in ("etag", "content-type", "x-request-id")))


def test_the_first_answer_comes_again(node):
    first = [ask(node, method, path, body, f"route-{number}") for number, (method, path, body, _) in enumerate(ROUTES)]
    assert [answer.status_code for answer in first] == [code for *_, code in ROUTES], [answer.text for answer in first]
    assert not any("idempotent-replayed" in answer.headers for answer in first)
    events = node.last()
    for restart in (False, True):
        if restart:
            node.kill()
            node.start()
            events = node.last()
        for number, (method, path, body, _) in enumerate(ROUTES):
            again = ask(node, method, path, body, f"route-{number}")
            assert kept(again) == kept(first[number]) and again.headers["idempotent-replayed"] == "true", f"{method} {path}"
        assert node.last() == events, "nothing happened"
    secrets = [answer.json()["secret"] for answer in first if "secret" in answer.json()]
    stored = b"".join(path.read_bytes() for path in (node.folder / "data").rglob("*") if path.is_file())
    assert len(secrets) == 3 and all(secret.encode() not in stored for secret in secrets)


def test_another_request_under_the_key_is_refused(node):
    assert ask(node, "PUT", "scopes/one", {"kind": "team", "parent": "acme"}, "twice").status_code == 201
    for method, path, body in [("PUT", "scopes/two", {"kind": "team", "parent": "acme"}), ("PUT", "scopes/one", {"kind": "unit", "parent": "acme"}), ("DELETE", "scopes/one", None), ("PUT", "scopes/one?x", {"kind": "team", "parent": "acme"})]:
        answer = ask(node, method, path, body, "twice")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused"), answer.text
    send(node, "GET", "scopes/two", code=404)
    assert get(node, "scopes/one")["spec"]["kind"] == "team"


def test_keys_of_one_token_mean_nothing_under_another(node):
    admin = make(node, "other-admin", "admin")["secret"]
    body = {"kind": "team", "parent": "acme"}
    assert ask(node, "PUT", "scopes/mine", body, "shared").status_code == 201
    other = ask(node, "PUT", "scopes/mine", body, "shared", admin)
    assert other.status_code == 200 and "idempotent-replayed" not in other.headers
    assert ask(node, "PUT", "scopes/mine", body, "shared", "nobody").status_code == 401


def test_a_question_has_no_key_and_bad_ones_are_told(node):
    assert ask(node, "GET", "keys", None, "a b").status_code == 200
    for key in ("", "x" * 256, "a b", "ä".encode().decode("latin-1")):
        answer = ask(node, "PUT", "scopes/never", {"kind": "team", "parent": "acme"}, key.encode("latin-1"))
        assert (answer.status_code, answer.json()["code"], answer.json()["path"]) == (400, "invalid_parameter", "idempotency-key"), repr(key)
    assert ask(node, "PUT", "scopes/long", {"kind": "team", "parent": "acme"}, "~" * 255).status_code == 201
    send(node, "GET", "scopes/never", code=404)


def test_many_at_once_are_carried_out_once(node):
    answers = []
    work = lambda: answers.append(ask(node, "POST", "tokens", {"name": "race", "role": "auditor"}, "race"))
    threads = [threading.Thread(target=work) for _ in range(12)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    busy = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["code"] for answer in busy} <= {"idempotency_in_flight"} and all(answer.headers["retry-after"] == "1" for answer in busy)
    made = [answer for answer in answers if answer.status_code == 201]
    assert len(made) + len(busy) == 12 and len({answer.text for answer in made}) == 1
    assert len([row for row in every(node, "tokens") if row["name"] == "race"]) == 1
