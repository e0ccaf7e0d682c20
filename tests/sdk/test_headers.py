"""What passes between caller and provider beside the body, in both directions, and what never does."""

import json

import anthropic
import httpx
import openai
import pytest
from conftest import APP, HELLO, PRICE, Node

CHAT = {"model": "fast", "messages": HELLO, "max_tokens": 4}
MESSAGES = {"model": "claude", "messages": HELLO, "max_tokens": 4}
ENDPOINTS = [("/v1/chat/completions", CHAT, "sk-upstream-secret"), ("/v1/messages", MESSAGES, "sk-ant-upstream")]
# the whole of what a provider may see, and of what a caller may
UPWARDS = {
    "host", "content-length", "content-type", "accept", "accept-encoding", "user-agent", "authorization", "x-api-key", "x-call",
    "anthropic-version", "anthropic-beta", "openai-beta", "traceparent", "tracestate",
}
DOWNWARDS = {"content-length", "transfer-encoding", "date", "content-type", "cache-control", "x-request-id", "request-id", "openai-version", "openai-processing-ms", "openai-model"}
PRIVATE = {
    "cookie": "session=private", "openai-organization": "org-private", "openai-project": "proj-private", "anthropic-organization-id": "org-private",
    "x-forwarded-for": "10.9.8.7", "forwarded": "for=10.9.8.7", "x-real-ip": "10.9.8.7", "referer": "http://private.example", "origin": "http://private.example",
    "x-stainless-arch": "private", "user-agent": "private/1.0", "x-request-id": "private-id", "x-goog-api-key": "private", "api-key": "private", "baggage": "user=private",
    "x-tollgate-tags": "team=private", "idempotency-key": "private", "connection": "x-hop", "x-hop": "private",
}
PASSED = {"anthropic-beta": "some-beta-1", "anthropic-version": "2023-01-01", "openai-beta": "assistants=v2", "accept": "application/json"}


def post(node, path, body, **headers):
    return httpx.post(f"{node.url}{path}", json=body, headers={"authorization": f"Bearer {APP}"} | headers, timeout=30)


def seen(sim):
    """The headers of the last request that the provider got."""
    pairs = sim.requests()["data"][0]["headers"]
    assert len(pairs) == len({name for name, _ in pairs}), pairs
    return dict(pairs)


def only_what_may_be_seen(answer, *more):
    ours = {name for name in answer.headers if name.startswith("x-tollgate-") or name.startswith("x-ratelimit-")}
    assert set(answer.headers) <= DOWNWARDS | ours | set(more), answer.headers
    assert "sim=1" not in str(answer.headers)


@pytest.mark.parametrize("path,body,secret", ENDPOINTS)
def test_only_what_is_listed_goes_up(node, sim, path, body, secret):
    assert post(node, path, body, **PRIVATE, **PASSED).status_code == 200
    up = seen(sim)
    assert set(up) <= UPWARDS and PASSED.items() <= up.items()
    assert "private" not in json.dumps(up) and "10.9.8.7" not in json.dumps(up) and APP not in json.dumps(up)
    assert up["accept-encoding"] == "identity" and up["content-type"] == "application/json"
    assert (up.get("authorization"), up.get("x-api-key")) == ((None, secret) if path == "/v1/messages" else (f"Bearer {secret}", None))
    assert up["host"] == f"127.0.0.1:{sim.port}"


def test_anthropics_version_is_named_if_the_caller_names_none(node, sim):
    post(node, "/v1/messages", MESSAGES)
    assert seen(sim)["anthropic-version"] == "2023-06-01"
    post(node, "/v1/chat/completions", CHAT)
    assert "anthropic-version" not in seen(sim)


@pytest.mark.parametrize("path,body,_", ENDPOINTS)
@pytest.mark.parametrize("wish", [{}, {"stream": True}, {"x_sim": {"status": 400}}, {"x_sim": {"status": 429}}, {"x_sim": {"status": 401}}])
def test_only_what_is_listed_comes_down(node, path, body, _, wish):
    answer = post(node, path, body | wish)
    assert answer.status_code == {401: 502}.get(status := wish.get("x_sim", {}).get("status", 200), status)
    only_what_may_be_seen(answer)


@pytest.mark.parametrize("path,body,_", ENDPOINTS)
def test_every_answer_says_whose_it_is(node, path, body, _):
    whole, stream = post(node, path, body), post(node, path, body | {"stream": True})
    failed, auth = post(node, path, body | {"x_sim": {"status": 400}}), post(node, path, body | {"x_sim": {"status": 401}})
    for answer in (whole, stream, failed, auth):
        call = answer.headers["x-request-id"]
        assert call.startswith("call_") and answer.headers.get("request-id") == (call if path == "/v1/messages" else None)
        assert answer.headers["x-tollgate-model"] == body["model"] and answer.headers["x-tollgate-attempts"] == "1"
        assert answer.headers["x-tollgate-provider"] == ("claude-sim" if path == "/v1/messages" else "sim")
        assert int(answer.headers["x-tollgate-overhead-us"]) < 1_000_000 and answer.headers["x-tollgate-policy"].startswith("0:")
        upstream = answer.headers["x-tollgate-upstream-id"]
        assert upstream and upstream != call and node.record(call)["attempt_list"][0]["upstream_id"] == upstream
        assert ("x-tollgate-cost-usd" in answer.headers) == (answer is whole)
    assert whole.headers["x-tollgate-cost-usd"] == node.record(whole.headers["x-request-id"])["cost"]
    assert stream.headers["content-type"].startswith("text/event-stream") and stream.headers["cache-control"] == "no-cache"


@pytest.fixture(scope="module")
def limited(sim, tmp_path_factory):
    """One tenant alone, whose keys have limits."""
    config = {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "price": PRICE},
            {"name": "claude", "dialect": "anthropic", "base_url": sim.url, "price": PRICE},
        ],
        "tenants": [{"name": "acme", "rpm_limit": 1000}],
        "keys": [
            {"name": "app", "scope": "acme", "secret": APP, "rpm_limit": 50, "tpm_limit": 100_000},
            {"name": "tight", "scope": "acme", "secret": "sk-tight-00000001", "tpm_limit": 100},
        ],
    }
    node = Node(tmp_path_factory.mktemp("limited"), config)
    yield node
    node.stop()


def test_limits_are_said_and_are_ours(limited):
    first, second = (post(limited, "/v1/chat/completions", CHAT | {"model": "sim/m"}) for _ in range(2))
    for answer in (first, second):
        assert answer.headers["x-ratelimit-limit-requests"] == "50" and answer.headers["x-ratelimit-limit-tokens"] == "100000"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s") and answer.headers["x-ratelimit-reset-tokens"].endswith("s")
    left = [int(answer.headers["x-ratelimit-remaining-requests"]) for answer in (first, second)]
    assert left[0] - left[1] == 1 and left[0] < 50
    assert 0 < int(second.headers["x-ratelimit-remaining-tokens"]) < 100_000


def test_what_is_larger_than_a_limit_is_not_to_be_tried_again(limited):
    answer = post(limited, "/v1/chat/completions", CHAT | {"model": "sim/m", "max_tokens": 500}, authorization="Bearer sk-tight-00000001")
    assert answer.status_code == 429 and answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.headers["x-should-retry"] == "false" and "retry-after" not in answer.headers


@pytest.mark.parametrize("path,body,_", ENDPOINTS)
@pytest.mark.parametrize("stream", [False, True])
def test_compression_is_nobodys_business(node, sim, path, body, _, stream):
    def ask(**wish):
        answer = post(node, path, body | {"stream": stream, "x_sim": {"echo": True, **wish}}, **{"accept-encoding": "gzip, br"})
        assert answer.status_code == 200 and "content-encoding" not in answer.headers
        usage = node.record(answer.headers["x-request-id"])
        assert not usage["estimated"] and usage["usage"]["output"] > 0
        return answer.text

    assert seen(sim)["accept-encoding"] == "identity"
    plain, compressed = ask(), ask(gzip=True)
    assert "Hello" in plain and "Hello" in compressed and len(plain) == len(compressed)


def image(source):
    return [{"role": "user", "content": [{"type": "image", "source": source}]}]


# what a provider keeps for somebody, and the field that is blamed
KEPT = [
    ("/v1/responses", {"model": "sim/m", "input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
    ("/v1/responses", {"model": "sim/m", "input": "x", "conversation": "conv_1"}, "conversation"),
    ("/v1/responses", {"model": "sim/m", "input": [{"type": "item_reference", "id": "msg_1"}]}, "item_reference"),
    ("/v1/responses", {"model": "sim/m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_1"}]}]}, "file_id"),
    ("/v1/chat/completions", {"model": "sim/m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file_1"}}]}]}, "file_id"),
    ("/v1/messages", {"model": "claude/m", "max_tokens": 9, "messages": image({"type": "file", "file_id": "file_1"})}, "file_id"),
    ("/v1/messages", {"model": "claude/m", "max_tokens": 9, "messages": HELLO, "container": "container_1"}, "container"),
]


@pytest.fixture(scope="module")
def shared(sim, tmp_path_factory):
    """Two tenants: what a provider keeps might be the other's."""
    config = {
        "providers": [
            {"name": "sim", "dialect": "openai", "base_url": f"{sim.url}/v1", "price": PRICE},
            {"name": "claude", "dialect": "anthropic", "base_url": sim.url, "price": PRICE},
            {"name": "own", "tenant": "acme", "dialect": "openai", "base_url": f"{sim.url}/v1", "price": PRICE},
        ],
        "tenants": [{"name": "acme"}, {"name": "other"}],
        "keys": [{"name": "app", "scope": "acme", "secret": APP}, {"name": "theirs", "scope": "other", "secret": "sk-other-00000001"}],
    }
    node = Node(tmp_path_factory.mktemp("shared"), config)
    yield node
    node.stop()


@pytest.mark.parametrize("case", range(len(KEPT)))
def test_what_a_provider_keeps_passes_for_one_tenant_only(limited, shared, sim, case):
    path, body, field = KEPT[case]
    assert post(limited, path, body).status_code == 200
    sim.clear()
    answer = post(shared, path, body)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "provider_state_not_allowed"
    assert answer.json()["error"]["param"] == field and answer.headers["x-should-retry"] == "false"
    assert sim.stats()["asked"] == 0


def test_a_tenants_own_provider(shared):
    body = {"input": "x", "previous_response_id": "resp_1", "model": "own/m"}
    # a tenant's provider may not lead to where the operator's machines are: it gets as far as that
    assert post(shared, "/v1/responses", body).json()["error"]["code"] == "upstream_url_refused"
    hidden = post(shared, "/v1/responses", body, authorization="Bearer sk-other-00000001")
    assert hidden.status_code == 404 and hidden.json()["error"]["code"] == "model_not_found" and "own" not in json.dumps(hidden.json()["error"]["tollgate"])


def test_what_we_write_ourselves_is_strictly_valid(node):
    gpt = openai.OpenAI(base_url=f"{node.url}/v1", api_key=APP, _strict_response_validation=True)
    listed = gpt.models.list()
    assert {"fast", "embed", "claude", "fallback"} <= {model.id for model in listed} and listed.object == "list"
    assert gpt.models.retrieve("fast").id == "fast"
    with pytest.raises(openai.NotFoundError) as missing:
        gpt.models.retrieve("nothing")
    assert (missing.value.code, missing.value.param, missing.value.type) == ("model_not_found", "model", "invalid_request_error")
    narrow = gpt.with_options(api_key="sk-narrow-000001").models.list()
    assert [model.id for model in narrow] == ["claude"]

    claude = anthropic.Anthropic(base_url=node.url, api_key=APP, _strict_response_validation=True)
    assert "claude" in {model.id for model in claude.models.list()}
    assert claude.models.retrieve("claude").type == "model"
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nothing", messages=HELLO, max_tokens=1)
    anthropic.types.ErrorResponse.model_validate(missing.value.body)
    assert missing.value.request_id == missing.value.body["request_id"]
