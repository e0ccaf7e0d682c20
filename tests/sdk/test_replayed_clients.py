"""Recorded answers of real providers, heard through clients of the other dialect (which here do not ask an error again): what the
client says is what the provider said. (Requests of the recordings go across in `actors/dialects/tests/exchange.rs`.)"""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import APP, HELLO, PRICE, Node
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI
from npm import bare, install
from pydantic_ai import ModelRequest
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from test_recordings import RECORDINGS, every_row, frames, payload

# what the other side calls the end; a provider's own words are an ordinary end
OPENAI_ENDS = {"max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter", "model_context_window_exceeded": "length"}
ANTHROPIC_ENDS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}
# what clients with words of their own make of either side's
PYDANTIC_AI_ENDS = {"tool_calls": "tool_call", "end_turn": "stop", "max_tokens": "length", "tool_use": "tool_call", "refusal": "content_filter"}
VERCEL_ENDS = {"tool_calls": "tool-calls", "content_filter": "content-filter", "end_turn": "stop", "max_tokens": "length", "tool_use": "tool-calls", "refusal": "content-filter"}
CROSSES = {"openai": "anthropic-messages", "anthropic": "openai-chat"}  # what a client of a dialect hears
both = pytest.mark.parametrize("speaks", CROSSES)


def recorded(dialect):
    found = [row for row in every_row() if row["dialect"] == dialect and "handmade" not in row["tags"] and row["response"].get("body_text")]
    assert len(found) > 100
    return found


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    command = [sys.executable, RECORDINGS / "replay.py", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as replay:
        try:
            node = Node(tmp_path_factory.mktemp("replayed"), config_for(replay.stdout.readline().split()[2]))
            yield node
            node.stop()
        finally:
            replay.kill()


def model_of(row):
    return f"{row['id']}/m"


def config_for(replay):
    """A provider a row."""
    providers = []
    for dialect, version in (("openai-chat", "/v1"), ("anthropic-messages", "")):
        name = dialect.split("-")[0]
        providers += [{"name": row["id"], "dialect": name, "base_url": f"{replay}/r/{row['id']}{version}", "api_key": "sk-upstream", "price": PRICE} for row in recorded(dialect)]
    return {"providers": providers, "tenants": [{"name": "acme"}], "keys": [{"name": "app", "scope": "acme", "secret": APP}]}


def compare(speaks, heard, ends=None, fails=None):
    """Holds what a client hears of every row against what the row says; all that is wrong at once. `ends` are the client's own words,
    `fails` is what it raises for an error; without it errors are left out."""

    def check(row):
        if row["response"]["status"] != 200:
            with pytest.raises(fails) as raised:
                heard(row)
            return failed(row, raised.value)
        said, (text, tools, end, counts) = heard(row), wanted(row)
        same(said, (text, tools, (ends or {}).get(end, end), counts or said[3]))

    def one(row):
        try:
            check(row)
        except Exception as wrong:  # noqa: BLE001 each row is a case of its own
            return f"{row['id']} ({row['response']['status']}, stream {row['stream']}): {type(wrong).__name__} {wrong}"[:600]

    rows = [row for row in recorded(CROSSES[speaks]) if fails or row["response"]["status"] == 200]
    with ThreadPoolExecutor(8) as pool:
        wrong = [line for line in pool.map(one, rows) if line]
    assert not wrong, f"{len(wrong)} of {len(rows)}:\n" + "\n".join(wrong)


def wanted(row):
    """What a row says, in the other dialect's words: text, tools, end, and tokens in and out (none if they can not be told)."""
    body, of_anthropic = row["response"]["body_text"], row["dialect"] == "anthropic-messages"
    gathered, said = (gathered_message, message_of) if of_anthropic else (gathered_completion, completion_of)
    return said(gathered(body) if row["stream"] else json.loads(body))


def same(said, meant):
    assert said == meant, f"{said!r} is not {meant!r}"


def message_of(body):
    """What an answer of Anthropic's says: text, tools, its end, and tokens in and out."""
    tools = [(block["name"], block["input"]) for block in body["content"] if block["type"] == "tool_use"]
    text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
    usage = body["usage"]
    inward = sum(usage.get(name) or 0 for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"))
    return text, tools, OPENAI_ENDS.get(body["stop_reason"], "stop"), (inward, usage["output_tokens"])


def gathered_message(text):
    body = {}
    for event in filter(None, map(payload, frames(text.replace("\r\n", "\n").encode()))):
        kind = event["type"]
        if kind == "message_stop":
            break  # some recordings hold several answers, one behind the other: a call has one
        if kind == "message_start":
            body = event["message"]
        elif kind == "content_block_start":
            body["content"].append(dict(event["content_block"], json=""))
        elif kind == "content_block_delta":
            block, delta = body["content"][-1], event["delta"]
            if delta["type"] == "text_delta":
                block["text"] += delta["text"]
            elif delta["type"] == "input_json_delta":
                block["json"] += delta["partial_json"]
        elif kind == "content_block_stop" and body["content"][-1]["json"]:
            body["content"][-1]["input"] = json.loads(body["content"][-1]["json"])
        elif kind == "message_delta":
            body["stop_reason"] = event["delta"]["stop_reason"]
            body["usage"].update({name: count for name, count in (event.get("usage") or {}).items() if count is not None})
    return body


def words(content):
    if isinstance(content, list):
        return "".join(part.get("text") or part.get("refusal") or "" for part in content if part.get("type") in ("text", "refusal"))
    return content or ""


def object_of(arguments):
    """Arguments as an object; what is none stands in one."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def completion_of(body):
    choice = body["choices"][0]
    message = choice["message"]
    tools = [(call["function"]["name"], object_of(call["function"]["arguments"])) for call in message.get("tool_calls") or []]
    end = ANTHROPIC_ENDS.get(choice.get("finish_reason"), "end_turn")
    usage = body.get("usage") or {}
    counts = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    # some count a class beside their totals; the total has it
    return words(message.get("content")) + (message.get("refusal") or ""), tools, end, counts if usage and sum(counts) == usage.get("total_tokens") else None


def gathered_completion(text):
    message, calls, end, usage = {"content": "", "refusal": ""}, [], None, None
    for chunk in filter(None, map(payload, frames(text.replace("\r\n", "\n").encode()))):
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or []:
            delta = choice.get("delta") or {}
            message["content"] += words(delta.get("content"))
            message["refusal"] += delta.get("refusal") or ""
            end = choice.get("finish_reason") or end
            for call in delta.get("tool_calls") or []:
                if call.get("id") and not any(known["id"] == call["id"] for known in calls) or not calls:
                    calls.append({"id": call.get("id"), "index": call.get("index"), "function": {"name": "", "arguments": ""}})
                known = next((known for known in calls if call.get("index") is not None and known["index"] == call["index"] and (not call.get("id") or known["id"] == call["id"])), calls[-1])
                known["function"]["name"] = known["function"]["name"] or call["function"].get("name") or ""
                known["function"]["arguments"] += call["function"].get("arguments") or ""
    return {"choices": [{"message": dict(message, tool_calls=calls), "finish_reason": end}], "usage": usage}


def failed(row, error):
    """An error has its status and its words; that our key is not taken is not the caller's fault."""
    status = row["response"]["status"]
    same(error.status_code, 502 if status in (401, 403) else status)
    if status not in (401, 403):
        message = json.loads(row["response"]["body_text"])["error"]["message"]
        assert message in error.message, f"{error.message!r} does not say {message!r}"


def test_openais_client_hears_what_anthropic_said(node):
    client = openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1", timeout=60, max_retries=0)  # an error is looked at, not asked again

    def heard(row):
        ask = {"model": model_of(row), "messages": HELLO}
        if not row["stream"]:
            answer = client.chat.completions.create(**ask)
            choice, usage = answer.choices[0], answer.usage
            tools = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
            return choice.message.content or "", tools, choice.finish_reason, (usage.prompt_tokens, usage.completion_tokens)
        text, calls, end, usage = "", {}, None, None
        for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ask):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                end = choice.finish_reason or end
                for call in choice.delta.tool_calls or []:
                    known = calls.setdefault(call.index, {"name": "", "arguments": ""})
                    known["name"] += call.function.name or ""
                    known["arguments"] += call.function.arguments or ""
        assert list(calls) == list(range(len(calls)))
        tools = [(call["name"], json.loads(call["arguments"] or "{}")) for call in calls.values()]
        return text, tools, end, (usage.prompt_tokens, usage.completion_tokens)

    compare("openai", heard, fails=openai.APIStatusError)


def test_anthropics_client_hears_what_openai_said(node):
    client = anthropic.Anthropic(api_key=APP, base_url=node.url, timeout=60, max_retries=0)  # an error is looked at, not asked again

    def heard(row):
        ask = {"model": model_of(row), "max_tokens": 4096, "messages": HELLO}
        if row["stream"]:
            with client.messages.stream(**ask) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**ask)
        text = "".join(block.text for block in answer.content if block.type == "text")
        tools = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
        usage = answer.usage
        inward = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        return text, tools, answer.stop_reason, (inward, usage.output_tokens)

    compare("anthropic", heard, fails=anthropic.APIStatusError)


@both
@pytest.mark.filterwarnings("ignore:Received unexpected tool content block")  # it was given no tools
def test_langchain_hears_what_was_said(node, speaks):
    def heard(row):
        if speaks == "openai":
            model = ChatOpenAI(model=model_of(row), api_key=APP, base_url=f"{node.url}/v1", stream_usage=True)
        else:
            model = ChatAnthropic(model=model_of(row), api_key=APP, base_url=node.url)
        if row["stream"]:
            answer = None
            for chunk in model.stream("Hello!"):
                answer = chunk if answer is None else answer + chunk
        else:
            answer = model.invoke("Hello!")
        assert not answer.invalid_tool_calls, answer.invalid_tool_calls
        tools = [(call["name"], call["args"]) for call in answer.tool_calls]
        end = answer.response_metadata["finish_reason" if speaks == "openai" else "stop_reason"]
        return answer.text, tools, end, (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"])

    compare(speaks, heard)


@both
def test_pydantic_ai_hears_what_was_said(node, speaks):
    async def ask(row):
        if speaks == "openai":
            model = OpenAIChatModel(model_of(row), provider=OpenAIProvider(base_url=f"{node.url}/v1", api_key=APP))
        else:
            model = AnthropicModel(model_of(row), provider=AnthropicProvider(base_url=node.url, api_key=APP))
        hello = [ModelRequest.user_text_prompt("Hello!")]
        if not row["stream"]:
            return await model_request(model, hello)
        async with model_request_stream(model, hello) as stream:
            async for _ in stream:
                pass
        return stream.get()

    def heard(row):
        answer = portal.call(ask, row)
        text = "".join(part.content for part in answer.parts if part.part_kind == "text")
        tools = [(part.tool_name, part.args_as_dict()) for part in answer.parts if part.part_kind == "tool-call"]
        return text, tools, answer.finish_reason, (answer.usage.input_tokens, answer.usage.output_tokens)

    with start_blocking_portal() as portal:
        compare(speaks, heard, PYDANTIC_AI_ENDS)


@pytest.mark.parametrize("name", ["openai", "anthropic", "vercel-openai", "vercel-anthropic"])
def test_clients_from_npm_hear_what_was_said(node, tmp_path, name):
    speaks = name.removeprefix("vercel-")
    rows = [{"model": model_of(row), "stream": row["stream"]} for row in recorded(CROSSES[speaks]) if row["response"]["status"] == 200]
    command = ["node", install() / "replayed.mjs", node.url, APP, name]
    done = subprocess.run(command, env=bare(tmp_path), input=json.dumps(rows), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    answers = {answer["model"]: answer for answer in map(json.loads, done.stdout.splitlines())}

    def heard(row):
        answer = answers[model_of(row)]
        assert "error" not in answer, answer["error"]
        return answer["text"], list(map(tuple, answer["tools"])), answer["end"], tuple(answer["usage"])

    compare(speaks, heard, VERCEL_ENDS if name != speaks else {})
