"""Other people's clients at their default settings, each against both dialects of the upstream."""

import asyncio
import base64
import json
import subprocess

import anthropic
import openai
import pytest
from conftest import APP, PRICE, Node, base_config
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from npm import bare, install
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, NativeOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SPEAKS, SIDES = ["openai", "anthropic"], ["gpt", "claude"]
WISHES = {
    "": {"output": "7"},
    "-tools": {"tools": "2"},
    "-wrong": {"status": "400"},
    "-busy": {"status": "429"},
    "-breaks": {"output": "50", "error-event": "6"},
}
both = pytest.mark.parametrize(("speaks", "side"), [(speaks, side) for speaks in SPEAKS for side in SIDES])


class Place(BaseModel):
    """A place."""

    city: str


@pytest.fixture(scope="session")
def npm():
    return install()


@pytest.fixture(scope="module")
def node(sim, tmp_path_factory):
    config = base_config(sim)
    config["models"] = []
    for side, dialect, url in [("gpt", "openai", f"{sim.url}/v1"), ("claude", "anthropic", sim.url)]:
        for end, wishes in WISHES.items():
            name = side + end
            config["providers"].append({"name": name, "dialect": dialect, "base_url": url, "api_key": "sk-upstream", "headers": {f"x-sim-{wish}": value for wish, value in wishes.items()}})
            config["models"].append({"name": name, "targets": [{"provider": name, "model": f"sim-{name}"}], "max_output_tokens": 4096, "context_tokens": 128000, "price": PRICE})
    node = Node(tmp_path_factory.mktemp("clients"), config)
    yield node
    node.stop()


def sent(sim):
    """The body that the provider got last."""
    return json.loads(sim.requests()["data"][0]["body"]["text"])


def assert_closed(node, since):
    """Each call has one record: finished, and failed only where the script wants it."""
    kinds = [(kind, data.get("outcome")) for kind, data in node.records(since).values()]
    assert len(kinds) >= 8 and {kind for kind, _ in kinds} <= {"finished", "released"}, kinds
    assert ("finished", "failed") in kinds and ("finished", "ok") in kinds, kinds
    assert node.budgets(APP)[0]["held"] in ("0", "0.00")


def node_script(npm, node, tmp_path, script, *arguments):
    since = node.last()
    done = subprocess.run(["node", npm / script, *arguments], env=bare(tmp_path), capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen == {"used": [["weather", "weather"]] * 2, "passed": True}
    assert_closed(node, since)


@pytest.mark.parametrize("side", SIDES)
def test_openai_from_npm(npm, node, tmp_path, side):
    node_script(npm, node, tmp_path, "openai.mjs", f"{node.url}/v1", APP, side)


@pytest.mark.parametrize("side", SIDES)
def test_anthropic_from_npm(npm, node, tmp_path, side):
    node_script(npm, node, tmp_path, "anthropic.mjs", node.url, APP, side)


@both
def test_vercel_ai(npm, node, tmp_path, speaks, side):
    node_script(npm, node, tmp_path, "vercel.mjs", node.url, APP, side, speaks)


@pytest.fixture
def langchain(node, speaks):
    def model(name, **more):
        if speaks == "openai":
            return ChatOpenAI(model=name, api_key=APP, base_url=f"{node.url}/v1", **more)
        return ChatAnthropic(model=name, api_key=APP, base_url=node.url, **more)

    return model


def weather(city: str) -> str:
    """The weather."""
    return f"sunny in {city}"


@both
def test_langchain_chats_and_streams(langchain, speaks, side):
    answer = langchain(side).invoke([("system", "Be short."), ("user", "Hello!")])
    assert answer.text and answer.usage_metadata["output_tokens"] == 7
    assert answer.response_metadata.get("finish_reason", answer.response_metadata.get("stop_reason")) in ("stop", "end_turn")
    whole = None
    # before another host than OpenAI's it asks for the usage of a stream only if told to
    asked = {"stream_usage": True} if speaks == "openai" else {}
    for chunk in langchain(side, **asked).stream("Hello!"):
        whole = chunk if whole is None else whole + chunk
    assert whole.text and whole.usage_metadata["output_tokens"] == 7


@both
@pytest.mark.parametrize("stream", [False, True])
def test_langchain_uses_tools_in_parallel(langchain, sim, side, stream):
    bound = langchain(f"{side}-tools").bind_tools([weather], tool_choice="any")
    if stream:
        answer = None
        for chunk in bound.stream("Hello!"):
            answer = chunk if answer is None else answer + chunk
    else:
        answer = bound.invoke("Hello!")
    assert [call["name"] for call in answer.tool_calls] == ["weather"] * 2 and not answer.invalid_tool_calls
    assert all(set(call["args"]) == {"city"} for call in answer.tool_calls)
    turns = [HumanMessage("Hello!"), AIMessage(content=answer.content, tool_calls=answer.tool_calls)]
    turns += [ToolMessage("sunny", tool_call_id=call["id"]) for call in answer.tool_calls]
    assert langchain(side).bind_tools([weather]).invoke(turns).text
    got = sent(sim)["messages"]
    if side == "gpt":
        assert [turn["role"] for turn in got] == ["user", "assistant", "tool", "tool"]
        assert [call["id"] for call in got[1]["tool_calls"]] == [turn["tool_call_id"] for turn in got[2:]]
    else:
        assert [turn["role"] for turn in got] == ["user", "assistant", "user"]
        uses = [block["id"] for block in got[1]["content"] if block["type"] == "tool_use"]
        assert uses == [block["tool_use_id"] for block in got[2]["content"]] and len(uses) == 2


@both
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_gets_structured_output(langchain, side, method):
    assert isinstance(langchain(side).with_structured_output(Place, method=method).invoke("Where?"), Place)


@both
def test_langchain_sends_an_image(langchain, sim, side):
    image = {"type": "image", "base64": DOT, "mime_type": "image/png"}
    assert langchain(side).invoke([HumanMessage(content=[{"type": "text", "text": "What?"}, image])]).text
    assert DOT in json.dumps(sent(sim)["messages"])


@both
def test_langchain_shows_errors(langchain, speaks, side):
    of = openai if speaks == "openai" else anthropic
    with pytest.raises(of.BadRequestError, match="asked for status 400"):
        langchain(f"{side}-wrong").invoke("Hello!")
    with pytest.raises(of.RateLimitError):
        langchain(f"{side}-busy", max_retries=0).invoke("Hello!")
    with pytest.raises(of.APIError):
        list(langchain(f"{side}-breaks").stream("Hello!"))


@pytest.fixture
def pydantic_ai(node, speaks):
    def model(name):
        if speaks == "openai":
            return OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{node.url}/v1", api_key=APP))
        return AnthropicModel(name, provider=AnthropicProvider(base_url=node.url, api_key=APP))

    return model


@both
def test_pydantic_ai_chats_and_streams(pydantic_ai, side):
    async def go():
        agent = Agent(pydantic_ai(side), instructions="Be short.")
        answer = await agent.run("Hello!")
        assert answer.output and answer.usage.output_tokens == 7
        async with agent.run_stream("Hello!") as stream:
            assert await stream.get_output()
            assert stream.usage.output_tokens == 7
        picture = await agent.run(["What?", BinaryContent(data=base64.b64decode(DOT), media_type="image/png")])
        assert picture.output

    asyncio.run(go())


@both
@pytest.mark.parametrize("shape", [Place, NativeOutput(Place)])
def test_pydantic_ai_gets_structured_output(pydantic_ai, speaks, side, shape):
    if speaks == "anthropic" and shape is not Place:
        pytest.skip("Pydantic AI itself refuses native output for an Anthropic model whose name it does not know")

    async def go():
        assert isinstance((await Agent(pydantic_ai(side), output_type=shape).run("Where?")).output, Place)

    asyncio.run(go())


@both
def test_pydantic_ai_uses_tools_in_parallel(pydantic_ai, sim, side):
    async def go():
        ran = []
        agent = Agent(pydantic_ai(f"{side}-tools"))

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather."""
            ran.append(city)
            return "sunny"

        async with agent.iter("Hello!") as steps:
            async for step in steps:
                if len(ran) == 2:
                    break
        history = steps.ctx.state.message_history
        assert len(ran) == 2 and [part.tool_name for part in history[1].parts if part.part_kind == "tool-call"] == ["weather"] * 2

    asyncio.run(go())


@both
def test_pydantic_ai_shows_errors(pydantic_ai, side):
    async def go():
        with pytest.raises(ModelHTTPError, match="asked for status 400") as wrong:
            await Agent(pydantic_ai(f"{side}-wrong")).run("Hello!")
        assert wrong.value.status_code == 400

    asyncio.run(go())
