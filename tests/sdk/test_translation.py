"""Any SDK in front of any provider: the official clients at their default settings, each against the dialect that it does not speak."""

import json

import anthropic
import httpx
import openai
import pytest
from conftest import ADMIN, APP, HELLO, PRICE, Node, base_config
from scripted import Fixed

TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
OPENAI_TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": TOOL}}]
ANTHROPIC_TOOLS = [{"name": "weather", "description": "The weather", "input_schema": TOOL}]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
OPENAI, ANTHROPIC = "openai", "anthropic"
# Providers, each with one model of its name: what it speaks, and what the simulator does.
TARGETS = {
    "gpt-down": (OPENAI, {"status": "500"}),
    "claude": (ANTHROPIC, {"output": "7", "cached": "2"}),
    "gpt": (OPENAI, {"output": "7", "cached": "2"}),
    "claude-long": (ANTHROPIC, {"output": "max"}),
    "claude-tools": (ANTHROPIC, {"tools": "2"}),
    "gpt-tools": (OPENAI, {"tools": "2"}),
    "claude-wrong": (ANTHROPIC, {"status": "400"}),
    "gpt-wrong": (OPENAI, {"status": "400"}),
    "claude-busy": (ANTHROPIC, {"status": "429"}),
    "gpt-busy": (OPENAI, {"status": "429"}),
    "claude-breaks": (ANTHROPIC, {"output": "50", "error-event": "6"}),
    "gpt-breaks": (OPENAI, {"output": "50", "error-event": "6"}),
    "claude-cut": (ANTHROPIC, {"output": "50", "cut": "6"}),
    "gpt-cut": (OPENAI, {"output": "50", "cut": "6"}),
    "claude-split": (ANTHROPIC, {"output": "20", "split": "3"}),
    "gpt-split": (OPENAI, {"output": "20", "split": "3"}),
    "claude-thinks": (ANTHROPIC, {"output": "9", "reasoning": "4"}),
    "gpt-thinks": (OPENAI, {"output": "9", "reasoning": "4"}),
}


def entry(sim, dialect):
    return {"dialect": dialect, "base_url": f"{sim.url}/v1" if dialect == OPENAI else sim.url, "api_key": "sk-upstream-secret"}


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    config = base_config(sim)
    limits = {"max_output_tokens": 4096, "context_tokens": 128000, "price": PRICE}
    config["providers"] += [{**entry(sim, dialect), "name": name, "headers": {f"x-sim-{wish}": value for wish, value in wishes.items()}} for name, (dialect, wishes) in TARGETS.items()]
    config["models"] = [{"name": name, "targets": [{"provider": name, "model": f"sim-{name}"}], **limits} for name in TARGETS]
    chain = ["dead", "gpt-down", "claude"]
    config["models"].append({"name": "chain", "targets": [{"provider": provider, "model": "sim-chain"} for provider in chain], **limits})
    node = Node(tmp_path_factory.mktemp("translation"), config)
    yield node
    node.stop()


@pytest.fixture
def gpt(node):
    return openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1")


@pytest.fixture
def claude(node):
    return anthropic.Anthropic(api_key=APP, base_url=node.url)


def sent(sim):
    """The body that the provider got last."""
    return json.loads(sim.requests()["data"][0]["body"]["text"])


def last_record(node, answer):
    return node.record(answer.headers["x-request-id"])


def test_openai_asks_claude(gpt, node, sim):
    raw = gpt.chat.completions.with_raw_response.create(model="claude", messages=[{"role": "system", "content": "Be short."}, *HELLO], temperature=0.5, stop=["END"])
    answer = raw.parse()
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-") and answer.created > 1_700_000_000
    assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.completion_tokens == 7 and usage.prompt_tokens_details.cached_tokens == 2
    assert usage.total_tokens == usage.prompt_tokens + 7
    body = sent(sim)
    assert body["system"] and body["max_tokens"] == 4096 and body["stop_sequences"] == ["END"] and body["messages"][0]["role"] == "user"
    record = last_record(node, raw)
    assert record["outcome"] == "ok" and record["tokens"] == usage.total_tokens
    assert "x-tollgate-lost" not in raw.headers


def test_anthropic_asks_gpt(claude, node, sim):
    raw = claude.messages.with_raw_response.create(model="gpt", max_tokens=50, system="Be short.", messages=HELLO, stop_sequences=["END"])
    answer = raw.parse()
    assert answer.type == "message" and answer.role == "assistant" and answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text" and answer.content[0].text
    assert answer.usage.output_tokens == 7 and answer.usage.cache_read_input_tokens == 2
    body = sent(sim)
    assert body["messages"][0] == {"role": "system", "content": "Be short."} and body["stop"] == ["END"]
    assert (body.get("max_tokens") or body.get("max_completion_tokens")) == 50
    assert last_record(node, raw)["tokens"] == answer.usage.input_tokens + 2 + 7


@pytest.mark.parametrize("model", ["claude", "claude-split"])
def test_openai_streams_from_claude(gpt, model):
    whole, usage, reasons, roles = "", None, [], []
    for chunk in gpt.chat.completions.create(model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}):
        assert chunk.object == "chat.completion.chunk" and chunk.id.startswith("chatcmpl-")
        usage = chunk.usage or usage
        for choice in chunk.choices:
            whole += choice.delta.content or ""
            roles += [choice.delta.role] if choice.delta.role else []
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert whole and reasons == ["stop"] and roles == ["assistant"]
    assert usage.completion_tokens == (7 if model == "claude" else 20)


def test_usage_is_streamed_only_where_it_was_asked_for(gpt):
    chunks = list(gpt.chat.completions.create(model="claude", messages=HELLO, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


@pytest.mark.parametrize("model", ["gpt", "gpt-split"])
def test_anthropic_streams_from_gpt(claude, model):
    with claude.messages.stream(model=model, max_tokens=50, messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert answer.content[0].text and answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens == (7 if model == "gpt" else 20) and answer.usage.input_tokens + answer.usage.cache_read_input_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_openai_uses_tools_of_claude(gpt, sim, stream):
    ask = {"model": "claude-tools", "tools": OPENAI_TOOLS, "tool_choice": "required"}
    messages = list(HELLO)
    if stream:
        with gpt.chat.completions.stream(messages=messages, **ask) as events:
            answer = events.get_final_completion() if not list(events) else events.get_final_completion()
    else:
        answer = gpt.chat.completions.create(messages=messages, **ask)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and len(message.tool_calls) == 2
    assert all(isinstance(json.loads(call.function.arguments), dict) and call.function.name == "weather" for call in message.tool_calls)
    assert sent(sim)["tool_choice"] == {"type": "any"} and sent(sim)["tools"] == ANTHROPIC_TOOLS
    # the next turn: both results stand in one message of the user, first
    messages += [{"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls]}]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in message.tool_calls] + [{"role": "user", "content": "And now?"}]
    assert gpt.chat.completions.create(model="claude", messages=messages, tools=OPENAI_TOOLS).choices[0].message.content
    turns = sent(sim)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert [block["id"] for block in turns[1]["content"]] == [block["tool_use_id"] for block in turns[2]["content"][:2]]


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_uses_tools_of_gpt(claude, sim, stream):
    ask = {"model": "gpt-tools", "max_tokens": 500, "tools": ANTHROPIC_TOOLS, "tool_choice": {"type": "any"}}
    messages = list(HELLO)
    if stream:
        with claude.messages.stream(messages=messages, **ask) as events:
            answer = events.get_final_message()
    else:
        answer = claude.messages.create(messages=messages, **ask)
    uses = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use" and len(uses) == 2 and all(isinstance(use.input, dict) for use in uses)
    assert sent(sim)["tool_choice"] == "required" and sent(sim)["tools"] == OPENAI_TOOLS
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [*results, {"type": "text", "text": "And now?"}]}]
    assert claude.messages.create(model="gpt", max_tokens=50, messages=messages, tools=ANTHROPIC_TOOLS).content[0].text
    turns = sent(sim)["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in turns[1]["tool_calls"]] == [turn["tool_call_id"] for turn in turns[2:4]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_asked_for_by_a_forced_tool_and_comes_back_as_text(gpt, sim, stream):
    shape = {"type": "json_schema", "json_schema": {"name": "place", "schema": TOOL, "strict": True}}
    answer = gpt.chat.completions.create(model="claude", messages=HELLO, response_format=shape, stream=stream)
    if stream:
        text = "".join(choice.delta.content or "" for chunk in answer for choice in chunk.choices)
    else:
        assert answer.choices[0].finish_reason == "stop" and not answer.choices[0].message.tool_calls
        text = answer.choices[0].message.content
    assert set(json.loads(text)) == {"city"}
    body = sent(sim)
    assert body["tool_choice"]["type"] == "tool" and body["tools"][0]["input_schema"] == TOOL


def test_images_go_both_ways(gpt, claude, sim):
    url = f"data:image/png;base64,{DOT}"
    gpt.chat.completions.create(model="claude", messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]}])
    source = {"type": "base64", "media_type": "image/png", "data": DOT}
    assert {"type": "image", "source": source} in sent(sim)["messages"][0]["content"]
    claude.messages.create(model="gpt", max_tokens=9, messages=[{"role": "user", "content": [{"type": "text", "text": "What?"}, {"type": "image", "source": source}]}])
    assert {"type": "image_url", "image_url": {"url": url}} in sent(sim)["messages"][0]["content"]


def test_what_changes_the_meaning_is_refused_and_hints_are_reported(gpt, node):
    with pytest.raises(openai.BadRequestError) as refused:
        gpt.chat.completions.create(model="claude", messages=HELLO, logprobs=True)
    assert refused.value.code == "lost_in_translation" and refused.value.param == "logprobs"
    with pytest.raises(openai.BadRequestError):
        gpt.chat.completions.create(model="claude", messages=HELLO, n=2)
    raw = gpt.chat.completions.with_raw_response.create(model="claude", messages=HELLO, seed=7, logit_bias={"1": 2})
    assert set(raw.headers["x-tollgate-lost"].split(",")) == {"seed", "logit_bias"}
    raw = gpt.chat.completions.with_raw_response.create(model="claude", messages=HELLO, seed=7, logprobs=True, extra_headers={"x-tollgate-loss": "logprobs=warn,sampling=pass"})
    assert raw.headers["x-tollgate-lost"] == "logprobs"
    with pytest.raises(openai.BadRequestError):
        gpt.chat.completions.create(model="claude", messages=HELLO, seed=7, extra_headers={"x-tollgate-loss": "refuse"})
    with pytest.raises(openai.BadRequestError) as wrong:
        gpt.chat.completions.create(model="claude", messages=HELLO, extra_headers={"x-tollgate-loss": "perhaps"})
    assert "pass, warn or refuse" in wrong.value.message
    assert node.budgets(APP)[0]["held"] in ("0", "0.00")


def losses(node, call):
    """What the record of a call says that it lost: half, kind and path."""
    found = [event["data"] for event in node.events() if event["subject"] == call and event["type"] == "tollgate.call.translated.v1"]
    assert len(found) <= 1
    return [(loss["half"], loss["kind"], loss["path"]) for data in found for loss in data["losses"]]


@pytest.mark.parametrize("stream", [False, True])
def test_losses_stand_in_the_record_whatever_the_rules_say(gpt, node, stream):
    raw = gpt.chat.completions.with_raw_response.create(model="claude", messages=HELLO, seed=7, logprobs=True, stream=stream, extra_headers={"x-tollgate-loss": "pass"})
    list(raw.parse()) if stream else raw.parse()
    assert "x-tollgate-lost" not in raw.headers
    call = raw.headers["x-request-id"]
    node.record(call)
    assert losses(node, call) == [("request", "sampling", "seed"), ("request", "logprobs", "logprobs")]
    kinds = [event["type"] for event in node.events() if event["subject"] == call]
    assert kinds == [f"tollgate.call.{kind}.v1" for kind in ("admitted", "translated", "finished")]
    raw = gpt.chat.completions.with_raw_response.create(model="claude", messages=HELLO)
    assert losses(node, raw.headers["x-request-id"]) == []


def test_what_a_stream_loses_after_its_head_stands_in_the_record_alone(claude, node):
    """An upstream whose stream says, behind the head, what the caller's dialect has no word for."""
    frames = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}}]},
        {"choices": [{"index": 0, "delta": {"content": " you"}, "logprobs": {"content": [{"token": " you", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}},
    ]
    text = "".join(f"data: {json.dumps({'id': 'chatcmpl-1', 'object': 'chat.completion.chunk', 'created': 1, 'model': 'm', **frame})}\n\n" for frame in frames) + "data: [DONE]\n\n"
    with Fixed(text, "text/event-stream") as upstream:
        config = {"providers": [{"name": "fixed", "dialect": "openai", "base_url": f"{upstream.url}/v1"}], "models": [{"name": "fixed", "targets": [{"provider": "fixed", "model": "m"}], "price": PRICE}]}
        assert node.apply(config).status_code == 200
        raw = claude.messages.with_raw_response.create(model="fixed", max_tokens=9, messages=HELLO, stream=True)
        events = list(raw.parse())
    assert events[-1].type == "message_stop" and "x-tollgate-lost" not in raw.headers
    call = raw.headers["x-request-id"]
    node.record(call)
    assert [(half, kind) for half, kind, _ in losses(node, call)] == [("answer", "logprobs")]


def test_rules_about_losses_by_tenant_and_key(node):
    def asked(secret, **headers):
        body = {"model": "claude", "messages": HELLO, "logprobs": True, "seed": 7}
        answer = httpx.post(f"{node.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}", **headers}, timeout=30)
        return answer.status_code, answer.headers.get("x-tollgate-lost")

    keys = [{"name": "plain", "scope": "rules", "secret": "sk-rules-plain-1"}, {"name": "strict", "scope": "rules", "secret": "sk-rules-strict", "loss": "refuse"}]
    config = {"tenants": [{"name": "rules", "loss": "logprobs=warn"}], "keys": keys}
    applied = node.apply(config)
    rules = [{"path": "loss", "before": None, "after": "logprobs=warn"}]
    assert applied.status_code == 200 and {"op": "create", "kind": "policy", "name": "tenant rules", "fields": rules} in applied.json()["changes"]
    assert asked("sk-rules-plain-1") == (200, "seed,logprobs")
    assert asked("sk-rules-strict")[0] == 400
    assert asked("sk-rules-strict", **{"x-tollgate-loss": "warn,sampling=pass"}) == (200, "logprobs")
    assert node.apply({"tenants": [{"name": "rules"}]}).status_code == 200
    assert asked("sk-rules-plain-1")[0] == 400
    wrong = node.apply({"tenants": [{"name": "rules", "loss": "logprobs=perhaps"}]})
    assert wrong.status_code == 400 and "tenants[0].loss" in wrong.text and "pass, warn or refuse" in wrong.text


def test_errors_keep_their_class_code_and_message(gpt, claude, sim):
    with pytest.raises(openai.BadRequestError) as one:
        gpt.chat.completions.create(model="claude-wrong", messages=HELLO)
    assert one.value.message and one.value.code and one.value.type == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError) as two:
        claude.messages.create(model="gpt-wrong", max_tokens=9, messages=HELLO)
    assert two.value.body["type"] == "error" and two.value.body["error"]["type"] == "invalid_request_error" and two.value.body["error"]["message"]
    with pytest.raises(openai.RateLimitError):
        gpt.with_options(max_retries=0).chat.completions.create(model="claude-busy", messages=HELLO)
    with pytest.raises(anthropic.RateLimitError):
        claude.with_options(max_retries=0).messages.create(model="gpt-busy", max_tokens=9, messages=HELLO)


@pytest.mark.parametrize("how", ["breaks", "cut"])
def test_a_stream_that_breaks_ends_in_an_error_event_and_a_record(gpt, claude, node, how):
    raw = gpt.chat.completions.with_raw_response.create(model=f"claude-{how}", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        list(raw.parse())
    assert last_record(node, raw)["outcome"] == "failed"
    text = httpx.post(f"{node.url}/v1/messages", headers={"x-api-key": APP}, json={"model": f"gpt-{how}", "max_tokens": 90, "messages": HELLO, "stream": True})
    assert "event: error\n" in text.text and "message_stop" not in text.text
    assert last_record(node, text)["outcome"] == "failed"


def test_a_chain_goes_on_in_another_dialect(gpt, claude):
    raw = gpt.chat.completions.with_raw_response.create(model="chain", messages=HELLO)
    assert raw.headers["x-tollgate-provider"] == "claude" and int(raw.headers["x-tollgate-attempts"]) == 3
    assert raw.parse().usage.completion_tokens == 7
    answer = claude.messages.create(model="chain", max_tokens=9, messages=HELLO)
    assert answer.usage.output_tokens == 7


def test_thinking_is_shown_and_its_tokens_are_counted(gpt, claude):
    answer = gpt.chat.completions.create(model="claude-thinks", messages=HELLO, reasoning_effort="low")
    assert answer.usage.completion_tokens >= 9
    said = answer.choices[0].message.model_dump()
    if said.get("thinking_blocks"):
        assert said["reasoning_content"] == said["thinking_blocks"][0]["thinking"]
    assert claude.messages.create(model="gpt-thinks", max_tokens=99, messages=HELLO).usage.output_tokens >= 9


def test_a_limit_that_the_caller_names_holds(gpt):
    answer = gpt.chat.completions.create(model="claude-long", messages=HELLO, max_completion_tokens=5)
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 5


def test_tokens_are_counted_for_models_of_either_side(claude, node, sim):
    sim.clear()
    counted = claude.messages.count_tokens(model="gpt", messages=[{"role": "user", "content": "hello world " * 50}])
    assert 100 <= counted.input_tokens <= 400 and sim.stats()["calls"] == {}
    assert claude.messages.count_tokens(model="claude", messages=HELLO).input_tokens > 0
    record = list(node.records().values())[-2][1]
    assert record["outcome"] == "ok" and record["cost"] in ("0", "0.00") and record["tokens"] == 0


def test_capabilities_are_listed(node):
    asked = httpx.get(f"{node.url}/api/v1/capabilities", headers={"authorization": f"Bearer {ADMIN}"})
    cells = asked.json()["data"]
    assert asked.json()["object"] == "list" and {(cell["caller"], cell["provider"]) for cell in cells} == {("openai", "anthropic"), ("anthropic", "openai")}
    assert {cell["direction"] for cell in cells} == {"request", "answer", "stream"} and all(cell["test"] for cell in cells)
    seed = next(cell for cell in cells if cell["feature"] == "Seed")
    assert (seed["support"], seed["policy"], seed["lost"]) == ("lost", "warn", {"seed": "sampling"})
    assert httpx.get(f"{node.url}/api/v1/capabilities").status_code == 401
