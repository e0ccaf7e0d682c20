"""Callers that leave and nodes that stop: whatever happens, there is one record, and nothing hangs."""

import json
import signal
import socket
import threading
import time

import httpx
import pytest
from conftest import APP, HELLO, PRICE, Node, wait_until

TIGHT = "sk-tight-00000001"
HEADERS = {"authorization": f"Bearer {APP}"}
# 400 tokens at 20 a second: nobody waits for the end of it
LONG = {"messages": HELLO, "max_tokens": 400, "x_sim": {"output": "max", "chunk_ms": 50}}


def config(sim):
    def provider(name, **more):
        return {"name": name, "dialect": "openai", "base_url": f"{sim.url}/v1", "headers": {"x-call": "{call_id}"}, "price": PRICE, **more}

    return {
        "providers": [
            provider("plain"),
            provider("drain", on_client_gone="drain"),
            provider("cancel", on_client_gone="cancel"),
            provider("short", timeouts={"total": "2s"}),
            {"name": "claude", "dialect": "anthropic", "base_url": sim.url, "headers": {"x-call": "{call_id}"}, "price": PRICE},
        ],
        "models": [{"name": "long", "targets": [{"provider": "plain", "model": "gpt-4o"}], "price": PRICE, "context_tokens": 1_000_000_000, "max_output_tokens": 100}],
        "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "total"}]}],
        "keys": [{"name": "app", "scope": "acme", "secret": APP}, {"name": "tight", "scope": "acme", "secret": TIGHT, "budgets": [{"limit": "10 USD", "every": "total"}]}],
    }


@pytest.fixture(scope="module")
def here(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("lifecycle"), config(sim))
    yield node
    node.stop()


def chat(node, model, body, frames=None):
    """Streams; leaves after so many frames, else reads to the end. Gives the call's id and what was read."""
    read = []
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=dict(body, model=model, stream=True), headers=HEADERS, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            read += [line] if line else []
            if len(read) == frames:
                break
    return answer.headers["x-request-id"], read


def leave_before_the_answer(node, sim, body):
    """Sends a request, leaves once the provider has it, and gives the call's id."""
    sim.clear()
    payload = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", node.port)) as line:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {APP}\r\ncontent-length: {len(payload)}\r\n\r\n"
        line.sendall(head.encode() + payload)
        calls = wait_until(lambda: sim.stats()["calls"])
    (call,) = calls
    return call


def books_are_closed(node):
    for budget in node.budgets(APP):
        assert budget["held"] == "0" and budget["open_calls"] == 0, budget


def test_a_caller_that_leaves_a_stream_cancels_it(here, sim):
    call, read = chat(here, "plain/sim", LONG, frames=6)
    record = here.record(call)
    assert record["outcome"] == "aborted" and record["estimated"] and record["attempt_list"][0]["end"] == "cancelled"
    assert 0 < record["usage"]["output"] < 100 and float(record["cost"]) > 0
    # the provider sees the connection close: it goes no further
    seen = wait_until(lambda: (found := sim.stats()["calls"][call])["output"] and found)
    assert 4 <= seen["output"] < 100 and not seen["finished"]
    books_are_closed(here)


@pytest.mark.parametrize("dialect", ["completions", "responses", "messages"])
def test_in_every_dialect(here, sim, dialect):
    body = {
        "completions": {"model": "plain/sim", "prompt": "x", "max_tokens": 400},
        "responses": {"model": "plain/sim", "input": "x", "max_output_tokens": 400},
        "messages": {"model": "claude/sim", "messages": HELLO, "max_tokens": 400},
    }[dialect]
    with httpx.stream("POST", f"{here.url}/v1/{dialect}", json=dict(body, stream=True, x_sim=LONG["x_sim"]), headers=HEADERS) as answer:
        lines = answer.iter_lines()
        assert answer.status_code == 200 and len([next(lines) for _ in range(20)]) == 20
    record = here.record(answer.headers["x-request-id"])
    assert record["outcome"] == "aborted" and 0 < record["usage"]["output"] < 100


def test_where_it_is_configured_the_stream_is_read_to_its_end(here, sim):
    call, _ = chat(here, "drain/sim", dict(LONG, max_tokens=30), frames=3)
    record = here.record(call)
    assert record["outcome"] == "ok" and record["usage"]["output"] == 30 and not record["estimated"]
    assert sim.stats()["calls"][call]["finished"]


def test_a_caller_that_leaves_a_whole_answer_pays_for_all_of_it(here, sim):
    call = leave_before_the_answer(here, sim, {"model": "plain/sim", "messages": HELLO, "max_tokens": 9, "x_sim": {"output": "max", "latency_ms": 700}})
    record = here.record(call)
    assert record["outcome"] == "ok" and record["usage"]["output"] == 9 and not record["estimated"]


@pytest.mark.parametrize("body", [{"model": "plain/sim", "stream": True}, {"model": "cancel/sim"}])
def test_a_caller_that_leaves_before_the_answer_has_begun(here, sim, body):
    call = leave_before_the_answer(here, sim, dict(body, messages=HELLO, max_tokens=9, x_sim={"latency_ms": 20_000}))
    record = here.record(call)
    assert record["outcome"] == "aborted" and record["attempt_list"][0]["end"] == "cancelled"
    assert record["attempts"] == 1 and float(record["cost"]) > 0, "it may have cost money"
    books_are_closed(here)


def test_a_caller_that_leaves_before_anything_was_sent_owes_nothing(here, sim):
    # by its bytes it does not fit, so that its tokens are counted first: that takes a moment
    payload = json.dumps({"model": "long", "max_tokens": 9, "messages": [{"role": "user", "content": "hello there " * 1_000_000}]}).encode()
    sim.clear()
    since = here.last()
    with socket.create_connection(("127.0.0.1", here.port)) as line:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TIGHT}\r\ncontent-length: {len(payload)}\r\n\r\n"
        line.sendall(head.encode() + payload)
        wait_until(lambda: "tollgate_calls_in_flight 1" in httpx.get(f"{here.url}/metrics").text)
    ((kind, record),) = wait_until(lambda: list(here.records(since).values()))
    assert (kind, record["reason"]) == ("released", "caller_gone") and sim.stats()["asked"] == 0
    assert 'outcome="released"} 1' in httpx.get(f"{here.url}/metrics").text


def test_a_caller_that_does_not_read_does_not_keep_the_call(here, sim):
    body = json.dumps({"model": "short/sim", "messages": HELLO, "max_tokens": 200_000, "stream": True, "x_sim": {"output": "max"}}).encode()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", here.port))
        since = here.last()
        line.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {APP}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        ((kind, record),) = wait_until(lambda: list(here.records(since).values()))
    assert (kind, record["outcome"]) == ("finished", "aborted") and record["attempt_list"][-1]["end"] == "cancelled", "not the provider's fault"
    wait_until(lambda: "tollgate_calls_in_flight 0" in httpx.get(f"{here.url}/metrics").text)


# ------------------------------------------------------------------------------------------------------------------- a node that stops


@pytest.fixture
def stopping(sim, tmp_path):
    node = Node(tmp_path, config(sim))
    yield node
    node.stop()


class Stream(threading.Thread):
    """A stream that runs beside the test."""

    def __init__(self, node, model, body):
        super().__init__(daemon=True)
        self.lines, self.error, self.ask = [], None, (node, model, body)
        self.start()
        wait_until(lambda: self.lines)

    def run(self):
        node, model, body = self.ask
        try:
            with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=dict(body, model=model, stream=True), headers=HEADERS, timeout=60) as answer:
                self.call = answer.headers["x-request-id"]
                for line in answer.iter_lines():
                    self.lines += [line] if line else []
        except httpx.HTTPError as error:
            self.error = error


def test_a_node_that_is_told_to_stop_lets_what_runs_end(stopping):
    stream = Stream(stopping, "plain/sim", dict(LONG, max_tokens=40))
    stopping.process.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{stopping.url}/readyz").status_code == 503)
    assert httpx.get(f"{stopping.url}/readyz").json()["reason"] == "stopping"
    assert httpx.get(f"{stopping.url}/health/readiness").status_code == 503
    assert httpx.get(f"{stopping.url}/livez").status_code == 200
    for path, body in [("chat/completions", {"model": "plain/sim"}), ("messages", {"model": "claude/sim", "max_tokens": 5})]:
        refused = httpx.post(f"{stopping.url}/v1/{path}", json=dict(body, messages=HELLO), headers=HEADERS)
        assert refused.status_code == 503 and refused.headers["retry-after"] and refused.json()["error"]["code"] == "unavailable"
    stream.join(20)
    assert stream.error is None and stream.lines[-1] == "data: [DONE]"
    assert stopping.process.wait(10) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_reader_gets_all_of_an_answer_from_a_node_that_stops(stopping, stream):
    if stream:
        path, body = "chat/completions", {"messages": HELLO, "max_tokens": 50_000, "stream": True, "x_sim": {"output": "max"}}
    else:
        path, body = "embeddings", {"input": ["x"] * 150, "encoding_format": "float", "dimensions": 4096}
    payload = json.dumps(dict(body, model="plain/sim")).encode()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        line.connect(("127.0.0.1", stopping.port))
        line.settimeout(20)
        line.sendall(f"POST /v1/{path} HTTP/1.0\r\nauthorization: Bearer {APP}\r\ncontent-length: {len(payload)}\r\n\r\n".encode() + payload)
        got = bytearray(line.recv(65536))
        wait_until(lambda: stream or stopping.records())
        stopping.process.send_signal(signal.SIGTERM)
        while piece := line.recv(262_144):
            got += piece
            time.sleep(0.05)
    head, _, answer = bytes(got).partition(b"\r\n\r\n")
    assert len(answer) > 8_000_000, "more than lies in buffers"
    if stream:
        assert answer.endswith(b"data: [DONE]\n\n")
    else:
        assert f"content-length: {len(answer)}".encode() in head.lower()
    assert stopping.process.wait(10) == 0


def test_nothing_runs_and_the_node_ends_at_once(stopping):
    with httpx.Client() as client:
        client.get(f"{stopping.url}/livez")  # an idle connection does not keep it
        stopping.process.send_signal(signal.SIGTERM)
        assert stopping.process.wait(5) == 0


def test_told_twice_it_does_not_wait(stopping):
    stream = Stream(stopping, "plain/sim", LONG)
    stopping.process.send_signal(signal.SIGTERM)
    wait_until(lambda: httpx.get(f"{stopping.url}/readyz").status_code == 503)
    stopping.process.send_signal(signal.SIGTERM)
    assert stopping.process.wait(3) != 0
    stream.join(5)
    assert stream.lines[-1] != "data: [DONE]"
