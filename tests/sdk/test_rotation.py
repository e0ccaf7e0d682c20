"""A key's secret is changed while its users go on: the old one lets in for a while, and nothing is made twice whatever ends the node."""

import random
import threading
import time

import httpx
import pytest
from conftest import ADMIN, Node, wait_until
from test_administration import call, send
from views import AUTHORIZED, config, every, get


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("rotation"), config(sim))
    yield node
    node.stop()


def lets_in(node, secret):
    answer = httpx.get(f"{node.url}/v1/models", headers={"authorization": f"Bearer {secret}"}, timeout=30)
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def rotations(node, id):
    rows = every(node, "audit", kind="key", subject=id, order="time", limit=1000)
    return [row for row in rows if row["type"] in ("tollgate.key.rotated.v1", "tollgate.key.secret_set.v1")]


def test_both_secrets_work_then_only_the_new_one(node):
    first = send(node, "PUT", "keys/turning", {"scope": "team"}, code=201)
    assert first["previous_valid_until"] is None
    second = send(node, "POST", "keys/turning/rotate", {"overlap": "4s"})
    assert second["previous_hint"] == first["hint"] and second["previous_valid_until"] > second["made_at"]
    assert call(node, first["secret"]).choices and call(node, second["secret"]).choices
    node.kill()
    node.start()
    assert lets_in(node, first["secret"]) and lets_in(node, second["secret"])
    assert [row for row in every(node, "keys") if row["name"] == "turning"][0]["previous_valid_until"] == second["previous_valid_until"]
    wait_until(lambda: not lets_in(node, first["secret"]))
    assert lets_in(node, second["secret"]) and get(node, "keys/turning")["previous_valid_until"] is None
    seen = rotations(node, first["id"])
    assert [row["after"]["hint"] for row in seen] == [second["hint"]] and seen[0]["before"]["hint"] == first["hint"]
    assert seen[0]["after"]["previous_valid_until"] == second["previous_valid_until"]


def test_a_second_rotation_drops_the_oldest_and_none_ends_it(node):
    secrets = [send(node, "PUT", "keys/thrice", {"scope": "team"}, code=201)["secret"]]
    secrets += [send(node, "POST", "keys/thrice/rotate", {"overlap": "24h"})["secret"] for _ in range(2)]
    assert [lets_in(node, secret) for secret in secrets] == [False, True, True]
    secrets.append(send(node, "POST", "keys/thrice/rotate", {"overlap": "0s"})["secret"])
    assert [lets_in(node, secret) for secret in secrets] == [False, False, False, True]
    send(node, "POST", "keys/thrice/rotate", {"overlap": "1d", "secret": "my-own-choice-1"})
    assert lets_in(node, secrets[-1]) and lets_in(node, "my-own-choice-1")
    send(node, "POST", "keys/thrice/block")
    assert not lets_in(node, secrets[-1]) and not lets_in(node, "my-own-choice-1")
    send(node, "POST", "keys/thrice/unblock")
    assert lets_in(node, secrets[-1]) and lets_in(node, "my-own-choice-1")
    taken = send(node, "PUT", "keys/thief", {"scope": "team", "secret": secrets[-1]}, code=400)
    assert "another key" in taken["detail"], "the secret before is still somebody's"
    assert "another key" in send(node, "POST", "keys/turning/rotate", {"secret": "my-own-choice-1"}, code=400)["detail"]
    send(node, "DELETE", "keys/thrice")
    assert not lets_in(node, secrets[-1]) and not lets_in(node, "my-own-choice-1")
    events = node.events()
    assert all(secret not in str(events) for secret in [*secrets, "my-own-choice-1"])


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [({"overlap": "91d"}, "invalid_parameter", "overlap"), ({"overlap": "soon"}, "invalid_parameter", "overlap"), ({"secret": "short"}, "invalid_parameter", "secret"), ({"overlaps": "1h"}, "invalid_body", None), ([1], "invalid_body", None)],
)
def test_what_is_no_rotation(node, body, code, path):
    before = get(node, "keys/app", code=409) and get(node, "keys/acme%2Fapp")["hint"]
    problem = send(node, "POST", "keys/acme%2Fapp/rotate", body, code=400)
    assert (problem["code"], problem.get("path")) == (code, path)
    assert get(node, "keys/acme%2Fapp")["hint"] == before


def rotate(node, number, end):
    """Asks until it is answered, under one idempotency key."""
    headers = {**AUTHORIZED, "idempotency-key": f"rotation-{number}"}
    body = {"overlap": "1h"} if number % 2 else None
    while time.monotonic() < end:
        try:
            answer = httpx.post(f"{node.url}/api/v1/keys/whirl/rotate", json=body, headers=headers, timeout=5)
        except httpx.HTTPError:
            time.sleep(0.01)
            continue
        if answer.status_code == 200:
            return answer.json()
        assert answer.status_code in (409, 503), answer.text
        time.sleep(0.01)
    raise AssertionError("not answered")


def test_kill_9_during_rotations_makes_none_twice_and_loses_none(node):
    made = send(node, "PUT", "keys/whirl", {"scope": "team"}, code=201)
    answers, chance, end = [made], random.Random(6), time.monotonic() + 90
    stop = threading.Event()

    def work():
        while not stop.is_set():
            answers.append(rotate(node, len(answers), end))

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(8):
        time.sleep(chance.uniform(0.02, 0.5))
        node.kill()
        node.start()
    time.sleep(0.3)
    stop.set()
    worker.join()
    secrets = [answer["secret"] for answer in answers]
    assert len(secrets) > 8 and len(set(secrets)) == len(secrets)
    last = len(secrets) - 1
    alive = [last - 1, last] if last % 2 else [last]  # odd ones leave the secret before in place
    assert [number for number, secret in enumerate(secrets) if lets_in(node, secret)] == alive
    assert [row["after"]["hint"] for row in rotations(node, made["id"])] == [answer["hint"] for answer in answers[1:]], "each once, in order"
    again = rotate(node, last, time.monotonic() + 10)
    assert again == answers[last] and lets_in(node, secrets[last])
