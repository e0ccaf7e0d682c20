"""Whatever a caller sends: a clear 4xx in the envelope of its own dialect, once, and nothing reaches a provider."""

import json
import random
import socket
import time

import anthropic
import httpx
import openai
import pytest
from conftest import APP, HELLO

HEADERS = {"x-api-key": APP, "content-type": "application/json"}
BODY_MAX = 32 << 20
HEAD_MAX = 64 << 10
VALID = {
    "/v1/chat/completions": {"model": "fast", "messages": HELLO, "max_tokens": 2},
    "/v1/completions": {"model": "fast", "prompt": "x", "max_tokens": 2},
    "/v1/responses": {"model": "fast", "input": "x", "max_output_tokens": 20},
    "/v1/embeddings": {"model": "embed", "input": "x"},
    "/v1/messages": {"model": "claude", "messages": HELLO, "max_tokens": 2},
    "/v1/messages/count_tokens": {"model": "claude", "messages": HELLO},
}
TALKS = ["/v1/chat/completions", "/v1/messages"]
ANTHROPIC = {400: "invalid_request_error", 404: "not_found_error", 408: "timeout_error", 413: "request_too_large"}


def refused(answer, status, code, path, retry=False):
    """The error, once all is checked that every refusal has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers.get("x-should-retry") == (None if retry else "false") and ("retry-after" in answer.headers) == retry
    value, call = answer.json(), answer.headers["x-request-id"]
    error = value["error"]
    assert error["code"] == code and error["message"] and error["tollgate"]["failed"] == "policy", error
    if path.startswith("/v1/messages"):
        assert value["type"] == "error" and value["request_id"] == call == answer.headers["request-id"]
        assert error["type"] == ANTHROPIC.get(status, "invalid_request_error")
    else:
        assert set(value) == {"error"} and error["type"] == "invalid_request_error" and "param" in error
    return error


def post(node, path, **more):
    headers = HEADERS | more.pop("headers", {})
    return httpx.post(f"{node.url}{path}", headers=headers, timeout=30, **more)


@pytest.fixture
def unasked(sim):
    """No provider sees anything of the test."""
    sim.clear()
    yield
    assert sim.stats()["asked"] == 0


NO_JSON = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"[]", "invalid_type"),
    (b"null", "invalid_type"),
    (b'{"model":"fast","messages":[{"role":"user","content":"\xff"}]}', "invalid_json"),
    (b'{"model":"fast","messages":[{"role":"user","content":"x"}]} x', "invalid_json"),
    (b'{"deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "invalid_json"),
    (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "invalid_json"),
]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize("case", range(len(NO_JSON)))
def test_what_is_no_json_object(node, path, case):
    body, code = NO_JSON[case]
    refused(post(node, path, content=body), 400, code, path)


# what is changed in a request that is in order, None takes it out; what the error blames
WRONG = [
    ({"model": None}, "model", VALID),
    ({"model": 7}, "model", VALID),
    ({"model": ""}, "model", VALID),
    ({"model": "m" * 300}, "model", VALID),
    ({"stream": "yes"}, "stream", TALKS),
    ({"messages": None}, "messages", TALKS),
    ({"messages": []}, "messages", TALKS),
    ({"messages": "x"}, "messages", TALKS),
    ({"messages": ["x"]}, "messages[0]", TALKS),
    ({"max_tokens": -1}, "max_tokens", TALKS),
    ({"max_tokens": 1.5}, "max_tokens", TALKS),
    ({"max_tokens": "many"}, "max_tokens", TALKS),
    ({"tools": {}}, "tools", TALKS),
    ({"n": 0}, "n", ["/v1/chat/completions", "/v1/completions"]),
    ({"n": 1_000_000}, "n", ["/v1/chat/completions"]),
    ({"stream_options": []}, "stream_options", ["/v1/chat/completions"]),
    ({"max_tokens": None}, "max_tokens", ["/v1/messages"]),
    ({"system": 7}, "system", ["/v1/messages"]),
    ({"messages": None}, "messages", ["/v1/messages/count_tokens"]),
    ({"prompt": {}}, "prompt", ["/v1/completions"]),
    ({"input": None}, "input", ["/v1/responses", "/v1/embeddings"]),
    ({"input": 7}, "input", ["/v1/responses"]),
    ({"background": True}, "background", ["/v1/responses"]),
]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path,change,blamed", [(path, change, blamed) for change, blamed, paths in WRONG for path in paths])
def test_fields_that_are_wrong(node, path, change, blamed):
    body = {name: value for name, value in (VALID[path] | change).items() if value is not None}
    answer = post(node, path, json=body)
    error = refused(answer, 400, answer.json()["error"]["code"], path)
    assert error.get("param") == blamed and blamed.split("[")[0] in error["message"]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", VALID)
def test_a_key_that_stands_twice(node, path):
    body = json.dumps(VALID[path])[:-1] + ', "model": "other"}'
    assert refused(post(node, path, content=body), 400, "duplicate_key", path)["param"] == "model"


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", VALID)
def test_one_byte_too_many(node, path):
    refused(post(node, path, content=b" " * (BODY_MAX + 1)), 413, "request_too_large", path)
    # without a length ahead
    refused(post(node, path, content=(b" " * (1 << 20) for _ in range(33))), 413, "request_too_large", path)


def test_not_one_byte_too_many(node):
    for path in TALKS:
        body = json.dumps(VALID[path]).encode()
        assert post(node, path, content=body + b" " * (BODY_MAX - len(body))).status_code == 200


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", TALKS)
def test_headers_over_the_limit(node, path):
    many = {f"x-{number}": "1" for number in range(101)}
    refused(post(node, path, json=VALID[path], headers=many), 431, "headers_too_large", path)
    refused(post(node, path, json=VALID[path], headers={"x-large": "x" * HEAD_MAX}), 431, "headers_too_large", path)
    assert post(node, path, json=VALID[path], headers={"x-large": "x" * (HEAD_MAX << 4)}).status_code == 431


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", TALKS)
def test_headers_of_ours_that_are_wrong(node, path):
    for name, value in [("x-tollgate-tags", "no pair"), ("x-tollgate-tags", ",".join(f"k{n}=v" for n in range(9))), ("x-request-timeout", "soon")]:
        assert name in refused(post(node, path, json=VALID[path], headers={name: value}), 400, "invalid_header", path)["message"]


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", VALID)
def test_a_compressed_request(node, path):
    refused(post(node, path, content=b"x", headers={"content-encoding": "gzip"}), 415, "unsupported_content_encoding", path)


@pytest.mark.parametrize("path", VALID)
def test_any_content_type_will_do(node, path):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert post(node, path, content=json.dumps(VALID[path]), headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("path", VALID)
def test_what_is_not_known_passes(node, sim, path):
    unknown = {"some_new_field": {"a": [1.50, None, "ü"]}, "x_sim": {"output": 1}}
    assert post(node, path, json=VALID[path] | unknown).status_code == 200
    assert json.loads(sim.requests()["data"][0]["body"]["text"]).items() >= unknown.items()


@pytest.mark.usefixtures("unasked")
@pytest.mark.parametrize("path", VALID)
def test_models_that_are_not_there(node, path):
    near = {"fast": "fasst", "claude": "claud", "embed": "embd"}[VALID[path]["model"]]
    error = refused(post(node, path, json=VALID[path] | {"model": near}), 404, "model_not_found", path)
    assert VALID[path]["model"] in error["message"] and VALID[path]["model"] in error["tollgate"]["near"]
    if path in ("/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"):
        return  # these are translated, or counted here
    assert "anthropic" in refused(post(node, path, json=VALID[path] | {"model": "claude"}), 404, "model_other_dialect", path)["message"]


@pytest.mark.parametrize("method,path", [("GET", "/v1/responses/resp_1"), ("DELETE", "/v1/responses/resp_1"), ("POST", "/v1/responses/resp_1/cancel"), ("GET", "/v1/responses/resp_1/input_items")])
def test_responses_are_not_stored_here(node, method, path):
    answer = httpx.request(method, f"{node.url}{path}", headers=HEADERS)
    assert "stored responses" in refused(answer, 404, "unknown_url", path)["message"]


def test_routes_that_are_not_there(node):
    for method, path in [("GET", "/v1/messages/batches"), ("POST", "/v1/messages/batches"), ("GET", "/v1/nothing"), ("GET", "/v1/chat/completions")]:
        refused(httpx.request(method, f"{node.url}{path}", headers=HEADERS), 404, "unknown_url", path)
    refused(httpx.put(f"{node.url}/v1/models", headers=HEADERS), 405, "method_not_allowed", "/v1/models")


def test_sdks_ask_once_and_raise_at_once(node):
    asked = []

    def count(request):
        asked.append(request)

    gpt = openai.OpenAI(base_url=f"{node.url}/v1", api_key=APP, http_client=openai.DefaultHttpxClient(event_hooks={"request": [count]}))
    claude = anthropic.Anthropic(base_url=node.url, api_key=APP, http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [count]}))
    calls = [
        (openai.BadRequestError, lambda: gpt.chat.completions.create(model="fast", messages=[])),
        (openai.BadRequestError, lambda: gpt.responses.create(model="fast", input="x", background=True)),
        (openai.BadRequestError, lambda: gpt.embeddings.create(model="embed", input={})),
        (openai.NotFoundError, lambda: gpt.responses.retrieve("resp_1")),
        (openai.NotFoundError, lambda: gpt.completions.create(model="claude", prompt="x")),
        (openai.PermissionDeniedError, lambda: gpt.with_options(api_key="sk-narrow-000001").chat.completions.create(model="fast", messages=HELLO)),
        (anthropic.BadRequestError, lambda: claude.messages.create(model="claude", messages=[], max_tokens=1)),
        (openai.BadRequestError, lambda: gpt.chat.completions.create(model="claude", messages=HELLO, n=2)),
        (anthropic.NotFoundError, lambda: claude.messages.batches.list()),
        (anthropic.AuthenticationError, lambda: claude.with_options(api_key="sk-wrong-000000").messages.create(model="claude", messages=HELLO, max_tokens=1)),
    ]
    for kind, call in calls:
        asked.clear()
        start = time.monotonic()
        with pytest.raises(kind):
            call()
        assert len(asked) == 1 and time.monotonic() - start < 1, kind


@pytest.mark.parametrize("header,status", [("authorization: Bearer sk-wrong-00000001", 401), ("content-encoding: gzip", 415), ("x-tollgate-tags: bad", 400)])
def test_a_refusal_reaches_who_sends_all_before_it_reads(node, header, status):
    size = 16 << 20
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{header}\r\nx-api-key: {APP}\r\ncontent-length: {size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), timeout=20) as line:
        line.sendall(head.encode() + b" " * size)
        assert line.recv(1000).startswith(f"HTTP/1.1 {status} ".encode())


def test_arbitrary_bytes(node):
    """Bodies that are almost right: never a fault of the gateway, whatever comes."""
    chance = random.Random(7)
    with httpx.Client(base_url=node.url, headers=HEADERS, timeout=30) as client:
        for path, valid in VALID.items():
            for _ in range(60):
                body = bytearray(json.dumps(valid).encode())
                for _ in range(chance.randint(1, 4)):
                    at = chance.randrange(len(body))
                    body[at : at + chance.randint(0, 3)] = chance.choice([b"", b"{", b'"', b"\\", b"\0", b"\xff", b"-1e999", b"null", b"\\ud800", b","])
                answer = client.post(path, content=bytes(body))
                assert answer.status_code < 500, (path, bytes(body), answer.text)


def test_what_is_no_http(node):
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", node.port), timeout=20) as line:
            line.sendall(garbage + b"\r\n" * 4)
            assert b" 200 " not in line.recv(1000)
    assert httpx.get(f"{node.url}/livez").status_code == 200
