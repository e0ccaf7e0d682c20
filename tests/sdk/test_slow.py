"""What takes long by its nature, all at once: gaps in a stream, callers that never finish to ask, and the end of a node's patience."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from conftest import APP, HELLO, Node, base_config, wait_until

HEADERS = {"authorization": f"Bearer {APP}"}


def dribble(node, head, more):
    """Sends a head, then more of it every second, until the node closes. Gives the seconds that it took and what the node said."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", node.port), timeout=1) as line:
        line.sendall(head)
        said = b""
        while time.monotonic() - start < 90:
            try:
                piece = line.recv(65536)
                said += piece
                if not piece:
                    return time.monotonic() - start, said
            except TimeoutError:
                try:
                    line.sendall(more)
                except OSError:
                    return time.monotonic() - start, said
            except OSError:
                return time.monotonic() - start, said
    raise AssertionError(f"still open after 90 s, having said {said!r}")


def idle(node):
    """Two requests on one connection, with a long pause between them; then half a head. Gives both answers, and what `dribble` gives."""
    ask = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), timeout=5) as line:
        line.sendall(ask)
        first = line.recv(4096)
        time.sleep(15)
        line.sendall(ask)
        second = line.recv(4096)
        line.sendall(b"GET /livez HTTP/1.1\r\nho")
        line.settimeout(60)
        start = time.monotonic()
        assert line.recv(4096) == b""
    return first, second, time.monotonic() - start


def gap(node, path, body):
    """Reads a stream whose provider says nothing behind its first frame, until the node says something itself."""
    start = time.monotonic()
    with httpx.stream("POST", f"{node.url}/v1/{path}", json=dict(body, stream=True, x_sim={"hang": "body"}), headers=HEADERS, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith(":"):
                return answer.headers["x-request-id"], time.monotonic() - start, line


def overstay(node):
    """A stream that goes on for longer than a node waits that is told to stop; gives what it read last, and when."""
    body = {"model": "fast", "messages": HELLO, "max_tokens": 400, "stream": True, "x_sim": {"output": "max", "chunk_ms": 500}}
    frames, told = [], None
    with httpx.stream("POST", f"{node.url}/v1/chat/completions", json=body, headers=HEADERS, timeout=60) as answer:
        for line in answer.iter_lines():
            frames += [line] if line else []
            if len(frames) == 3 and not told:
                node.process.send_signal(signal.SIGTERM)
                told = time.monotonic()
    return answer.headers["x-request-id"], time.monotonic() - told, frames[-1], node.process.wait(10)


CASES = {
    "head": lambda node, _: dribble(node, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n", b"x-more: 1\r\n"),
    "silence": lambda node, _: dribble(node, b"", b""),
    "body": lambda node, _: dribble(node, f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {APP}\r\ncontent-length: 1000\r\n\r\n{{".encode(), b" "),
    "idle": lambda node, _: idle(node),
    "chat": lambda node, _: gap(node, "chat/completions", {"model": "fast", "messages": HELLO}),
    "responses": lambda node, _: gap(node, "responses", {"model": "fast", "input": "Hello!"}),
    "messages": lambda node, _: gap(node, "messages", {"model": "claude", "messages": HELLO, "max_tokens": 9}),
    "overstay": lambda _, other: overstay(other),
}


@pytest.fixture(scope="module")
def other(sim, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("stopped"), base_config(sim))
    yield node
    node.stop()


@pytest.fixture(scope="module")
def slow(node, other):
    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {name: pool.submit(run, node, other) for name, run in CASES.items()}


@pytest.mark.parametrize("case", ["head", "silence"])
def test_a_request_whose_head_never_comes_is_closed(slow, case):
    seconds, _ = slow[case].result()
    assert seconds < 20


def test_a_connection_may_be_idle_for_longer_than_a_head_may_take(slow):
    first, second, seconds = slow["idle"].result()
    assert first.startswith(b"HTTP/1.1 200 ") and second.startswith(b"HTTP/1.1 200 ") and 5 < seconds < 20


@pytest.mark.parametrize("path", ["chat", "responses", "messages"])
def test_a_silent_stream_is_kept_alive(slow, node, path):
    call, seconds, line = slow[path].result()
    assert 10 < seconds < 30 and line == ": keep-alive"
    assert node.record(call)["outcome"] == "aborted", "and its caller has left then"


def test_what_outlasts_the_wait_of_a_stopping_node_is_cut_and_recorded(slow, other):
    call, seconds, last, code = slow["overstay"].result()
    error = json.loads(last.removeprefix("data: "))["error"]
    assert error["code"] == "unavailable" and "stopping" in error["message"]
    assert 25 < seconds < 45 and code == 0
    other.start()
    # a journal that outlives its node has the admission: then it has the record too
    if any(event["subject"] == call for event in other.events()):
        record = other.record(call)
        assert record["outcome"] == "aborted" and 0 < record["usage"]["output"] < 200


def test_a_request_whose_body_never_comes_is_refused(slow):
    seconds, said = slow["body"].result()
    head, _, body = said.partition(b"\r\n\r\n")
    assert seconds < 80 and head.startswith(b"HTTP/1.1 408 ")
    error = json.loads(body)
    assert error["type"] == "error" and error["error"]["code"] == "request_timeout"
