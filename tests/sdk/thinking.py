"""An upstream that thinks, in both wire forms, and that refuses what the real providers refuse.

A message of the user is answered with thinking, a text and two tool calls; results of tools are answered with a text that quotes them.
"""

import json
import re
import threading
from http.server import ThreadingHTTPServer

from scripted import AFTER, Chat, Handler, Messages, pieces, text_of

CITIES = ["Zürich", 'the "old" town', "Łódź\n(centre)", "京都"]
THOUGHTS = ("thinking", "redacted_thinking")


def calls(turn):
    """The tool calls of a turn: how many turns with tools were before it, says the request."""
    city = CITIES[turn % len(CITIES)]
    return [("weather", {"city": city, "days": [turn, 2.5]}), ("clock", {"city": city, "form": {"zone": None, "long": True}})]


def members(value):
    """Every name of a member, however deep."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from members(inner)


class Gpt(Chat):
    @staticmethod
    def is_due(body):
        return body["messages"][-1]["role"] != "tool"

    @staticmethod
    def refusal(body, _):
        """The rule that a request breaks."""
        for name in sorted({"signature", "thinking_blocks"} & set(members(body["messages"]))):
            return f"unknown member: '{name}'"
        owed = set()
        for at, turn in enumerate(body["messages"]):
            role = turn.get("role")
            if role not in ("system", "developer", "user", "assistant", "tool"):
                return f"messages[{at}]: unknown role"
            if role == "tool":
                if turn.get("tool_call_id") not in owed:
                    return f"messages[{at}]: a 'tool' message must follow a message with its 'tool_calls'"
                owed.remove(turn["tool_call_id"])
                continue
            if owed:
                return f"messages[{at}]: no result for tool_call_ids {sorted(owed)}"
            listed = turn.get("tool_calls") or []
            if role == "assistant" and turn.get("content") is None and not listed:
                return f"messages[{at}]: content is null without tool_calls"
            if role != "assistant" and turn.get("content") is None:
                return f"messages[{at}]: content is null"
            if isinstance(turn.get("content"), list) and {part.get("type") for part in turn["content"]} - {"text", "image_url", "refusal"}:
                return f"messages[{at}]: unknown kind of content"
            if any(len(call["id"]) > 40 for call in listed):
                return f"messages[{at}]: tool_call id: at most 40 characters"
            owed = {call["id"] for call in listed}
        return f"no result for tool_call_ids {sorted(owed)}" if owed else None

    @staticmethod
    def thoughts(number, turn, made):
        return f"gpt thinks, {number}: sun or rain?"

    @classmethod
    def whole(cls, body, number, text, listed, thought=None):
        answer = super().whole(body, number, text, listed)
        if thought:
            answer["choices"][0]["message"]["reasoning_content"] = thought
        return answer

    @classmethod
    def stream(cls, body, number, text, listed, thought=None):
        frames = super().stream(body, number, text, listed)
        first = next(frames)
        yield first
        for piece in pieces(thought) if thought else []:
            yield None, first[1] | {"choices": [{"index": 0, "delta": {"reasoning_content": piece}, "logprobs": None, "finish_reason": None}]}
        yield from frames

    @classmethod
    def heard(cls, body):
        """The conversation: who said what, tool calls, results."""
        names, found = {}, []
        for turn in body["messages"]:
            if turn["role"] == "tool":
                found.append(("result", names[turn["tool_call_id"]], text_of(turn["content"])))
                continue
            said = text_of(turn.get("content"))
            found += [("system" if turn["role"] == "developer" else turn["role"], said)] if said else []
            for call in turn.get("tool_calls") or []:
                names[call["id"]] = call["function"]["name"]
                found.append(("call", call["function"]["name"], json.loads(call["function"]["arguments"])))
        return found


class Claude(Messages):
    @classmethod
    def is_due(cls, body):
        return not any(block["type"] == "tool_result" for block in cls.blocks(body["messages"][-1]))

    @classmethod
    def refusal(cls, body, made):
        """The rule that a request breaks."""
        most = body.get("max_tokens")
        if not isinstance(most, int):
            return "max_tokens: field required"
        thinking = body.get("thinking") or {"type": "disabled"}
        thinks = thinking["type"] != "disabled"
        if thinking["type"] == "enabled":
            if thinking.get("budget_tokens", 0) < 1024:
                return "thinking.budget_tokens: at least 1024"
            if thinking["budget_tokens"] >= most:
                return "max_tokens must be greater than thinking.budget_tokens"
        if thinks and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            return "thinking may not be enabled when tool_choice forces tool use"
        if thinks and body.get("temperature", 1) != 1:
            return "temperature may only be 1 when thinking is enabled"
        owed, used = [], None
        for at, turn in enumerate(body["messages"]):
            blocks = cls.blocks(turn)
            for block in blocks:
                kind = block["type"]
                if kind == "text" and not block["text"].strip():
                    return f"messages.{at}: text content blocks must be non-empty"
                if kind == "thinking" and block not in made:
                    return f"messages.{at}: invalid signature in thinking block"
                if kind == "redacted_thinking" and block not in made:
                    return f"messages.{at}: invalid data in redacted_thinking block"
                if kind in ("tool_use", "tool_result") and not re.fullmatch("[a-zA-Z0-9_-]+", block["id" if kind == "tool_use" else "tool_use_id"]):
                    return f"messages.{at}: tool id does not match the pattern"
            results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            if turn["role"] != "user" and results or sorted(results) != sorted(owed):
                return f"messages.{at}: tool_use and tool_result: each use needs its result in the next message"
            if [block["type"] for block in blocks[: len(results)]] != ["tool_result"] * len(results):
                return f"messages.{at}: tool_result blocks must be first"
            owed = [block["id"] for block in blocks if block["type"] == "tool_use"]
            if turn["role"] == "assistant":
                used = (at, blocks[0]["type"]) if owed else None
        if owed:
            return "tool_use without tool_result"
        if thinks and used and used[1] not in THOUGHTS:
            return f"messages.{used[0]}: expected thinking or redacted_thinking, but found {used[1]}"
        return None

    @staticmethod
    def thoughts(number, turn, made):
        signed = {"type": "thinking", "thinking": f"claude thinks, {number}: sun or rain?", "signature": f"EqQBsig{number:04d}+/xyz=="}
        hidden = {"type": "redacted_thinking", "data": f"EmwKredacted{number:04d}+/xyz=="}
        found = [[signed, hidden], [signed], [hidden, signed]][turn % 3]
        made.extend(found)
        return found

    @classmethod
    def whole(cls, body, number, text, listed, thought=()):
        answer = super().whole(body, number, text, listed)
        return answer | {"content": [*thought, *answer["content"]]}

    @classmethod
    def stream(cls, body, number, text, listed, thought=()):
        shift = 0
        for name, event in super().stream(body, number, text, listed):
            yield name, event | ({"index": event["index"] + shift} if "index" in event else {})
            if name != "message_start":
                continue
            for shift, block in enumerate(thought, 1):
                at = {"index": shift - 1}
                hidden = block["type"] == "redacted_thinking"
                yield "content_block_start", {"type": "content_block_start", **at, "content_block": block if hidden else {"type": "thinking", "thinking": "", "signature": ""}}
                deltas = [] if hidden else [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
                deltas += [] if hidden else [{"type": "signature_delta", "signature": block["signature"]}]
                for delta in deltas:
                    yield "content_block_delta", {"type": "content_block_delta", **at, "delta": delta}
                yield "content_block_stop", {"type": "content_block_stop", **at}

    @classmethod
    def heard(cls, body):
        """The conversation: who said what, thoughts, tool calls, results."""
        names, found = {}, [("system", text_of(body["system"]))] if body.get("system") else []
        for turn in body["messages"]:
            for block in cls.blocks(turn):
                if block["type"] == "text":
                    found.append((turn["role"], block["text"]))
                elif block["type"] == "tool_use":
                    names[block["id"]] = block["name"]
                    found.append(("call", block["name"], block["input"]))
                elif block["type"] == "tool_result":
                    found.append(("result", names[block["tool_use_id"]], text_of(block.get("content"))))
                else:
                    found.append(("thought", block))
        return found


class Thinker(Handler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        dialect = next(dialect for dialect in (Gpt, Claude) if dialect.path == self.path.split("?")[0])
        refusal, given = self.server.thinking.next(dialect, body)
        if refusal:
            return self.answer(400, dialect.error(refusal))
        if not body.get("stream"):
            return self.answer(200, dialect.whole(body, *given))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for name, value in dialect.stream(body, *given):
            data = value if isinstance(value, str) else json.dumps(value)
            frame = ((f"event: {name}\n" if name else "") + f"data: {data}\n\n").encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(frame), frame))
        self.wfile.write(b"0\r\n\r\n")


class Thinking:
    """`requests`: dialect, body, the rule it broke. `made`: the blocks of thinking that Anthropic's side made."""

    def __init__(self):
        self.requests, self.made, self.lock = [], [], threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Thinker)
        self.server.daemon_threads = True
        self.server.thinking = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, dialect, body):
        """Why the request is refused, or what is answered: number, text, tool calls, thoughts."""
        with self.lock:
            number, turn = len(self.requests) + 1, dialect.turns(body)
            refusal = dialect.refusal(body, self.made)
            self.requests.append((dialect, body, refusal))
            if refusal:
                return refusal, None
            if not dialect.is_due(body):
                return None, (number, AFTER + " / ".join(dialect.results(body)), [])
            thinks = dialect is Gpt or (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
            listed = calls(turn)
            return None, (number, f"Looking, {number}.", listed, *([dialect.thoughts(number, turn, self.made)] if thinks else []))

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
