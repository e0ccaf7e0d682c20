"""A conversation that thinks and uses tools, and whose model changes from one provider's side to the other's and back."""

import json

import anthropic
import httpx
import openai
import pytest
from conftest import APP, HELLO, Node, base_config
from scripted import AFTER
from thinking import Claude, Gpt, Thinking, calls

MODELS = {"A": "claude", "O": "fast"}
SIDES = {"A": Claude, "O": Gpt}
SYSTEM = "Be terse."
NAMES = ("weather", "clock")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def upstream():
    upstream = Thinking()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def node(upstream, tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("sides"), base_config(upstream))
    yield node
    node.stop()


class Anthropic:
    """The `anthropic` SDK; it keeps what it was answered, unchanged."""

    tools = [{"name": name, "description": name, "input_schema": SCHEMA} for name in NAMES]

    def __init__(self, node, stream):
        self.client, self.stream, self.messages = anthropic.Anthropic(api_key=APP, base_url=node.url), stream, []

    def ask(self, text):
        self.messages.append({"role": "user", "content": text})

    def give(self, results):
        self.messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": text} for id, text in results]})

    def answer(self, model):
        """Headers of the answer, its thinking, its text, its tool calls."""
        wish = {"model": model, "max_tokens": 4096, "thinking": {"type": "enabled", "budget_tokens": 2048}, "system": SYSTEM, "tools": self.tools, "messages": self.messages}
        if self.stream:
            with self.client.messages.stream(**wish) as stream:
                message, headers = stream.get_final_message(), stream.response.headers
        else:
            raw = self.client.messages.with_raw_response.create(**wish)
            message, headers = raw.parse(), raw.headers
        self.messages.append({"role": "assistant", "content": message.content})
        uses = [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"]
        assert message.stop_reason == ("tool_use" if uses else "end_turn")
        text = "".join(block.text for block in message.content if block.type == "text")
        return headers, "".join(block.thinking for block in message.content if block.type == "thinking"), text, uses


class OpenAI:
    """The `openai` SDK; streams are put together by hand."""

    tools = [{"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}} for name in NAMES]

    def __init__(self, node, stream):
        self.client, self.stream, self.messages = openai.OpenAI(api_key=APP, base_url=f"{node.url}/v1"), stream, [{"role": "system", "content": SYSTEM}]

    def ask(self, text):
        self.messages.append({"role": "user", "content": text})

    def give(self, results):
        self.messages += [{"role": "tool", "tool_call_id": id, "content": text} for id, text in results]

    def answer(self, model):
        wish = {"model": model, "reasoning_effort": "low", "tools": self.tools, "messages": self.messages}
        raw = self.client.chat.completions.with_raw_response.create(**wish, stream=self.stream)
        if self.stream:
            message, reason = self.together(raw.parse())
        else:
            choice = raw.parse().choices[0]
            message, reason = choice.message.model_dump(exclude_none=True), choice.finish_reason
        self.messages.append(message)
        uses = [(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls") or []]
        assert reason == ("tool_calls" if uses else "stop")
        return raw.headers, message.get("reasoning_content") or "", message.get("content") or "", uses

    @staticmethod
    def together(chunks):
        """The message of a stream, and why it ended. A signature signs the reasoning that came since the one before."""
        message, listed, blocks, fresh, reason = {"role": "assistant"}, [], [], "", None
        for choice in (choice for chunk in chunks for choice in chunk.choices):
            delta, reason = choice.delta.model_dump(exclude_none=True), choice.finish_reason or reason
            for name in ("content", "reasoning_content"):
                if delta.get(name):
                    message[name] = message.get(name, "") + delta[name]
            fresh += delta.get("reasoning_content", "")
            for block in delta.get("thinking_blocks", []):
                if block["type"] == "thinking":
                    block, fresh = {**block, "thinking": fresh}, ""
                blocks.append(block)
            for piece in delta.get("tool_calls", []):
                if piece["index"] == len(listed):
                    listed.append({"id": piece["id"], "type": "function", "function": {"name": piece["function"]["name"], "arguments": ""}})
                listed[piece["index"]]["function"]["arguments"] += piece["function"].get("arguments") or ""
        return message | ({"tool_calls": listed} if listed else {}) | ({"thinking_blocks": blocks} if blocks else {}), reason


def losses(events, call):
    """Paths of the thinking that a request lost, says the record."""
    found = [event["data"]["losses"] for event in events if event["subject"] == call and event["type"] == "tollgate.call.translated.v1"]
    return [loss["path"] for listed in found for loss in listed if (loss["half"], loss["kind"]) == ("request", "thinking")]


def converse(sdk, node, upstream, path):
    """One turn for each letter of the path, the side that answers it: tool calls, then a text from their results, and so on."""
    since, asked, made = node.last(), len(upstream.requests), len(upstream.made)
    history, ids, heads, gone, reasoned = [("system", SYSTEM)], [], [], [], []
    for at, side in enumerate(path):
        turn, due = at // 2, at % 2 == 0
        if due:
            history.append(("user", f"How is it there, {turn}?"))
            sdk.ask(history[-1][1])
        before = len(upstream.made)
        headers, thought, text, uses = sdk.answer(MODELS[side])
        ids.append(headers["x-request-id"])
        heads.append(headers.get("x-tollgate-lost", ""))
        # what the caller was answered
        assert len(upstream.requests) == asked + at + 1
        dialect, body, _ = upstream.requests[-1]
        assert dialect is SIDES[side]
        mine = upstream.made[before:]
        assert [(name, arguments) for _, name, arguments in uses] == (calls(turn) if due else [])
        assert text == (f"Looking, {len(upstream.requests)}." if due else AFTER + " / ".join(said for kind, *_, said in history[-2:] if kind == "result"))
        assert bool(mine) == (due and side == "A")
        if due:
            assert thought == ("".join(block.get("thinking", "") for block in mine) if mine else f"gpt thinks, {len(upstream.requests)}: sun or rain?")
        # what the provider heard
        assert dialect.heard(body) == [item for item in history if side == "A" or item[0] != "thought"]
        if side == "O":
            wire = json.dumps(body)
            assert not [block for block in upstream.made if json.dumps(block.get("signature") or block["data"])[1:-1] in wire]
            if isinstance(sdk, OpenAI):
                heard = [turn.get("reasoning_content") for turn in body["messages"]]
                assert [said for said in heard if said in reasoned] == reasoned
        # turns with tools think: whether the other side did so before
        gone.append(bool(set(path[:at:2]) - {side}))
        history += [("thought", block) for block in mine] + [("assistant", text)] + [("call", name, arguments) for _, name, arguments in uses]
        reasoned += [thought] if due and side == "O" else []
        if uses:
            results = [(id, f"{name} in {arguments['city']}, {turn}: <fine> ✓") for id, name, arguments in uses]
            history += [("result", name, said) for (_, name, _), (_, said) in zip(uses, results)]
            sdk.give(results)
    assert [refusal for *_, refusal in upstream.requests[asked:]] == [None] * len(path)
    assert path[::2].count("A") == sum(1 for block in upstream.made[made:] if block["type"] == "thinking")

    # what the record and the headers say
    for call in ids:
        node.record(call)
    events = node.events(since)
    assert [event["subject"] for event in events if event["type"] == "tollgate.call.finished.v1"] == ids
    assert ["messages" in head.split(",") or bool(losses(events, call)) for head, call in zip(heads, ids)] == gone


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ["AAOO", "AO", "AAOOAA", "AOOA", "AOOAAO"])
def test_anthropics_sdk_changes_sides(node, upstream, path, stream):
    """Between two questions, and between the use of a tool and its result."""
    converse(Anthropic(node, stream), node, upstream, path)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ["OOAA", "OA", "OOAAOO", "OAAO", "OAAOOA"])
def test_openais_sdk_changes_sides(node, upstream, path, stream):
    converse(OpenAI(node, stream), node, upstream, path)


@pytest.mark.parametrize("before", [0, 1], ids=["two blocks", "one block"])
def test_what_openais_own_help_with_streams_puts_together_goes_back(node, upstream, before):
    """The helper of the SDK, `chat.completions.stream`. How many blocks of thinking come, the upstream decides by the turns before."""
    sdk = OpenAI(node, True)
    sdk.messages += [*HELLO, CALLS, {"role": "tool", "tool_call_id": "call_1", "content": "fine"}, {"role": "assistant", "content": "Fine."}] * before
    sdk.ask("How is it there?")
    with sdk.client.chat.completions.stream(model="claude", reasoning_effort="low", tools=sdk.tools, messages=sdk.messages) as stream:
        message = stream.get_final_completion().choices[0].message
    listed = message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in listed] == calls(before)
    made = upstream.made[-2 if before == 0 else -1 :]
    sdk.messages.append(message.model_dump(exclude_none=True))
    sdk.give([(call.id, "fine") for call in listed])
    sdk.client.chat.completions.create(model="claude", reasoning_effort="low", tools=sdk.tools, messages=sdk.messages)
    assert [block for kind, block, *_ in Claude.heard(upstream.requests[-1][1]) if kind == "thought"] == made


@pytest.mark.parametrize("wish", [{"tool_choice": "required"}, {"tool_choice": {"type": "function", "function": {"name": "clock"}}}, {"temperature": 0.5}, {"max_completion_tokens": 1024}, {"max_completion_tokens": 100}], ids=str)
def test_what_thinking_does_not_go_with_is_settled_on_the_way(node, upstream, wish):
    sdk = OpenAI(node, False)
    sdk.ask("How is it there?")
    answer = sdk.client.chat.completions.create(model="claude", reasoning_effort="low", tools=sdk.tools, messages=sdk.messages, **wish)
    assert len(answer.choices[0].message.tool_calls) == 2 and upstream.requests[-1][2] is None


def use(id, *before):
    return {"role": "assistant", "content": [*before, {"type": "tool_use", "id": id, "name": "clock", "input": {}}]}


def results(*ids, before=()):
    return {"role": "user", "content": [*before, *({"type": "tool_result", "tool_use_id": id, "content": "fine"} for id in ids)]}


TEXT, THINKS = {"type": "text", "text": "So."}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CALLS = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    "side,rule,more,body",
    [
        ("A", "expected thinking", [use("a"), results("a")], THINKS),
        ("A", "invalid signature", [use("a", {"type": "thinking", "thinking": "hm", "signature": ""}), results("a")], THINKS),
        ("A", "redacted_thinking", [use("a", {"type": "redacted_thinking", "data": "xx"}), results("a")], THINKS),
        ("A", "forces tool use", [], THINKS | {"tool_choice": {"type": "any"}}),
        ("A", "temperature", [], THINKS | {"temperature": 0.5}),
        ("A", "at least 1024", [], {"thinking": {"type": "enabled", "budget_tokens": 1023}}),
        ("A", "must be greater", [], {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
        ("A", "max_tokens", [], {"max_tokens": None}),
        ("A", "needs its result", [use("a"), {"role": "user", "content": "So?"}], {}),
        ("A", "needs its result", [use("a"), results("a"), results("a")], {}),
        ("A", "must be first", [use("a"), results("a", before=[TEXT])], {}),
        ("A", "non-empty", [{"role": "user", "content": [{"type": "text", "text": ""}]}], {}),
        ("A", "pattern", [use("a.b"), results("a.b")], {}),
        ("O", "signature", [{"role": "assistant", "content": "So.", "signature": "x"}], {}),
        ("O", "thinking_blocks", [{"role": "assistant", "content": "So.", "thinking_blocks": []}], {}),
        ("O", "must follow", [{"role": "tool", "tool_call_id": "call_1", "content": "fine"}], {}),
        ("O", "no result", [CALLS], {}),
        ("O", "no result", [CALLS, *HELLO], {}),
        ("O", "at most 40", [{**CALLS, "tool_calls": [{**CALLS["tool_calls"][0], "id": "c" * 41}]}], {}),
        ("O", "unknown role", [{"role": "model", "content": "So."}], {}),
        ("O", "null without", [{"role": "assistant", "content": None}], {}),
    ],
)
def test_the_upstream_refuses_what_the_providers_refuse(upstream, side, rule, more, body):
    whole = {"model": "m", "max_tokens": 4096, "messages": [*HELLO, *more], **body}
    answer = httpx.post(upstream.url + SIDES[side].path, json=whole)
    assert answer.status_code == 400 and rule in answer.json()["error"]["message"]
