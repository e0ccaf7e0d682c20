"""Providers that fail: retries, fallback, the circuit breaker, deadlines, and what each of them costs."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx
import pytest
from conftest import APP, HELLO, PRICE, Node, Sim, wait_until

HEADERS = {"authorization": f"Bearer {APP}"}
TIMEOUTS = {"connect": "300ms", "first_byte": "400ms", "silence": "400ms", "total": "20s"}

# what goes wrong at the first of two targets: a wish for the simulator, which its provider's headers carry; how the attempt ends, and whether it may have cost something
FAULTS = {
    "500": ({"status": "500"}, "status", False),
    "503": ({"status": "503"}, "status", False),
    "529": ({"status": "529"}, "status", False),
    "429": ({"status": "429"}, "status", False),
    "408": ({"status": "408"}, "status", False),
    "auth": ({"status": "401"}, "status", False),
    "reset": ({"reset": "true"}, "broken", True),
    "cut": ({"cut": "0"}, "broken", True),
    "late": ({"latency_ms": "60000"}, "timed_out", True),
    "silent": ({"hang": "head"}, "timed_out", True),
}


@pytest.fixture(scope="module")
def nowhere():
    """An address that takes no connection and refuses none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        yield "http://127.0.0.1:%d/v1" % listener.getsockname()[1]
        for line in waiting:
            line.close()


@pytest.fixture(scope="module")
def weak(request):
    """A provider of these tests alone, which goes down and comes back."""
    sim = Sim()
    yield sim
    sim.stop()


@pytest.fixture(scope="module")
def node(sim, weak, nowhere, tmp_path_factory):
    providers, models = [], []

    def target(url=sim.url + "/v1", wish=(), **more):
        headers = {"x-call": "{call_id}"} | {f"x-sim-{name}": value for name, value in dict(wish).items()}
        return {"dialect": "openai", "base_url": url, "headers": headers, "price": PRICE, "timeouts": TIMEOUTS} | more

    def model(name, *targets):
        # one provider a target, so that no test meets the breaker of another
        named = [dict(target, name=f"{name}-{number}") for number, target in enumerate(targets)]
        providers.extend(named)
        models.append({"name": name, "targets": [{"provider": target["name"], "model": "sim"} for target in named], "max_output_tokens": 100})

    for name, (wish, _, _) in FAULTS.items():
        model(f"{name}-then-good", target(wish=wish), target())
    model("refused-then-good", target("http://127.0.0.1:9/v1"), target())
    model("nowhere-then-good", target(nowhere), target())
    model("400-then-good", target(wish={"status": "400"}), target())
    model("broken-then-good", target(wish={"cut": "5"}), target())
    for path in ("chat/completions", "completions", "responses", "messages"):
        how = {"url": sim.url, "dialect": "anthropic"} if path == "messages" else {}
        model(f"event-{path.replace('/', '-')}", target(wish={"error_event": "0"}, **how))
        model(f"event-{path.replace('/', '-')}-then-good", target(wish={"error_event": "0"}, **how), target(**how))
    model("good", target())
    model("late", target(wish={"latency_ms": "60000"}))
    model("total", target(wish={"chunk_ms": "100", "latency_ms": "100", "output": "max"}, timeouts={"total": "700ms"}))
    model("slow", target(wish={"latency_ms": "10000"}, timeouts={"total": "700ms"}))
    model("weak", target(f"{weak.url}/v1"))
    model("weak-then-good", target(f"{weak.url}/v1"), target())
    model("one", target(wish={"latency_ms": "700"}, max_parallel_requests=1, timeouts={}))
    config = {
        "providers": providers,
        "models": models,
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "total"}]}],
        "keys": [
            {"name": "app", "scope": "acme", "secret": APP},
            {"name": "thin", "scope": "acme", "secret": "sk-thin-000000001", "budgets": [{"limit": "0.0015 USD", "every": "total"}]},
        ],
    }
    # one reactor: a breaker is one a reactor
    node = Node(tmp_path_factory.mktemp("resilience"), config, "--reactors", "1")
    yield node
    node.stop()


def chat(node, model, key=APP, headers=(), **more):
    body = {"model": model, "messages": HELLO, "max_tokens": 20} | more
    return httpx.post(f"{node.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}", **dict(headers)}, timeout=30)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_target_takes_over(node, fault, stream):
    _, end, may_cost = FAULTS[fault]
    answer = chat(node, f"{fault}-then-good", stream=stream)
    assert answer.status_code == 200 and (not stream or answer.text.rstrip().endswith("[DONE]")), answer.text
    assert answer.headers["x-tollgate-attempts"] == "2" and answer.headers["x-tollgate-provider"] == f"{fault}-then-good-1"
    record = node.record(answer.headers["x-request-id"])
    first, second = record["attempt_list"]
    assert (first["end"], second["end"]) == (end, "ok") and (Decimal(first["cost"]) > 0) == may_cost
    assert Decimal(record["cost"]) == Decimal(first["cost"]) + Decimal(second["cost"]) and record["charge"] == second["cost"]


@pytest.mark.parametrize("model", ["refused-then-good", "nowhere-then-good"])
def test_what_never_connected_cost_nothing(node, model):
    answer = chat(node, model)
    record = node.record(answer.headers["x-request-id"])
    assert answer.status_code == 200 and [attempt["end"] for attempt in record["attempt_list"]] == ["not_sent", "ok"]
    assert record["attempt_list"][0]["cost"] == "0"


def test_the_callers_own_fault_is_not_tried_elsewhere(node):
    answer = chat(node, "400-then-good")
    assert answer.status_code == 400 and answer.headers["x-tollgate-attempts"] == "1"


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses", "messages"])
def test_an_error_in_place_of_a_first_token(node, path):
    body = {"chat/completions": {"messages": HELLO}, "completions": {"prompt": "x"}, "responses": {"input": "x"}, "messages": {"messages": HELLO, "max_tokens": 5}}[path]

    def ask(model):
        answer = httpx.post(f"{node.url}/v1/{path}", json=body | {"model": model, "stream": True}, headers=HEADERS, timeout=30)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream") and answer.headers["x-tollgate-attempts"] == "2"
        return answer.text, node.record(answer.headers["x-request-id"])

    text, record = ask(f"event-{path.replace('/', '-')}-then-good")
    assert "event: error" not in text and '{"error"' not in text and record["outcome"] == "ok" and record["attempt_list"][0] | {"end": "status", "cost": "0"} == record["attempt_list"][0]
    # behind the last try it passes in the provider's own words
    text, record = ask(f"event-{path.replace('/', '-')}")
    assert "error" in text and "tollgate" not in text and (record["outcome"], record["cost"]) == ("failed", "0")


def test_behind_the_first_token_there_is_no_other_provider(node, sim):
    sim.clear()
    answer = chat(node, "broken-then-good", stream=True)
    assert answer.status_code == 200 and "upstream_broke_off" in answer.text.rstrip().rsplit("\n\n", 1)[-1]
    assert node.record(answer.headers["x-request-id"])["attempts"] == 1 and sim.stats()["asked"] == 1


def test_the_last_target_is_tried_twice_with_a_pause(node):
    start = time.monotonic()
    answer = chat(node, "good", x_sim={"fail_first": 1, "status": 500})
    assert answer.status_code == 200 and answer.headers["x-tollgate-attempts"] == "2" and time.monotonic() - start > 0.15
    answer = chat(node, "good", x_sim={"fail_first": 2, "status": 500})
    assert answer.status_code == 500 and answer.headers["x-tollgate-attempts"] == "2"
    assert answer.json()["error"]["type"] == "server_error", "the provider's own words"
    assert node.record(answer.headers["x-request-id"])["cost"] == "0"


def test_a_provider_that_says_when_is_asked_then(node):
    start = time.monotonic()
    answer = chat(node, "429-then-good", x_sim={"fail_first": 1, "status": 429, "retry_after": "1"})
    assert answer.status_code == 200  # the first target has its turn once, the second at its own time
    answer = chat(node, "good", x_sim={"fail_first": 1, "status": 429, "retry_after": "1"})
    assert answer.status_code == 200 and answer.headers["x-tollgate-attempts"] == "2" and time.monotonic() - start > 0.9


def test_timeouts_are_the_providers(node):
    start = time.monotonic()
    answer = chat(node, "late")
    assert answer.status_code == 504 and answer.json()["error"]["code"] == "upstream_timeout" and time.monotonic() - start < 5
    record = node.record(answer.headers["x-request-id"])
    assert {attempt["end"] for attempt in record["attempt_list"]} == {"timed_out"} and Decimal(record["cost"]) > 0


def test_silence_in_a_stream(node):
    body = {"model": "good", "prompt": "x", "max_tokens": 20, "stream": True, "x_sim": {"hang": "body"}}
    answer = httpx.post(f"{node.url}/v1/completions", json=body, headers=HEADERS, timeout=30)
    first, last = answer.text.strip().split("\n\n")
    assert json.loads(first.removeprefix("data: "))["choices"][0]["text"]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "upstream_timeout"
    record = node.record(answer.headers["x-request-id"])
    assert (record["outcome"], record["attempt_list"][0]["end"]) == ("failed", "timed_out") and 0 < record["usage"]["output"] < 20


@pytest.mark.parametrize("stream", [False, True])
def test_the_whole_call_has_a_deadline(node, stream):
    start = time.monotonic()
    answer = chat(node, "total" if stream else "slow", stream=stream, max_tokens=100)
    assert time.monotonic() - start < 5 and "upstream_timeout" in answer.text
    assert answer.status_code == (200 if stream else 504)
    assert node.record(answer.headers["x-request-id"])["outcome"] == "failed"


def test_the_callers_own_deadline(node):
    start = time.monotonic()
    answer = chat(node, "good", headers={"x-request-timeout": "0.3"}, x_sim={"latency_ms": 390, "chunk_ms": 100}, stream=True)
    assert answer.status_code == 504 and time.monotonic() - start < 5


def test_a_second_attempt_that_the_budget_does_not_hold_is_not_made(node):
    since = node.last()
    answer = chat(node, "late-then-good", key="sk-thin-000000001", max_tokens=200)
    assert answer.status_code == 504 and answer.headers["x-tollgate-attempts"] == "1", answer.text
    admitted, finished = node.events(since)
    (budget,) = [budget for budget in node.budgets("sk-thin-000000001") if budget["level"] == "key"]
    ceiling, limit = Decimal(admitted["data"]["ceiling"]["cost"]), Decimal(budget["limit"])
    assert ceiling < limit < 2 * ceiling, "what covers one attempt does not cover two"
    assert Decimal(budget["settled"]) == Decimal(finished["data"]["cost"]) == ceiling and budget["held"] == "0"


def test_a_provider_has_as_many_calls_as_it_may(node):
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: chat(node, "one"), range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    busy = next(answer for answer in answers if answer.status_code == 503)
    assert busy.json()["error"]["code"] == "upstream_busy" and busy.headers["retry-after"] == "1"
    assert chat(node, "one").status_code == 200, "its place is free again"


def test_a_provider_that_keeps_failing_is_left_alone_until_it_is_back(node, weak):
    weak.set(status=503)
    for _ in range(3):
        assert chat(node, "weak").json()["error"]["type"] == "server_error"
        chat(node, "weak-then-good"), chat(node, "weak-then-good")
    asked = weak.stats()["asked"]
    refused = chat(node, "weak")
    assert refused.status_code == 503 and refused.json()["error"]["code"] == "upstream_unavailable"
    assert 1 <= int(refused.headers["retry-after"]) <= 60 and refused.headers["x-tollgate-attempts"] == "0"
    assert node.records()[refused.headers["x-request-id"]][0] == "released"
    answer = chat(node, "weak-then-good")
    assert answer.status_code == 200 and answer.headers["x-tollgate-attempts"] == "1", "the next target at once"
    assert weak.stats()["asked"] == asked, "nobody asks it meanwhile"
    weak.set(status="off")
    wait_until(lambda: chat(node, "weak").status_code == 200)
    wait_until(lambda: chat(node, "weak-then-good").headers["x-tollgate-provider"] == "weak-then-good-0")
    assert [chat(node, "weak").status_code for _ in range(5)] == [200] * 5
