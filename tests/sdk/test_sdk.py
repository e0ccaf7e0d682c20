"""The official packages at their default settings, against the running binary."""

import asyncio
import json
import time

import anthropic
import httpx
import openai
import pytest
from conftest import APP, HELLO

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@pytest.fixture
def gpt(node):
    return openai.OpenAI(base_url=f"{node.url}/v1", api_key=APP, _strict_response_validation=True)


@pytest.fixture
def claude(node):
    return anthropic.Anthropic(base_url=node.url, api_key=APP, _strict_response_validation=True)


def test_chat(node, gpt):
    raw = gpt.chat.completions.with_raw_response.create(model="fast", messages=HELLO, max_tokens=20)
    answer = raw.parse()
    assert answer.choices[0].message.content and answer.model == "sim-fast"
    assert raw.headers["x-tollgate-provider"] == "sim" and raw.headers["x-tollgate-model"] == "fast"
    assert float(raw.headers["x-tollgate-cost-usd"]) > 0 and raw.headers["x-tollgate-attempts"] == "1"
    data = node.record(raw.headers["x-request-id"])
    assert data["outcome"] == "ok" and data["provider"] == "sim" and not data["estimated"]
    assert data["usage"]["output"] == answer.usage.completion_tokens and data["usage"]["input"] == answer.usage.prompt_tokens
    assert data["cost"] == raw.headers["x-tollgate-cost-usd"]


def test_chat_stream_hides_usage_unless_asked(node, gpt):
    chunks = list(gpt.chat.completions.create(model="fast", messages=HELLO, max_tokens=5, stream=True))
    assert all(chunk.choices for chunk in chunks) and chunks[-1].choices[0].finish_reason
    asked = list(gpt.chat.completions.create(model="fast", messages=HELLO, max_tokens=5, stream=True, stream_options={"include_usage": True}))
    assert asked[-1].choices == [] and asked[-1].usage.completion_tokens == 5
    finished = [event["data"] for event in node.events() if event["type"] == "tollgate.call.finished.v1"]
    assert finished[-1]["usage"]["output"] == 5 and finished[-2]["usage"]["output"] == 5


def test_tools(gpt):
    answer = gpt.chat.completions.create(model="fast", messages=HELLO, tools=[TOOL], tool_choice="required")
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather" and "city" in json.loads(call.function.arguments)


def test_other_openai_endpoints(node, gpt):
    assert gpt.completions.create(model="fast", prompt="Hello", max_tokens=4).choices[0].text
    # the package's own type refuses the `finish_reason: null` that the provider's chunks carry
    loose = openai.OpenAI(base_url=f"{node.url}/v1", api_key=APP)
    assert "".join(chunk.choices[0].text for chunk in loose.completions.create(model="fast", prompt="Hello", max_tokens=4, stream=True))
    answer = gpt.responses.create(model="fast", input="Hello", max_output_tokens=20)
    assert answer.output_text
    events = list(gpt.responses.create(model="fast", input="Hello", max_output_tokens=20, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert loose.embeddings.create(model="embed", input="Hello").data[0].embedding
    assert any(model.id == "fast" for model in gpt.models.list())


def test_anthropic(node, claude):
    raw = claude.messages.with_raw_response.create(model="claude", messages=HELLO, max_tokens=20)
    assert raw.parse().content[0].text and raw.headers["request-id"].startswith("call_")
    with claude.messages.stream(model="claude", messages=HELLO, max_tokens=5) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == 5
    before = node.usage(APP)["cost"]
    assert claude.messages.count_tokens(model="claude", messages=HELLO).input_tokens > 0
    assert node.usage(APP)["cost"] == before


def test_helpers_of_the_packages(node, sim, gpt, claude):
    with gpt.chat.completions.stream(model="fast", messages=HELLO, max_tokens=50, tools=[dict(TOOL, function=dict(TOOL["function"], strict=True))]) as stream:
        assert stream.get_final_completion().choices[0].finish_reason
    with gpt.responses.stream(model="fast", input="Hello", max_output_tokens=20) as stream:
        assert stream.get_final_response().output_text
    with gpt.chat.completions.with_streaming_response.create(model="fast", messages=HELLO, max_tokens=5) as raw:
        assert raw.headers["x-request-id"].startswith("call_") and raw.json()["choices"]
    # the beta of the package asks for `/v1/messages?beta=true`
    answer = claude.beta.messages.create(model="claude", messages=HELLO, max_tokens=5, betas=["some-beta-1"])
    assert answer.content[0].text and ["anthropic-beta", "some-beta-1"] in sim.requests()["data"][0]["headers"]
    tool = {"name": "weather", "input_schema": TOOL["function"]["parameters"]}
    used = claude.messages.create(model="claude", messages=HELLO, max_tokens=50, tools=[tool], tool_choice={"type": "any"})
    assert used.stop_reason == "tool_use" and "city" in used.content[-1].input
    by_token = anthropic.Anthropic(base_url=node.url, auth_token=APP, api_key=None)
    assert by_token.messages.create(model="claude", messages=HELLO, max_tokens=5).content


def test_asynchronous_clients(node):
    async def all_of_them():
        gpt = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=APP)
        claude = anthropic.AsyncAnthropic(base_url=node.url, api_key=APP)

        async def chat():
            stream = await gpt.chat.completions.create(model="fast", messages=HELLO, max_tokens=5, stream=True)
            return [chunk async for chunk in stream][-1].choices[0].finish_reason

        async def messages():
            async with claude.messages.stream(model="claude", messages=HELLO, max_tokens=5) as stream:
                return (await stream.get_final_message()).stop_reason

        return await asyncio.gather(*(one() for _ in range(20) for one in (chat, messages)))

    assert set(asyncio.run(all_of_them())) == {"length", "max_tokens"}


def test_without_v1_and_by_either_header(node):
    body = {"model": "fast", "messages": HELLO, "max_tokens": 4}
    assert httpx.post(f"{node.url}/chat/completions", json=body, headers={"x-api-key": APP}).status_code == 200
    assert httpx.post(f"{node.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {APP}"}).status_code == 200
    assert httpx.post(f"{node.url}/v1/chat/completions", json=dict(body, model="sim/anything"), headers={"x-api-key": APP}).json()["error"]["code"] == "model_unpriced"


def refused(sim, make, kind):
    sim.clear()
    start = time.monotonic()
    with pytest.raises(kind) as caught:
        make()
    assert time.monotonic() - start < 1, "a refusal is not retried"
    assert sim.stats()["asked"] == 0
    return caught.value


def test_refusals_in_openais_dialect(node, sim):
    def client(key):
        return openai.OpenAI(base_url=f"{node.url}/v1", api_key=key)

    def ask(key, model="fast", **more):
        return lambda: client(key).chat.completions.create(model=model, messages=HELLO, **more)

    assert refused(sim, ask("sk-wrong-00000000"), openai.AuthenticationError).code == "invalid_api_key"
    error = refused(sim, ask("sk-poor-00000001", max_tokens=100), openai.RateLimitError)
    assert error.code == "budget_exceeded" and error.type == "insufficient_quota"
    assert error.body["tollgate"]["level"] == "key" and error.body["tollgate"]["limit"] == "0.000001"
    assert error.response.headers["x-should-retry"] == "false" and "retry-after" not in error.response.headers
    near = refused(sim, ask(APP, model="fsat"), openai.NotFoundError)
    assert near.code == "model_not_found" and "fast" in near.message
    assert refused(sim, ask("sk-narrow-000001", model="fast"), openai.PermissionDeniedError).code == "model_not_allowed"
    assert "anthropic" in refused(sim, ask(APP, model="claude", logprobs=True), openai.BadRequestError).message


def test_refusals_in_anthropics_dialect(node, sim):
    def ask(key, model="claude"):
        return lambda: anthropic.Anthropic(base_url=node.url, api_key=key).messages.create(model=model, messages=HELLO, max_tokens=100)

    error = refused(sim, ask("sk-poor-00000001"), anthropic.RateLimitError)
    assert error.body["error"]["code"] == "budget_exceeded" and error.body["request_id"].startswith("call_")
    assert refused(sim, ask("sk-wrong-00000000"), anthropic.AuthenticationError).body["type"] == "error"
    assert refused(sim, ask(APP, "nothing"), anthropic.NotFoundError).body["error"]["type"] == "not_found_error"


def test_requests_a_minute(node):
    client = openai.OpenAI(base_url=f"{node.url}/v1", api_key="sk-slow-00000001", max_retries=0)
    for _ in range(2):
        client.chat.completions.create(model="fast", messages=HELLO, max_tokens=2)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="fast", messages=HELLO, max_tokens=2)
    assert caught.value.code == "rate_limit_exceeded" and 1 <= int(caught.value.response.headers["retry-after"]) <= 60


def test_fallback_and_upstream_errors(node, gpt):
    raw = gpt.chat.completions.with_raw_response.create(model="fallback", messages=HELLO, max_tokens=4)
    assert raw.headers["x-tollgate-attempts"] == "2" and raw.headers["x-tollgate-provider"] == "sim"
    with pytest.raises(openai.APIStatusError) as caught:
        gpt.with_options(max_retries=0).chat.completions.create(model="fast", messages=HELLO, extra_body={"x_sim": {"status": 401}})
    assert caught.value.status_code == 502 and caught.value.code == "upstream_auth"
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.chat.completions.create(model="fast", messages=HELLO, extra_body={"x_sim": {"status": 400}})
    assert node.record(caught.value.response.headers["x-request-id"])["cost"] == "0"


@pytest.mark.parametrize("endpoint", ["chat", "completions", "responses", "messages"])
def test_a_stream_that_breaks_off_raises_and_is_recorded(node, endpoint):
    since = len(node.events())
    gpt, claude = openai.OpenAI(base_url=f"{node.url}/v1", api_key=APP), anthropic.Anthropic(base_url=node.url, api_key=APP)
    cut = {"stream": True, "extra_body": {"x_sim": {"cut": 8}}}
    with pytest.raises((openai.APIError, anthropic.APIError), match="broke off"):
        list(
            {
                "chat": lambda: gpt.chat.completions.create(model="fast", messages=HELLO, max_tokens=50, **cut),
                "completions": lambda: gpt.completions.create(model="fast", prompt="Hello!", max_tokens=50, **cut),
                "responses": lambda: gpt.responses.create(model="fast", input="Hello!", max_output_tokens=50, **cut),
                "messages": lambda: claude.messages.create(model="claude", messages=HELLO, max_tokens=50, **cut),
            }[endpoint]()
        )
    finished = [event["data"] for event in node.events(since) if event["type"] == "tollgate.call.finished.v1"]
    assert [data["outcome"] for data in finished] == ["failed"] and finished[0]["estimated"]


def test_a_stream_that_breaks_off_unseen_is_tried_again(node):
    since = len(node.events())
    client = anthropic.Anthropic(base_url=node.url, api_key=APP, max_retries=0)
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(client.messages.create(model="claude", messages=HELLO, max_tokens=50, stream=True, extra_body={"x_sim": {"cut": 1}}))
    assert caught.value.status_code == 502
    kinds = [event["type"].split(".")[2] for event in node.events(since)]
    assert kinds == ["admitted", "extended", "finished"], "the second attempt holds the ceiling once more, for the first may have cost it"
    finished = node.events(since)[-1]["data"]
    assert finished["attempts"] == 2 and finished["outcome"] == "failed"


def test_what_reaches_the_provider(node, sim):
    headers = {"authorization": f"Bearer {APP}", "cookie": "secret=1", "openai-organization": "org-x", "openai-beta": "assistants=v2"}
    httpx.post(f"{node.url}/v1/chat/completions", json={"model": "fast", "messages": HELLO, "max_tokens": 2}, headers=headers)
    seen = json.dumps(sim.requests())
    assert APP not in seen and "secret=1" not in seen and "org-x" not in seen and "assistants=v2" in seen and "identity" in seen


def test_administration_needs_its_token(node):
    assert httpx.post(f"{node.url}/api/v1/apply", content=b"").status_code == 401
    assert httpx.get(f"{node.url}/api/v1/events", headers={"authorization": f"Bearer {APP}"}).status_code == 401
