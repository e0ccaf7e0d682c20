"""Coding agents at their default settings, each in front of an upstream whose dialect it does not speak, in a turn that uses a tool."""

import json
import subprocess

import pytest
from conftest import APP, PRICE, Node
from npm import bare, binary, install
from scripted import AFTER, Scripted, text_of

SAYS = "echo tollgate-$((40+2))"
SAID = "tollgate-42"
LIMITS = {"max_output_tokens": 64000, "context_tokens": 200000, "price": PRICE}


@pytest.fixture(scope="session")
def npm():
    return install()


@pytest.fixture
def gateway(tmp_path):
    """Gives a scripted upstream, and a node before it with the models `gpt` (OpenAI's dialect) and `claude` (Anthropic's)."""
    made = []

    def start(*script):
        upstream = Scripted(*script)
        made.append(upstream)
        speaks = {"gpt": ("openai", f"{upstream.url}/v1"), "gpt-small": ("openai", f"{upstream.url}/v1"), "claude": ("anthropic", upstream.url)}
        config = {
            "providers": [{"name": f"{name}-upstream", "dialect": dialect, "base_url": url, "api_key": "sk-upstream"} for name, (dialect, url) in speaks.items()],
            "models": [{"name": name, "targets": [{"provider": f"{name}-upstream", "model": f"scripted-{name}"}], **LIMITS} for name in speaks],
            "tenants": [{"name": "acme", "budgets": [{"limit": "1000 USD", "every": "month"}]}],
            "keys": [{"name": "app", "scope": "acme", "secret": APP}],
        }
        (tmp_path / "node").mkdir()
        made.append(Node(tmp_path / "node", config))
        return upstream, made[-1]

    yield start
    for one in reversed(made):
        one.stop()


@pytest.fixture
def folders(tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return home, work


def run(command, env, work):
    done = subprocess.run(command, env=env, cwd=work, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def assert_all_recorded(node, upstream):
    """Each request that the upstream got is one finished call, and there is no other; nothing stays held."""
    records = list(node.records().values())
    assert [kind for kind, _ in records] == ["finished"] * len(upstream.bodies())
    for _, data in records:
        assert data["outcome"] == "ok" and data["attempts"] == 1 and not data["estimated"]
        assert data["tokens"] == 120 and data["usage"]["input"] == 100 and data["usage"]["output"] == 20
    assert node.budgets(APP)[0]["held"] in ("0", "0.00")


def claude_code(node, folders, prompt, *flags):
    home, work = folders
    env = bare(
        home,
        ANTHROPIC_BASE_URL=node.url,
        ANTHROPIC_AUTH_TOKEN=APP,
        ANTHROPIC_MODEL="gpt",
        ANTHROPIC_SMALL_FAST_MODEL="gpt-small",
        ANTHROPIC_DEFAULT_HAIKU_MODEL="gpt-small",
        DISABLE_TELEMETRY="1",
        DISABLE_AUTOUPDATER="1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )
    version = subprocess.run([binary("claude"), "--version"], env=env, capture_output=True, text=True, timeout=60)
    if version.returncode != 0:
        why = f"Claude Code does not run on this platform: {(version.stdout + version.stderr).strip()[-300:]}"
        print(why)
        pytest.skip(why)
    return json.loads(run([binary("claude"), "-p", prompt, "--output-format", "json", *flags], env, work))


def assert_chat_results_follow_their_calls(body, wanted):
    """The results stand right behind the turn that called, each under its call's id; Claude Code gives them in the order in which its tools ended."""
    turns = body["messages"]
    at = max(place for place, turn in enumerate(turns) if turn.get("tool_calls"))
    calls = turns[at]["tool_calls"]
    results = turns[at + 1 : at + 1 + len(calls)]
    assert [turn["role"] for turn in results] == ["tool"] * len(calls)
    given = {turn["tool_call_id"]: text_of(turn["content"]) for turn in results}
    for call, text in zip(calls, wanted, strict=True):
        assert text in given[call["id"]]
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    return calls


def test_claude_code_uses_a_tool_of_an_openai_model(npm, gateway, folders):
    upstream, node = gateway([("Bash", {"command": SAYS, "description": "Say it"})])
    result = claude_code(node, folders, "What does the command say?", "--allowedTools", "Bash(echo:*)")
    assert result["subtype"] == "success" and not result["is_error"] and result["permission_denials"] == []
    assert result["result"] == AFTER + SAID and result["num_turns"] == 2
    assert result["usage"]["input_tokens"] == 200 and result["usage"]["output_tokens"] == 40
    assert {request["path"] for request in upstream.requests} == {"/v1/chat/completions"}
    main = [body for body in upstream.bodies() if body["model"] == "scripted-gpt"]
    assert all(body["stream"] and body["stream_options"] == {"include_usage": True} for body in main)
    assert main[0]["messages"][0]["role"] == "system" and all(tool["function"]["parameters"]["type"] == "object" for tool in main[0]["tools"])
    calls = assert_chat_results_follow_their_calls(main[-1], [SAID])
    assert json.loads(calls[0]["function"]["arguments"]) == {"command": SAYS, "description": "Say it"}
    assert_all_recorded(node, upstream)


def test_claude_code_uses_tools_in_parallel_and_again(npm, gateway, folders):
    names = ["one", "two"]
    for name in names:
        (folders[1] / f"{name}.txt").write_text(f"secret-{name}\n")
    reads = [("Read", {"file_path": str(folders[1] / f"{name}.txt")}) for name in names]
    upstream, node = gateway(reads, [("Bash", {"command": SAYS, "description": "Say it"})])
    result = claude_code(node, folders, "Read both files, then say it.", "--allowedTools", "Read,Bash(echo:*)")
    assert result["result"] == AFTER + SAID and result["num_turns"] >= 3
    main = [body for body in upstream.bodies() if body["model"] == "scripted-gpt"]
    assert len(main) == 3
    assert_chat_results_follow_their_calls(main[1], ["secret-one", "secret-two"])
    assert_chat_results_follow_their_calls(main[2], [SAID])
    # what was said before is said again, word for word
    assert main[2]["messages"][: len(main[1]["messages"])] == main[1]["messages"]
    assert_all_recorded(node, upstream)


def opencode(node, folders, prompt):
    home, work = folders
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Tollgate", "options": {"baseURL": f"{node.url}/v1", "apiKey": APP}, "models": {"claude": {"name": "Claude"}}}
    (work / "opencode.json").write_text(json.dumps({"provider": {"tollgate": provider}, "autoupdate": False, "share": "disabled"}))
    off = {f"OPENCODE_DISABLE_{name}": "1" for name in ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS")}
    out = run([binary("opencode"), "run", "--format", "json", "-m", "tollgate/claude", prompt], bare(home, **off), work)
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def assert_results_follow_their_uses(body, wanted):
    """The results stand first in the user's turn right behind the turn that called."""
    turns = body["messages"]
    used = [[block for block in turn["content"] if block["type"] == "tool_use"] if isinstance(turn["content"], list) else [] for turn in turns]
    at = max(place for place, uses in enumerate(used) if uses)
    assert turns[at]["role"] == "assistant" and turns[at + 1]["role"] == "user"
    results = turns[at + 1]["content"][: len(used[at])]
    assert {block["type"] for block in results} == {"tool_result"}
    given = {block["tool_use_id"]: text_of(block["content"]) for block in results}
    for use, text in zip(used[at], wanted, strict=True):
        assert text in given[use["id"]]
    roles = [turn["role"] for turn in turns]
    assert all(one != two for one, two in zip(roles, roles[1:])) and roles[0] == "user"
    return used[at]


@pytest.mark.parametrize("parallel", [False, True])
def test_opencode_uses_tools_of_an_anthropic_model(npm, gateway, folders, parallel):
    first = [("bash", {"command": SAYS, "description": "Say it"})]
    if parallel:
        (folders[1] / "one.txt").write_text("secret-one\n")
        first.append(("read", {"filePath": str(folders[1] / "one.txt")}))
    upstream, node = gateway(first)
    events = opencode(node, folders, "What does the command say?")
    said = "".join(event["part"]["text"] for event in events if event["type"] == "text")
    assert AFTER in said and SAID in said and ("secret-one" in said or not parallel)
    assert not [event for event in events if event["type"] == "error"]
    assert {request["path"] for request in upstream.requests} == {"/v1/messages"}
    main = [body for body in upstream.bodies() if body.get("tools")]
    assert len(main) == 2 and all(body["stream"] and body["system"] and body["max_tokens"] for body in main)
    uses = assert_results_follow_their_uses(main[1], [SAID, "secret-one"][: len(first)])
    assert [(use["name"], use["input"]) for use in uses] == first
    assert_all_recorded(node, upstream)
